//! Capture sessions: created by the application, started by a recorder, and moved from state to state.
//! Every change of state goes through `advance`, which writes state, event and follow-up job in one transaction.

use vitascope_model::capture::{CaptureSession, Category, Channel, Failure, MediaKind, SessionState};
use vitascope_model::health::ChannelHealth;
use vitascope_model::id::{CaptureSessionId, CollectionId, ConnectionId, EventId, JobId, RtStreamId, UserId};
use vitascope_model::rtstream::{RtStream, RtStreamState, SAMPLE_RATE, Transcription};
use vitascope_model::stream::Stream;
use vitascope_model::{Error, Result, WallTime};
use vitascope_store::job::NewJob;
use vitascope_store::{Tx, capture, job, outbox, rtstream, stream};

use super::account::Caller;
use super::export::Exported;
use super::{App, mint};
use crate::events::frames::{channel_health, session_event};
use crate::{jobs, random};

/// More channels than any desk has.
const MAX_CHANNELS: usize = 32;

#[derive(Debug)]
pub struct NewSession {
    pub collection_id: CollectionId,
    pub end_user_id: String,
    pub callback_url: Option<String>,
    pub ws_connection_id: Option<ConnectionId>,
    /// JSON text of an object.
    pub metadata: String,
}

/// A channel as a recorder announces it.
#[derive(Debug)]
pub struct NewChannel {
    pub channel_id: String,
    pub name: Option<String>,
    pub kind: MediaKind,
    pub store: bool,
    pub is_primary: bool,
}

#[derive(Debug)]
pub struct Start {
    pub channels: Vec<NewChannel>,
    pub ws_connection_id: Option<ConnectionId>,
    pub callback_url: Option<String>,
}

pub async fn create(app: &App, owner: &UserId, new: NewSession) -> Result<CaptureSession> {
    let now = app.now();
    let session = CaptureSession {
        id: mint!(app, CaptureSessionId),
        owner: owner.clone(),
        collection_id: new.collection_id,
        end_user_id: Some(new.end_user_id),
        client_id: None,
        state: SessionState::Created,
        callback_url: new.callback_url,
        ws_connection_id: new.ws_connection_id,
        metadata: new.metadata,
        keep: false,
        channels: Vec::new(),
        exported: None,
        is_deleted: false,
        failure: None,
        created_at: now,
        state_changed_at: now,
    };
    let (row, event) = (session.clone(), session_event(app, &session, None, mint!(app, EventId), now));
    app.store
        .write(move |tx| {
            Box::pin(async move {
                capture::insert(tx, &row).await?;
                outbox::insert(tx, &event).await
            })
        })
        .await?;
    app.outbox_bell.notify_one();
    Ok(session)
}

/// A recorder begins: its channels become rtstreams at once, so that they can be read before media flows.
pub async fn start(app: &App, caller: &Caller, id: &CaptureSessionId, start: Start) -> Result<CaptureSession> {
    let found = app.store.get_session(&caller.scope, id).await?;
    if found.state != SessionState::Created {
        return Err(Error::conflict(format!(
            "capture session {id} is {}: it was started before",
            found.state.as_str()
        )));
    }
    check_channels(&start.channels)?;
    app.space.check()?;
    let now = app.now();
    let streams: Vec<(Channel, RtStream)> = start.channels.into_iter().map(|c| grow(app, &found, c, now)).collect();
    let (started_by, client_id) = (caller.token().map(str::to_owned), caller.end_user_id.clone());
    let live: Vec<Stream> = streams.iter().map(|(_, r)| super::stream::live_of(app, r)).collect();
    let (session_id, step) = (id.clone(), Step::to(app, SessionState::Starting));
    let session = app
        .store
        .write(move |tx| {
            Box::pin(async move {
                for (position, (channel, stream)) in streams.iter().enumerate() {
                    rtstream::insert(tx, stream).await?;
                    capture::insert_channel(tx, &session_id, position, channel).await?;
                    stream::insert(tx, &live[position], now).await?;
                }
                let connection = start.ws_connection_id.as_ref().map(ConnectionId::as_str);
                let (by, callback) = (started_by.as_deref(), start.callback_url.as_deref());
                capture::set_start(tx, &session_id, by, client_id.as_deref(), connection, callback).await?;
                let moved = change(tx, &session_id, step).await?;
                moved.ok_or_else(|| {
                    Error::conflict(format!("capture session {session_id} was started by somebody else"))
                })
            })
        })
        .await?;
    app.outbox_bell.notify_one();
    app.sessions.supervise(app, session.clone());
    Ok(session)
}

/// Asks a session to end. Asking again, or a session that never began, is no error.
pub async fn stop(app: &App, caller: &Caller, id: &CaptureSessionId) -> Result<CaptureSession> {
    let session = app.store.get_session(&caller.scope, id).await?;
    match session.state {
        SessionState::Created => {
            advance(app, id, SessionState::Stopped, None).await?;
        }
        SessionState::Starting | SessionState::Active => {
            // Before the answer: from then on no publisher is let in. Draining is the supervisor's.
            advance(app, id, SessionState::Stopping, None).await?;
            app.sessions.stop(id);
        }
        SessionState::Stopping | SessionState::Stopped | SessionState::Exported | SessionState::Failed => {}
    }
    app.store.get_session(&caller.scope, id).await
}

