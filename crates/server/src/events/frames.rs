//! The JSON of what is pushed: WebSocket frames and webhook bodies. One superset satisfies the readers of both SDKs' examples.
//! An event's JSON is made once, when it is written down: what is told again is the same to the letter.
//! A new kind of event is a function here, and an `outbox::insert` of what it returns in the transaction that makes it true.

use serde_json::{Value, json};
use vitascope_model::WallTime;
use vitascope_model::capture::{CaptureSession, Channel, SessionState};
use vitascope_model::collection::Limit;
use vitascope_model::event::{Audience, Event, Frame, Webhook};
use vitascope_model::health::ChannelHealth;
use vitascope_model::id::{ConnectionId, EventId, ImageId, RtStreamId};
use vitascope_model::live_index::{IndexRecord, LiveIndex};
use vitascope_model::rtstream::RtStream;
use vitascope_model::stream::AssetId;
use vitascope_store::retention::{Gone, Shelf};

use crate::app::export::{Exported, Outcome};
use crate::app::{App, stream};
use crate::live::transcribe::TranscriptFrame;

/// The first frame of a connection: it holds the id by which calls bind to it, and whose place it takes.
pub(crate) fn hello(id: &ConnectionId, line: &ConnectionId) -> String {
    let resumed = (id != line).then(|| line.as_str());
    json!({ "channel": "connection", "connection_id": id.as_str(), "status": "connected", "resumed": resumed })
        .to_string()
}

/// Said after `hello` to a client that comes back too late: what it missed between these times is not kept any more.
pub(crate) fn lost(id: &ConnectionId, since: Option<WallTime>, until: WallTime) -> String {
    json!({
        "channel": "connection",
        "event": "connection.events_lost",
        "connection_id": id.as_str(),
        "status": "events_lost",
        "data": {
            "from": since.map(|at| at.to_string()),
            "until": until.to_string(),
            "message": "events between these times are not kept any more; read sessions and transcripts to learn their state",
        },
    })
    .to_string()
}

/// A session has come to the state it is in; `asset` is its export.
pub(crate) fn session_event(
    app: &App,
    session: &CaptureSession,
    asset: Option<&Exported>,
    id: EventId,
    at: WallTime,
) -> Event {
    let data = match session.state {
        SessionState::Active => json!({ "rtstreams": session.channels.iter().map(channel).collect::<Vec<_>>() }),
        SessionState::Exported => asset.map_or(json!({}), |asset| exported(app, asset)),
        SessionState::Failed => {
            let failure = session.failure.as_ref();
            json!({ "error": { "code": failure.map(|f| &f.code), "message": failure.map(|f| &f.message) } })
        }
        SessionState::Stopping | SessionState::Stopped => reason(session),
        SessionState::Created | SessionState::Starting => json!({}),
    };
    session_news(session, session.state.as_str(), data, id, at)
}

/// Anything that a session's own sockets and webhook are told: `what` becomes `capture_session.{what}`.
/// On a socket it stands under `channel: capture_session`, with the status inside `data` too, where some look for it.
pub(crate) fn session_news(session: &CaptureSession, what: &str, data: Value, id: EventId, at: WallTime) -> Event {
    let name = format!("capture_session.{what}");
    let status = session.state.as_str();
    let body = json!({
        "version": "2",
        "event": name,
        "event_id": id.as_str(),
        "timestamp": at.to_string(),
        "capture_session_id": session.id.as_str(),
        "end_user_id": session.end_user_id,
        "status": status,
        "data": data,
    });
    let webhook = session.callback_url.clone().map(|url| Webhook { url, body: body.to_string() });
    let frame = session.ws_connection_id.clone().map(|connection| {
        let mut frame = body;
        frame["channel"] = json!("capture_session");
        frame["data"]["status"] = json!(status);
        Frame { text: frame.to_string(), to: Audience::Connections(vec![connection]) }
    });
    Event {
        id,
        owner: session.owner.clone(),
        collection_id: Some(session.collection_id.clone()),
        session_id: Some(session.id.clone()),
        name,
        at,
        frame,
        webhook,
    }
}

