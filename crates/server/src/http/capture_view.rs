//! A capture session as the wire has it: one superset for both SDKs and every app that reads it. Every key is always there.

use serde::Serialize;
use serde_json::{Value, json};
use vitascope_model::capture::{CaptureSession, Channel, SessionState};
use vitascope_model::health::ChannelHealth;
use vitascope_model::rtstream::RtStream;
use vitascope_model::{Error, Result};

use crate::app::export::Exported;
use crate::app::{App, export, stream};
use crate::live::health;

#[derive(Serialize)]
pub(super) struct SessionView {
    session_id: String,
    id: String,
    collection_id: String,
    end_user_id: Option<String>,
    client_id: Option<String>,
    status: &'static str,
    callback_url: Option<String>,
    ws_connection_id: Option<String>,
    metadata: Value,
    keep: bool,
    created_at: String,
    channels: Vec<ChannelView>,
    primary_video_channel_id: Option<String>,
    rtstreams: Vec<SessionStreamView>,
    export_status: Option<&'static str>,
    exported_video_id: Option<String>,
    exported_videos: Value,
    stream_url: Option<String>,
    player_url: Option<String>,
    error: Option<Value>,
}

#[derive(Serialize)]
pub(super) struct ChannelView {
    channel_id: String,
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    store: bool,
    is_primary: bool,
    /// Where a single session is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<Value>,
}

/// compat: its `channel_id` is the category (`mic`), while a channel's is the device (`mic:default`).
#[derive(Serialize)]
struct SessionStreamView {
    rtstream_id: String,
    id: String,
    channel_id: Option<&'static str>,
    name: String,
    media_types: [&'static str; 1],
    status: &'static str,
    collection_id: String,
    created_at: String,
    sample_rate: i64,
}

/// Reads what a view needs beside the session itself.
pub(super) async fn view(app: &App, session: CaptureSession) -> Result<SessionView> {
    let streams = app.store.list_session_rtstreams(&session.id).await?;
    let asset = match &session.exported {
        Some(id) => export::find(app, id).await?,
        None => None,
    };
    let metadata = serde_json::from_str(&session.metadata)
        .map_err(|e| Error::internal(format!("metadata of capture session {}", session.id)).because(e))?;
    Ok(SessionView {
        session_id: session.id.to_string(),
        id: session.id.to_string(),
        collection_id: session.collection_id.to_string(),
        status: session.state.as_str(),
        ws_connection_id: session.ws_connection_id.as_ref().map(ToString::to_string),
        metadata,
        keep: session.keep,
        created_at: session.created_at.to_string(),
        channels: session.channels.iter().map(channel).collect(),
        primary_video_channel_id: session.primary_video().map(|c| c.channel_id.clone()),
        rtstreams: streams.into_iter().map(session_stream).collect(),
        export_status: export_status(&session),
        exported_video_id: session.exported.as_ref().map(ToString::to_string),
        exported_videos: exported_videos(&session, asset.as_ref()),
        stream_url: asset.as_ref().map(|a| app.config.url(&stream::asset_playlist_path(&a.stream_id))),
        player_url: asset.as_ref().map(|a| app.config.url(&stream::player_path(&a.stream_id))),
        error: session.failure.map(|f| json!({ "code": f.code, "message": f.message })),
        end_user_id: session.end_user_id,
        client_id: session.client_id,
        callback_url: session.callback_url,
    })
}

pub(super) fn channel(channel: &Channel) -> ChannelView {
    ChannelView {
        channel_id: channel.channel_id.clone(),
        name: channel.name.clone(),
        kind: channel.kind.as_str(),
        store: channel.store,
        is_primary: channel.is_primary,
        health: None,
    }
}

/// How a channel is doing. Levels are decibels below full scale.
pub(super) fn health_view(health: &ChannelHealth) -> Value {
    json!({
        "state": health.state.as_str(),
        "last_sample_at": health.last_sample.map(|t| t.to_string()),
        "seconds_since": health.since_last.map(|s| s.to_seconds().max(0.0)),
        "samples": health.samples,
        "bytes": health.bytes,
        "dropped": health.dropped,
        "bytes_per_hour": health.bytes_per_hour(),
        "recorded_seconds": health.recorded.to_seconds(),
        "level_db": health.level_db.map(|l| (f64::from(l) * 10.0).round() / 10.0),
    })
}

/// The view of one session, with how each of its channels is doing.
pub(super) async fn view_with_health(app: &App, session: CaptureSession) -> Result<SessionView> {
    let found = health::of_session(app, &session).await?;
    let mut view = view(app, session).await?;
    for (channel, health) in view.channels.iter_mut().zip(&found) {
        channel.health = Some(health_view(health));
    }
    Ok(view)
}

fn session_stream(stream: RtStream) -> SessionStreamView {
    SessionStreamView {
        rtstream_id: stream.id.to_string(),
        id: stream.id.to_string(),
        channel_id: stream.category.map(|c| c.as_str()),
        name: stream.name,
        media_types: [stream.kind.as_str()],
        status: stream.state.as_str(),
        collection_id: stream.collection_id.to_string(),
        created_at: stream.created_at.to_string(),
        sample_rate: stream.sample_rate,
    }
}

fn export_status(session: &CaptureSession) -> Option<&'static str> {
    match session.state {
        SessionState::Exported => Some("exported"),
        SessionState::Stopped if session.failure.as_ref().is_some_and(|f| !f.is_of_storage()) => Some("failed"),
        SessionState::Stopped if session.stores_anything() => Some("exporting"),
        SessionState::Failed if session.failure.as_ref().is_some_and(|f| f.code == "export_failed") => Some("failed"),
        _ => None,
    }
}

/// By channel: the primary one's is the session's own export, others were asked for.
fn exported_videos(session: &CaptureSession, asset: Option<&Exported>) -> Value {
    let primary = session.primary_video().zip(asset).map(|(c, a)| (c.channel_id.clone(), json!(a.id.as_str())));
    let others = session
        .channels
        .iter()
        .filter_map(|c| Some((c.channel_id.clone(), json!(c.exported_video_id.as_ref()?.as_str()))));
    Value::Object(others.chain(primary).collect())
}