/// Moves a session on if the table of states allows it from where it is; tells whether it did.
pub async fn advance(app: &App, id: &CaptureSessionId, to: SessionState, failure: Option<Failure>) -> Result<bool> {
    let step = Step { failure, ..Step::to(app, to) };
    let (session_id, export, now) = (id.clone(), mint!(app, JobId), step.at);
    let moved = app
        .store
        .write(move |tx| {
            Box::pin(async move {
                let Some(session) = change(tx, &session_id, step).await? else { return Ok(false) };
                let over = matches!(to, SessionState::Stopped | SessionState::Failed);
                for channel in session.channels.iter().filter(|_| over) {
                    rtstream::set_state(tx, &channel.rtstream_id, RtStreamState::Stopped).await?;
                    rtstream::stop_transcription(tx, &channel.rtstream_id, now).await?;
                }
                let is_wanted = session.stores_anything() && !session.is_deleted;
                if to == SessionState::Stopped && is_wanted {
                    job::enqueue(tx, &export_job(export, &session), now).await?;
                }
                Ok(true)
            })
        })
        .await?;
    if moved {
        tracing::info!(session.id = %id, state = to.as_str(), "capture session moved on");
        app.outbox_bell.notify_one();
        app.job_bells.ring();
    }
    Ok(moved)
}

/// A change of state that is about to happen.
pub(super) struct Step {
    app: App,
    to: SessionState,
    at: WallTime,
    event: EventId,
    failure: Option<Failure>,
    /// What the session was exported as.
    asset: Option<Exported>,
}

impl Step {
    fn to(app: &App, to: SessionState) -> Step {
        Step { app: app.clone(), to, at: app.now(), event: mint!(app, EventId), failure: None, asset: None }
    }

    pub(super) fn exported_as(app: &App, asset: Exported) -> Step {
        Step { asset: Some(asset), ..Step::to(app, SessionState::Exported) }
    }
}

/// The change of state itself, inside a transaction: the session as it is now, or `None` if it may not go there.
pub(super) async fn change(tx: &mut Tx, id: &CaptureSessionId, step: Step) -> Result<Option<CaptureSession>> {
    let Step { app, to, at, event, failure, asset } = step;
    let before = capture::load(tx, id).await?.ok_or_else(|| Error::not_found(format_args!("capture session {id}")))?;
    if !before.state.may_become(to) {
        return Ok(None);
    }
    if !capture::move_to(tx, id, before.state, to, failure.as_ref(), at).await? {
        return Ok(None);
    }
    let failure = failure.or(before.failure);
    let after = CaptureSession { state: to, failure, state_changed_at: at, ..before };
    outbox::insert(tx, &session_event(&app, &after, asset.as_ref(), event, at)).await?;
    Ok(Some(after))
}

fn export_job(id: JobId, session: &CaptureSession) -> NewJob {
    NewJob {
        id,
        owner: session.owner.clone(),
        collection_id: Some(session.collection_id.clone()),
        kind: jobs::export_session::KIND,
        payload: session.id.to_string(),
        dedupe_key: Some(format!("{}:{}", jobs::export_session::KIND, session.id)),
        callback_url: None,
    }
}

/// A channel of the session turned bad, or is well again.
pub async fn tell_channel_health(
    app: &App,
    session: &CaptureSession,
    stream: &RtStream,
    health: &ChannelHealth,
) -> Result<()> {
    let event = channel_health(session, stream, health, mint!(app, EventId), app.now());
    app.store.write(move |tx| Box::pin(async move { outbox::insert(tx, &event).await })).await?;
    app.outbox_bell.notify_one();
    Ok(())
}

fn check_channels(channels: &[NewChannel]) -> Result<()> {
    if channels.is_empty() {
        return Err(Error::invalid("channels must name at least one channel"));
    }
    if channels.len() > MAX_CHANNELS {
        return Err(Error::invalid(format!("a session has at most {MAX_CHANNELS} channels")));
    }
    for (i, channel) in channels.iter().enumerate() {
        if channel.channel_id.is_empty() || channel.channel_id.len() > 200 {
            return Err(Error::invalid("each channel needs a channel_id of at most 200 characters"));
        }
        if channels[..i].iter().any(|c| c.channel_id == channel.channel_id) {
            return Err(Error::invalid(format!("channel {} is named twice", channel.channel_id)));
        }
    }
    Ok(())
}

fn grow(app: &App, session: &CaptureSession, new: NewChannel, now: WallTime) -> (Channel, RtStream) {
    let stream = RtStream {
        id: mint!(app, RtStreamId),
        owner: session.owner.clone(),
        collection_id: session.collection_id.clone(),
        session_id: Some(session.id.clone()),
        name: new.channel_id.clone(),
        category: Some(Category::of_channel(&new.channel_id, new.kind)),
        kind: new.kind,
        state: RtStreamState::Connected,
        store: new.store,
        sample_rate: SAMPLE_RATE,
        keep: false,
        exported: None,
        created_at: now,
        transcription: Transcription::NotConfigured,
    };
    let channel = Channel {
        name: new.name.unwrap_or_else(|| new.channel_id.clone()),
        channel_id: new.channel_id,
        kind: new.kind,
        store: new.store,
        is_primary: new.is_primary,
        rtstream_id: stream.id.clone(),
        publish_path: random::secret_name(),
        exported_video_id: None,
    };
    (channel, stream)
}