/// Retention let something of a collection go.
pub(crate) fn storage_dropped(
    shelf: &Shelf,
    gone: &Gone,
    cut: WallTime,
    limit: Limit,
    id: EventId,
    at: WallTime,
) -> Event {
    let name = "storage.deleted".to_owned();
    let frame = json!({
        "channel": "storage",
        "event": name,
        "event_id": id.as_str(),
        "timestamp": at.to_string(),
        "data": {
            "reason": limit.as_str(),
            "collection_id": shelf.collection.as_str(),
            "before": cut.to_string(),
            "bytes": gone.dropped.bytes,
            "assets": gone.assets.iter().map(AssetId::as_str).chain(gone.images.iter().map(ImageId::as_str)).collect::<Vec<_>>(),
            "rtstreams": gone.rtstreams.iter().map(RtStreamId::as_str).collect::<Vec<_>>(),
        },
    });
    Event {
        id,
        owner: shelf.owner.clone(),
        collection_id: Some(shelf.collection.clone()),
        session_id: None,
        name,
        at,
        frame: Some(Frame { text: frame.to_string(), to: Audience::Account }),
        webhook: None,
    }
}

/// Why it was stopped, where nobody asked for it.
fn reason(session: &CaptureSession) -> Value {
    let why = session.failure.as_ref().filter(|f| f.is_of_storage());
    why.map_or_else(|| json!({}), |f| json!({ "reason": { "code": f.code, "message": f.message } }))
}

/// A channel that turned bad, or is well again. It bears no `status`: clients take that for a change of the session's.
pub(crate) fn channel_health(
    session: &CaptureSession,
    stream: &RtStream,
    health: &ChannelHealth,
    id: EventId,
    at: WallTime,
) -> Event {
    let data = json!({
        "state": health.state.as_str(),
        "is_trouble": health.state.is_trouble(stream.category),
        "rtstream_id": stream.id.as_str(),
        "name": stream.name,
        "channel_id": stream.category.map(|c| c.as_str()),
        "last_sample_at": health.last_sample.map(|t| t.to_string()),
        "level_db": health.level_db,
    });
    let mut news = session_news(session, "channel_health", json!({}), id, at);
    let body = json!({
        "version": "2",
        "event": news.name,
        "event_id": news.id.as_str(),
        "timestamp": at.to_string(),
        "capture_session_id": session.id.as_str(),
        "end_user_id": session.end_user_id,
        "data": data,
    });
    if let Some(webhook) = &mut news.webhook {
        webhook.body = body.to_string();
    }
    if let Some(frame) = &mut news.frame {
        let mut told = body;
        told["channel"] = json!("capture_session");
        told["rtstream_id"] = json!(stream.id.as_str());
        told["rtstream_name"] = json!(stream.name);
        frame.text = told.to_string();
    }
    news
}

fn channel(channel: &Channel) -> Value {
    json!({
        "rtstream_id": channel.rtstream_id.as_str(),
        "name": channel.channel_id,
        "media_types": [channel.kind.as_str()],
        "channel_id": channel.category().as_str(),
    })
}

fn exported(app: &App, asset: &Exported) -> Value {
    json!({
        "exported_video_id": asset.id.as_str(),
        // Some apps read this older name.
        "video_id": asset.id.as_str(),
        "stream_url": app.config.url(&stream::asset_playlist_path(&asset.stream_id)),
        "player_url": app.config.url(&stream::player_path(&asset.stream_id)),
        "duration": asset.length.to_seconds(),
    })
}

/// An export that was asked for, by the display that it shows: as the event of a session's own export.
pub(crate) fn session_export(
    app: &App,
    session: &CaptureSession,
    channel: Option<&str>,
    outcome: &Outcome,
    to: ConnectionId,
    id: EventId,
) -> Event {
    let (what, mut data) = match outcome {
        Outcome::Exported(asset) => ("exported", exported(app, asset)),
        Outcome::Failed(message) => {
            ("export_failed", json!({ "error": { "code": "export_failed", "message": message } }))
        }
        Outcome::Pending => ("exporting", json!({})),
    };
    let primary = session.primary_video().map(|c| c.channel_id.as_str());
    data["video_channel_id"] = json!(channel.or(primary));
    // Who asked is told, and nobody else: the session's own sockets and webhook hear of its own export.
    let asker = CaptureSession { ws_connection_id: Some(to), callback_url: None, ..session.clone() };
    session_news(&asker, what, data, id, app.now())
}

