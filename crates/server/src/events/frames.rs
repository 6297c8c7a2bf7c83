//! The JSON of what is pushed: WebSocket frames and webhook bodies. One superset satisfies the readers of both SDKs' examples.
//! An event's JSON is made once, when it is written down: what is told again is the same to the letter.
//! A new kind of event is a function here, and an `outbox::insert` of what it returns in the transaction that makes it true.

use serde_json::{Value, json};
use vitascope_model::WallTime;
use vitascope_model::capture::{CaptureSession, Channel, SessionState};
use vitascope_model::event::{Audience, Event, Frame, Webhook};
use vitascope_model::id::{ConnectionId, EventId};
use vitascope_model::rtstream::RtStream;
use vitascope_model::stream::Video;

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

/// A session has come to the state it is in; `video` is its export's.
pub(crate) fn session_event(
    app: &App,
    session: &CaptureSession,
    video: Option<&Video>,
    id: EventId,
    at: WallTime,
) -> Event {
    let data = match session.state {
        SessionState::Active => json!({ "rtstreams": session.channels.iter().map(channel).collect::<Vec<_>>() }),
        SessionState::Exported => video.map_or(json!({}), |video| exported(app, video)),
        SessionState::Failed => {
            let failure = session.failure.as_ref();
            json!({ "error": { "code": failure.map(|f| &f.code), "message": failure.map(|f| &f.message) } })
        }
        SessionState::Created | SessionState::Starting | SessionState::Stopping | SessionState::Stopped => json!({}),
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

fn channel(channel: &Channel) -> Value {
    json!({
        "rtstream_id": channel.rtstream_id.as_str(),
        "name": channel.channel_id,
        "media_types": [channel.kind.as_str()],
        "channel_id": channel.category().as_str(),
    })
}

fn exported(app: &App, video: &Video) -> Value {
    json!({
        "exported_video_id": video.id.as_str(),
        // Some apps read this older name.
        "video_id": video.id.as_str(),
        "stream_url": app.config.url(&stream::video_playlist_path(&video.stream_id)),
        "player_url": app.config.url(&stream::player_path(&video.stream_id)),
        "duration": video.length.to_seconds(),
    })
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
