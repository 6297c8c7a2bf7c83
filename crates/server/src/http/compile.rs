//! Moments as streams over HTTP: of one video (`/video/{id}/stream`), or of many (`/compile`). Both answer at once, with where it plays.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::json;
use vitascope_model::stream::{SpanOf, Stream};
use vitascope_model::{Error, Result, WallTime};

use super::extract::{Body, Owner};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::spans::{Wanted, publish_list};
use crate::app::stream::Words;
use crate::app::{App, stream};

pub(super) fn routes() -> Routes {
    Routes::new().post("/compile", compile).post("/video/{video}/stream", stream_video)
}

/// Seconds, from and to.
type Moment = (f64, f64);

/// compat: the body is the bare array that the SDKs send. The collection beside a video does not matter: a search result names one for
/// all of its shots.
#[derive(Deserialize)]
struct CompileItem {
    video_id: String,
    shots: Vec<Moment>,
}

async fn compile(State(app): State<App>, Owner(scope): Owner, Body(items): Body<Vec<CompileItem>>) -> Answer {
    let mut list = Vec::new();
    for item in &items {
        list.extend(wanted(&item.video_id.parse()?, &item.shots)?);
    }
    let made = publish_list(&app, &scope, list, Words::default()).await?;
    Ok(urls(&app, &made))
}

#[derive(Deserialize)]
struct StreamRequest {
    timeline: Option<Vec<Moment>>,
}

/// Without a timeline, the whole video. compat: the SDKs say its length, too, as a number or text; we know it ourselves.
async fn stream_video(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(id): Path<String>,
    Body(request): Body<StreamRequest>,
) -> Answer {
    let video = app.store.get_video(&scope, &id.parse()?).await?;
    let Some(timeline) = request.timeline.filter(|t| !t.is_empty()) else {
        return Ok(Reply::ok(json!({
            "stream_url": app.config.url(&stream::asset_playlist_path(&video.stream_id)),
            "player_url": app.config.url(&stream::player_path(&video.stream_id)),
        })));
    };
    let list = wanted(&SpanOf::Video(video.id.clone()), &timeline)?;
    let words = Words { title: Some(video.name.clone()), description: video.description.clone() };
    let made = publish_list(&app, &scope, list, words).await?;
    Ok(urls(&app, &made))
}

fn wanted(of: &SpanOf, moments: &[Moment]) -> Result<Vec<Wanted>> {
    let at = |seconds: f64| {
        let wrong = || Error::invalid(format!("{seconds} is not a moment: spans are [start, end] in seconds"));
        WallTime::from_seconds(seconds).ok_or_else(wrong)
    };
    moments.iter().map(|(start, end)| Ok(Wanted { of: of.clone(), start: at(*start)?, end: at(*end)? })).collect()
}

fn urls(app: &App, made: &Stream) -> Reply {
    Reply::ok(json!({
        "stream_url": app.config.url(&stream::playlist_path(made)),
        "player_url": app.config.url(&stream::player_path(&made.id)),
    }))
}
