//! What an asset looks like on the wire: in the answer of a call, in the reply of a job that made it, in a callback; and what a job does.
//! Absolute URLs are made here. What a call needs beside these stands in its own file in `http`.

use serde::Serialize;
use serde_json::{Value, json};
use vitascope_model::image::Image;
use vitascope_model::job::{Job, JobState};
use vitascope_model::stream::{Audio, Video};
use vitascope_model::takeout::{Takeout, TakeoutState};
use vitascope_model::{Error, Result};

use crate::app::{App, image as images, stream, takeout as takeouts};
use crate::jobs;

/// compat: `length` is never null (the Python SDK reads it as a float), and `thumbnail` stands beside `thumbnail_url`.
#[derive(Serialize)]
pub(crate) struct VideoView {
    id: String,
    collection_id: String,
    name: String,
    description: Option<String>,
    length: f64,
    size: String,
    stream_url: String,
    player_url: String,
    thumbnail_url: Option<String>,
    thumbnail: Option<String>,
    /// Ours: `dropped` once there is nothing to play any more.
    storage: &'static str,
    user_id: String,
    keep: bool,
    created_at: String,
    /// How much of it is encoded, in percent; only while it is not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<i64>,
}

pub(crate) fn thumbnail_url(app: &App, v: &Video) -> Option<String> {
    v.thumbnail.as_ref().map(|id| app.config.url(&images::path(app, id)))
}

pub(crate) fn video(app: &App, v: &Video) -> VideoView {
    let thumbnail = thumbnail_url(app, v);
    VideoView {
        id: v.id.to_string(),
        collection_id: v.collection_id.to_string(),
        name: v.name.clone(),
        description: v.description.clone(),
        length: v.length.to_seconds(),
        size: v.bytes.to_string(),
        stream_url: app.config.url(&stream::asset_playlist_path(&v.stream_id)),
        player_url: app.config.url(&stream::player_path(&v.stream_id)),
        thumbnail_url: thumbnail.clone(),
        thumbnail,
        storage: if v.dropped_at.is_some() { "dropped" } else { "stored" },
        user_id: v.owner.to_string(),
        keep: v.keep,
        created_at: v.created_at.to_string(),
        encoding: v.original_id.as_ref().and_then(|id| app.encoding.progress_of(id)),
    }
}

/// compat: `length` is never null (the Python SDK reads it as a float).
#[derive(Serialize)]
pub(crate) struct AudioView {
    id: String,
    collection_id: String,
    name: String,
    description: Option<String>,
    length: f64,
    size: String,
    user_id: String,
    keep: bool,
    created_at: String,
    stream_url: String,
    player_url: String,
}

pub(crate) fn audio(app: &App, a: &Audio) -> AudioView {
    AudioView {
        id: a.id.to_string(),
        collection_id: a.collection_id.to_string(),
        name: a.name.clone(),
        description: a.description.clone(),
        length: a.length.to_seconds(),
        size: a.bytes.to_string(),
        user_id: a.owner.to_string(),
        keep: a.keep,
        created_at: a.created_at.to_string(),
        stream_url: app.config.url(&stream::asset_playlist_path(&a.stream_id)),
        player_url: app.config.url(&stream::player_path(&a.stream_id)),
    }
}

#[derive(Serialize)]
pub(crate) struct ImageView {
    id: String,
    collection_id: String,
    name: String,
    description: Option<String>,
    url: String,
    width: u32,
    height: u32,
    mime_type: &'static str,
    size: String,
    user_id: String,
    keep: bool,
    created_at: String,
    /// Of a thumbnail.
    #[serde(skip_serializing_if = "Option::is_none")]
    video_id: Option<String>,
    /// Seconds from the video's beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<f64>,
}

pub(crate) fn image(app: &App, i: &Image) -> ImageView {
    ImageView {
        id: i.id.to_string(),
        collection_id: i.collection_id.to_string(),
        name: i.name.clone(),
        description: i.description.clone(),
        url: app.config.url(&images::path(app, &i.id)),
        width: i.width,
        height: i.height,
        mime_type: i.kind.mime(),
        size: i.bytes.to_string(),
        user_id: i.owner.to_string(),
        keep: i.keep,
        created_at: i.created_at.to_string(),
        video_id: i.shows.as_ref().map(|m| m.video.to_string()),
        timestamp: i.shows.as_ref().map(|m| m.at.to_seconds()),
    }
}

