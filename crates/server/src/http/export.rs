//! Exports that are asked for: of one rtstream, and of a capture session, by the display that it is to show.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use vitascope_model::capture::CaptureSession;
use vitascope_model::{Error, Result};

use super::extract::{Body, Owner, compat_connection};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::export::{self, Exported, Outcome};
use crate::app::{App, stream};

/// How long an answer waits for an export that is under way; it takes milliseconds once the session has drained.
const HOLD: Duration = Duration::from_secs(15);

pub(super) fn routes() -> Routes {
    Routes::new()
        .post("/collection/{collection}/capture/session/{session}/export", export_session)
        .post("/rtstream/{rtstream}/export", export_rtstream)
}

#[derive(Deserialize)]
struct RtStreamRequest {
    name: Option<String>,
}

/// compat: `video_id` is an audio's id where there is no picture, as the Python SDK's result documents.
async fn export_rtstream(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(id): Path<String>,
    Body(request): Body<RtStreamRequest>,
) -> Answer {
    let found = app.store.get_rtstream(&scope, &id.parse()?).await?;
    let name = request.name.filter(|n| !n.trim().is_empty());
    let made = export::export_rtstream(&app, &found, name).await?;
    let mut data = asset(&app, &made);
    data["rtstream_id"] = json!(found.id.as_str());
    Ok(Reply::ok(data))
}

fn asset(app: &App, made: &Exported) -> Value {
    json!({
        "video_id": made.id.as_str(),
        "stream_url": app.config.url(&stream::asset_playlist_path(&made.stream_id)),
        "player_url": app.config.url(&stream::player_path(&made.stream_id)),
        "name": made.name,
        "duration": made.length.to_seconds(),
    })
}

#[derive(Deserialize)]
struct SessionRequest {
    video_channel_id: Option<String>,
    connection_id: Option<String>,
}

/// Asking again is how clients poll. As for reading, the collection in the path is not looked at.
async fn export_session(
    State(app): State<App>,
    Owner(scope): Owner,
    Path((_, id)): Path<(String, String)>,
    Body(request): Body<SessionRequest>,
) -> Answer {
    let channel = request.video_channel_id.filter(|c| !c.is_empty());
    let connection = compat_connection(request.connection_id);
    let deadline = Instant::now() + HOLD;
    loop {
        // Enrolled before the rows are read: a job that ends in between is not missed.
        let ended = app.job_done.notified();
        let session = app.store.get_session(&scope, &id.parse()?).await?;
        let outcome = export::export_channel(&app, &session, channel.as_deref()).await?;
        let is_pending = matches!(outcome, Outcome::Pending);
        if is_pending && timeout_at(deadline, ended).await.is_ok() {
            continue;
        }
        if let Some(connection) = connection {
            export::tell(&app, &session, channel.as_deref(), &outcome, connection).await?;
        }
        return Ok(Reply::ok(session_view(&app, &session, channel.as_deref(), &outcome)?));
    }
}

fn session_view(app: &App, session: &CaptureSession, channel: Option<&str>, outcome: &Outcome) -> Result<Value> {
    let primary = session.primary_video().map(|c| c.channel_id.as_str());
    let (status, made, error) = match outcome {
        Outcome::Pending => ("exporting", None, None),
        Outcome::Exported(made) => ("exported", Some(made), None),
        Outcome::Failed(message) => ("failed", None, Some(message)),
    };
    let mut data = made.map_or_else(
        || json!({ "video_id": null, "stream_url": null, "player_url": null, "name": null, "duration": null }),
        |made| asset(app, made),
    );
    let fields = data.as_object_mut().ok_or_else(|| Error::internal("an export is no object"))?;
    fields.insert("session_id".to_owned(), json!(session.id.as_str()));
    fields.insert("video_channel_id".to_owned(), json!(channel.or(primary)));
    fields.insert("export_status".to_owned(), json!(status));
    fields.insert("error".to_owned(), json!(error));
    Ok(data)
}
