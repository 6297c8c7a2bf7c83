//! Thumbnails over HTTP: of a moment that is named, of one that is chosen, and the list of those that were made.
//! What becomes of them later is that of any image (`image.rs`).

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::json;
use vitascope_media::frame::Fit;
use vitascope_model::image::Image;
use vitascope_model::stream::Video;
use vitascope_model::{Error, Result, Span};

use super::extract::{Body, Owner, Query, Whole};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::{App, image, thumbnail};
use crate::views;

/// Width and height that may be wished for.
const SIDES: std::ops::RangeInclusive<i64> = 16..=8192;

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/video/{video}/thumbnail", show_thumbnail)
        .post("/video/{video}/thumbnail", make_thumbnail)
        .get("/video/{video}/thumbnails", list_thumbnails)
}

#[derive(Deserialize)]
struct ShowQuery {
    timestamp: Option<String>,
}

/// compat: the Python SDK reads `thumbnail_url`, npm's `thumbnail`.
async fn show_thumbnail(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(id): Path<String>,
    Query(query): Query<ShowQuery>,
) -> Answer {
    let video = app.store.get_video(&scope, &id.parse()?).await?;
    let at = match query.timestamp.as_deref().map(str::trim).filter(|t| !t.is_empty()) {
        Some(text) => Some(text.parse().map_err(|_| wrong_time())?),
        None => None,
    };
    let made = thumbnail_of(&app, &video, at, Fit::default()).await?;
    let url = app.config.url(&image::path(&app, &made.id));
    let at = made.shows.as_ref().map(|m| m.at.to_seconds());
    Ok(Reply::ok(json!({ "thumbnail_url": url, "thumbnail": url, "image_id": made.id.as_str(), "timestamp": at })))
}

/// compat: the SDKs send `time`, the published document has `timestamp`.
#[derive(Deserialize)]
struct MakeRequest {
    time: Option<f64>,
    timestamp: Option<f64>,
    width: Option<Whole>,
    height: Option<Whole>,
}

async fn make_thumbnail(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(id): Path<String>,
    Body(request): Body<MakeRequest>,
) -> Answer {
    let video = app.store.get_video(&scope, &id.parse()?).await?;
    let fit = Fit { width: side("width", request.width)?, height: side("height", request.height)? };
    let made = thumbnail_of(&app, &video, request.time.or(request.timestamp), fit).await?;
    Ok(Reply::ok(views::image(&app, &made)))
}

async fn thumbnail_of(app: &App, video: &Video, at: Option<f64>, fit: Fit) -> Result<Image> {
    match at {
        Some(seconds) => {
            let at = Span::from_seconds(seconds).filter(|at| at.0 >= 0).ok_or_else(wrong_time)?;
            thumbnail::of_moment(app, video, at, fit).await
        }
        None if fit == Fit::default() => thumbnail::poster(app, video).await,
        None => {
            let chosen = thumbnail::poster(app, video).await?;
            let at = chosen.shows.map_or(Span::ZERO, |m| m.at);
            thumbnail::of_moment(app, video, at, fit).await
        }
    }
}

fn wrong_time() -> Error {
    Error::invalid("time must be a number of seconds from the beginning, 0 or more")
}

fn side(name: &str, wished: Option<Whole>) -> Result<Option<u32>> {
    let Some(Whole(pixels)) = wished else { return Ok(None) };
    let wrong = || Error::invalid(format!("{name} must be from {} to {} pixels", SIDES.start(), SIDES.end()));
    SIDES.contains(&pixels).then_some(Some(pixels as u32)).ok_or_else(wrong)
}

async fn list_thumbnails(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    let video = app.store.get_video(&scope, &id.parse()?).await?;
    let found = app.store.list_thumbnails(&video.id).await?;
    Ok(Reply::ok(found.iter().map(|i| views::image(&app, i)).collect::<Vec<_>>()))
}