/// compat: `status` is of the thing, not of the call. A file's URL is good for whoever has it, until it expires.
#[derive(Serialize)]
pub(crate) struct TakeoutView {
    id: String,
    name: String,
    status: &'static str,
    /// Percent.
    progress: i64,
    created_at: String,
    expires_at: String,
    download_url: Option<String>,
    size: Option<String>,
    length: Option<f64>,
    error: Option<String>,
}

pub(crate) fn takeout(app: &App, t: &Takeout) -> TakeoutView {
    let (status, progress) = match t.state() {
        TakeoutState::Processing => ("processing", t.progress),
        TakeoutState::Done => ("done", 100),
        TakeoutState::Failed => ("error", t.progress),
    };
    TakeoutView {
        id: t.id.to_string(),
        name: t.name.clone(),
        status,
        progress,
        created_at: t.created_at.to_string(),
        expires_at: t.expires_at.to_string(),
        download_url: t.made.as_ref().map(|_| app.config.url(&takeouts::path(app, &t.id))),
        size: t.made.as_ref().map(|m| m.bytes.to_string()),
        length: t.made.as_ref().map(|m| m.length.to_seconds()),
        error: t.error.clone().filter(|_| t.state() == TakeoutState::Failed),
    }
}

/// What the SDKs show of a transcode is up to who reads it: no source says more than id, status and URL.
#[derive(Serialize)]
pub(crate) struct TranscodeView {
    job_id: String,
    status: &'static str,
    /// Percent.
    progress: i64,
    name: String,
    output_url: Option<String>,
    size: Option<String>,
    /// Seconds.
    duration: Option<f64>,
    /// Why it could not be made.
    message: Option<String>,
    created_at: String,
    expires_at: String,
}

pub(crate) fn transcode(app: &App, t: &Takeout) -> TranscodeView {
    let shown = takeout(app, t);
    TranscodeView {
        job_id: t.job_id.to_string(),
        status: shown.status,
        progress: shown.progress,
        name: shown.name,
        output_url: shown.download_url,
        size: shown.size,
        duration: shown.length,
        message: shown.error,
        created_at: shown.created_at,
        expires_at: shown.expires_at,
    }
}

/// compat: both forms at once, as Python (`response`) and Node (top level) read them. A failed job is HTTP 200 with `success: false`.
pub(crate) fn job(app: &App, job: &Job) -> Result<Value> {
    match job.state {
        JobState::Done => {
            let reply = job.reply.as_deref().unwrap_or("{}");
            let data: Value =
                serde_json::from_str(reply).map_err(|e| Error::internal("read a job's reply").because(e))?;
            let inner = json!({ "success": true, "message": "done", "data": data });
            Ok(json!({ "success": true, "status": "done", "message": "done", "data": data, "response": inner }))
        }
        JobState::Failed => {
            let message = job.error.as_deref().unwrap_or("the job failed");
            let inner = json!({ "success": false, "message": message });
            Ok(json!({ "success": false, "status": "failed", "message": message, "data": {}, "response": inner }))
        }
        JobState::Queued | JobState::Running => {
            let output_url = app.config.url(&format!("/async-response/{}", job.id));
            let data = json!({ "id": job.id.as_str(), "output_url": output_url, "percentage": job.progress });
            Ok(json!({ "success": true, "status": "processing", "request_type": "sync", "data": data }))
        }
    }
}

/// What a callback is told of a job that has ended: what a poll would be told, and which job it was.
pub(crate) fn ended_job(app: &App, ended: &Job) -> Result<Value> {
    let mut body = job(app, ended)?;
    body["id"] = json!(ended.id.as_str());
    body["request_id"] = json!(ended.id.as_str());
    if ended.kind == jobs::transcode::KIND {
        body["job_id"] = json!(ended.id.as_str());
    }
    Ok(body)
}
