//! The JSON of what is pushed: WebSocket frames and webhook bodies. One superset satisfies the readers of both SDKs' examples.

use serde_json::{Value, json};
use vitascope_model::capture::{CaptureSession, Channel, SessionState};
use vitascope_model::event::SessionEvent;
use vitascope_model::rtstream::RtStream;
use vitascope_model::{Result, WallTime};

use crate::app::{App, stream};
use crate::live::transcribe::TranscriptFrame;

/// The first frame of a connection: it holds the id by which calls bind to it.
pub(super) fn hello(connection_id: &str) -> String {
    json!({ "channel": "connection", "connection_id": connection_id, "status": "connected" }).to_string()
}

/// A change of a session's state: the body of the webhook, which a socket gets under `channel: capture_session`.
pub(super) async fn session_event(app: &App, event: &SessionEvent) -> Result<Value> {
    Ok(json!({
        "version": "2",
        "event": format!("capture_session.{}", event.state.as_str()),
        "event_id": event.id.as_str(),
        "timestamp": event.at.to_string(),
        "capture_session_id": event.session_id.as_str(),
        "end_user_id": event.end_user_id,
        "status": event.state.as_str(),
        "data": session_facts(app, event).await?,
    }))
}

/// The same for a socket: clients look for `channel`, and some for the status inside `data`.
pub(super) fn session_frame(body: &Value) -> String {
    let mut frame = body.clone();
    frame["channel"] = json!("capture_session");
    frame["data"]["status"] = body["status"].clone();
    frame.to_string()
}

async fn session_facts(app: &App, event: &SessionEvent) -> Result<Value> {
    let Some(session) = app.store.find_session(&event.session_id).await? else { return Ok(json!({})) };
    Ok(match event.state {
        SessionState::Active => json!({ "rtstreams": session.channels.iter().map(channel).collect::<Vec<_>>() }),
        SessionState::Exported => exported(app, &session).await?,
        SessionState::Failed => {
            let failure = session.failure.as_ref();
            json!({ "error": { "code": failure.map(|f| &f.code), "message": failure.map(|f| &f.message) } })
        }
        SessionState::Created | SessionState::Starting | SessionState::Stopping | SessionState::Stopped => json!({}),
    })
}

fn channel(channel: &Channel) -> Value {
    json!({
        "rtstream_id": channel.rtstream_id.as_str(),
        "name": channel.channel_id,
        "media_types": [channel.kind.as_str()],
        "channel_id": channel.category().as_str(),
    })
}

async fn exported(app: &App, session: &CaptureSession) -> Result<Value> {
    let Some(id) = &session.exported_video_id else { return Ok(json!({})) };
    let Some(video) = app.store.find_video(id).await? else { return Ok(json!({ "exported_video_id": id.as_str() })) };
    Ok(json!({
        "exported_video_id": id.as_str(),
        // Some apps read this older name.
        "video_id": id.as_str(),
        "stream_url": app.config.url(&stream::video_playlist_path(&video.stream_id)),
        "player_url": app.config.url(&stream::player_path(&video.stream_id)),
        "duration": video.length.to_seconds(),
    }))
}

/// What was said. `start` and `end` are epoch seconds.
pub(super) fn transcript(stream: &RtStream, frame: &TranscriptFrame, now: WallTime) -> String {
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
    .to_string()
}
