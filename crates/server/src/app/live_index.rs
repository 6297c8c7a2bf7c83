//! Live indexes: made, stopped, started again, and their records. What becomes a record is found by `live::indexing`;
//! here a record, the index's place in the transcript and the event of it are one commit.

use vitascope_model::capture::MediaKind;
use vitascope_model::event::Event;
use vitascope_model::id::{ConnectionId, LiveIndexId, RtStreamId};
use vitascope_model::live_index::{Bookmark, IndexRecord, LiveIndex, LiveIndexState, Segmentation};
use vitascope_model::rtstream::{RtStream, RtStreamState, Transcription};
use vitascope_model::{Error, Result, Span};
use vitascope_store::{live_index, outbox};

use super::{App, mint, transcript};
use crate::live::indexing;

/// An index begins as far back as a transcript that begins with it.
const BACKLOG: Span = Span::seconds(30);
/// Each has a task and may have a model called: more of them on one rtstream is a mistake.
const MOST_INDEXES: usize = 100;

pub struct NewLiveIndex {
    pub segmentation: Segmentation,
    pub name: Option<String>,
    pub prompt: Option<String>,
    pub model_name: Option<String>,
    /// Who is told of records, and of the transcript if that is started.
    pub connection: Option<ConnectionId>,
    pub starts_transcript: bool,
}

/// `None` if the index needs a transcript that nobody has started.
pub async fn create(app: &App, stream: &RtStream, new: NewLiveIndex) -> Result<Option<LiveIndex>> {
    if stream.kind != MediaKind::Audio {
        return Err(Error::invalid(format!(
            "rtstream {} has no sound: an audio index is of an audio rtstream",
            stream.id
        )));
    }
    check_alive(stream)?;
    if new.starts_transcript {
        transcript::start(app, stream, new.connection.clone()).await?;
    } else if !matches!(stream.transcription, Transcription::Running { .. }) {
        return Ok(None);
    }
    let now = app.now();
    let index = LiveIndex {
        id: mint!(app, LiveIndexId),
        rtstream_id: stream.id.clone(),
        name: new.name,
        prompt: new.prompt,
        model_name: new.model_name,
        segmentation: new.segmentation,
        state: LiveIndexState::Running,
        ws_connection_id: new.connection,
        from: now - BACKLOG,
        done: None,
        created_at: now,
    };
    let made = index.clone();
    app.store
        .write(move |tx| {
            Box::pin(async move {
                if live_index::count(tx, &made.rtstream_id).await? >= MOST_INDEXES as i64 {
                    return Err(Error::conflict(format!("an rtstream has at most {MOST_INDEXES} indexes")));
                }
                live_index::insert(tx, &made).await
            })
        })
        .await?;
    indexing::ensure(app, &index.id, &index.rtstream_id);
    Ok(Some(index))
}

/// From now on what is said is the index's again. A transcript that was stopped meanwhile begins anew.
pub async fn start(app: &App, stream: &RtStream, index: &LiveIndex) -> Result<()> {
    check_alive(stream)?;
    if !matches!(stream.transcription, Transcription::Running { .. }) {
        transcript::start(app, stream, index.ws_connection_id.clone()).await?;
    }
    let (id, now) = (index.id.clone(), app.now());
    app.store.write(move |tx| Box::pin(async move { live_index::start(tx, &id, now).await })).await?;
    indexing::ensure(app, &index.id, &index.rtstream_id);
    Ok(())
}

/// What was said until now becomes its last window.
pub async fn stop(app: &App, index: &LiveIndex) -> Result<()> {
    let id = index.id.clone();
    app.store.write(move |tx| Box::pin(async move { live_index::stop(tx, &id).await })).await?;
    app.live_indexes.ring(&index.rtstream_id);
    Ok(())
}

/// The same for every index of an rtstream.
pub async fn stop_all(app: &App, rtstream: &RtStreamId) -> Result<()> {
    let id = rtstream.clone();
    app.store.write(move |tx| Box::pin(async move { live_index::stop_all(tx, &id).await })).await?;
    app.live_indexes.ring(rtstream);
    Ok(())
}

/// Everything is written, for now for good; false if the index was started again meanwhile.
pub async fn settle(app: &App, id: &LiveIndexId) -> Result<bool> {
    let id = id.clone();
    app.store.write(move |tx| Box::pin(async move { live_index::settle(tx, &id).await })).await
}

/// The windows to come are made with another prompt.
pub async fn set_prompt(app: &App, index: &LiveIndex, prompt: String) -> Result<()> {
    let id = index.id.clone();
    app.store.write(move |tx| Box::pin(async move { live_index::set_prompt(tx, &id, &prompt).await })).await
}

/// A window, how far the index has read with it, and the event of it. False if the index is gone.
pub async fn append(app: &App, id: &LiveIndexId, record: IndexRecord, done: Bookmark, event: Event) -> Result<bool> {
    let id = id.clone();
    let is_there = app
        .store
        .write(move |tx| {
            Box::pin(async move {
                if !live_index::append(tx, &id, &record, done).await? {
                    return Ok(false);
                }
                outbox::insert(tx, &event).await?;
                Ok(true)
            })
        })
        .await?;
    app.outbox_bell.notify_one();
    Ok(is_there)
}

fn check_alive(stream: &RtStream) -> Result<()> {
    if stream.state == RtStreamState::Stopped {
        return Err(Error::conflict(format!("rtstream {} has stopped", stream.id)));
    }
    Ok(())
}