/// Whether speech is being written down; a channel of its own, since readers of transcripts take every frame for words.
pub(crate) fn transcription_status(
    stream: &RtStream,
    is_running: bool,
    to: ConnectionId,
    id: EventId,
    at: WallTime,
) -> Event {
    let status = if is_running { "running" } else { "stopped" };
    let name = format!("transcription.{status}");
    let frame = json!({
        "channel": "transcription_status",
        "event": name,
        "event_id": id.as_str(),
        "timestamp": at.to_string(),
        "rtstream_id": stream.id.as_str(),
        "rtstream_name": stream.name,
        "capture_session_id": stream.session_id.as_ref().map(|id| id.as_str()),
        "status": status,
        "data": { "status": status },
    });
    Event {
        id,
        owner: stream.owner.clone(),
        collection_id: Some(stream.collection_id.clone()),
        session_id: stream.session_id.clone(),
        name,
        at,
        frame: Some(Frame { text: frame.to_string(), to: Audience::Connections(vec![to]) }),
        webhook: None,
    }
}

/// A final utterance, for those who listen.
pub(crate) fn final_event(
    stream: &RtStream,
    frame: &TranscriptFrame,
    to: Vec<ConnectionId>,
    id: EventId,
    at: WallTime,
) -> Event {
    let mut body = transcript(stream, frame, at);
    body["event_id"] = json!(id.as_str());
    Event {
        id,
        owner: stream.owner.clone(),
        collection_id: Some(stream.collection_id.clone()),
        session_id: stream.session_id.clone(),
        name: "transcript.final".to_owned(),
        at,
        frame: (!to.is_empty()).then(|| Frame { text: body.to_string(), to: Audience::Connections(to) }),
        webhook: None,
    }
}

/// A window of a live index. `text` stays text, also where the prompt asked for JSON.
pub(crate) fn index_event(
    stream: &RtStream,
    index: &LiveIndex,
    record: &IndexRecord,
    id: EventId,
    at: WallTime,
) -> Event {
    let body = json!({
        "channel": "audio_index",
        "event_id": id.as_str(),
        "timestamp": at.to_string(),
        "rtstream_id": stream.id.as_str(),
        "rtstream_name": stream.name,
        "capture_session_id": stream.session_id.as_ref().map(|id| id.as_str()),
        "index_id": index.id.as_str(),
        "data": {
            "text": record.text,
            "start": record.start.to_seconds(),
            "end": record.end.to_seconds(),
            "metadata": index_metadata(record),
        },
    });
    let to = index.ws_connection_id.clone();
    Event {
        id,
        owner: stream.owner.clone(),
        collection_id: Some(stream.collection_id.clone()),
        session_id: stream.session_id.clone(),
        name: "audio_index.record".to_owned(),
        at,
        frame: to.map(|to| Frame { text: body.to_string(), to: Audience::Connections(vec![to]) }),
        webhook: None,
    }
}

/// What made a record's text: the same in a frame and in a list.
pub(crate) fn index_metadata(record: &IndexRecord) -> Value {
    let mut metadata = json!({ "model": record.model, "prompt_followed": record.prompt_followed });
    if let Some(error) = &record.error {
        metadata["error"] = json!(error);
    }
    metadata
}

/// What was said so far. It is told once and not kept, so it bears no event id.
pub(crate) fn interim(stream: &RtStream, frame: &TranscriptFrame, now: WallTime) -> String {
    transcript(stream, frame, now).to_string()
}

/// `start` and `end` are epoch seconds.
fn transcript(stream: &RtStream, frame: &TranscriptFrame, now: WallTime) -> Value {
    let words: Vec<Value> = frame
        .words
        .iter()
        .map(|w| json!({ "word": w.text, "start": w.start.to_seconds(), "end": w.end.to_seconds() }))
        .collect();
    json!({
        "channel": "transcript",
        "timestamp": now.to_string(),
        "rtstream_id": stream.id.as_str(),
        "rtstream_name": stream.name,
        "capture_session_id": stream.session_id.as_ref().map(|id| id.as_str()),
        "data": {
            "text": frame.text,
            "is_final": frame.is_final,
            "start": frame.start.to_seconds(),
            "end": frame.end.to_seconds(),
            "confidence": frame.confidence,
            "words": words,
        },
    })
}
