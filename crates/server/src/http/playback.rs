//! HLS: playlists, init and media segments of a stream. Who knows the id may play it, from any origin; there is no other check.
//! Segments never change and may be cached for ever; the playlist of something that still grows may not.

use axum::extract::{Path, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use vitascope_model::error::Context;
use vitascope_model::id::RtStreamId;
use vitascope_model::stream::{Piece, Stream};
use vitascope_model::usage::Meter;
use vitascope_model::{Error, WallTime};

use super::deliver::{FOR_EVER, Wanted, open_to_all, preflight};
use super::error::ApiError;
use super::router::Routes;
use crate::app::gather::gather;
use crate::app::playback::{init, plan_of, segment};
use crate::app::{App, captions, expiry, live_edge, preview};

const PLAYLIST: &str = "application/vnd.apple.mpegurl";
const MP4: &str = "video/mp4";
const WEBVTT: &str = "text/vtt; charset=utf-8";
const JPEG: &str = "image/jpeg";
const FOR_A_DAY: &str = "public, max-age=86400";

pub(super) fn routes() -> Routes {
    Routes::new().open_on("GET", "/streams/{stream}/{file}", get(file).options(preflight))
}

/// Errors, too, may be read from any origin: a player there must be able to tell 410 from 503.
async fn file(
    State(app): State<App>,
    Path((id, file)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let wanted = Wanted::new(method, headers);
    open_to_all(found(&app, &wanted, &id, &file).await.unwrap_or_else(IntoResponse::into_response))
}

async fn found(app: &App, wanted: &Wanted, id: &str, file: &str) -> Result<Response, ApiError> {
    let named = expiry::resolve(app, id)?;
    let stream = app.store.find_stream(&named.stream_id).await?;
    let stream = stream.ok_or_else(|| Error::not_found("the stream"))?;
    let mut answer = file_of(app, wanted, &stream, file).await?;
    if let Some(until) = named.until {
        // No cache has it for longer than the name lasts.
        let left = ((until - app.now()).0 / 1_000_000).clamp(0, 3600);
        let text = format!("private, max-age={left}");
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_str(&text).internal("word a header")?);
    }
    app.usage.add(&stream.owner, Meter::BytesOut, wanted.sends(&answer));
    Ok(answer)
}

async fn file_of(app: &App, wanted: &Wanted, stream: &Stream, file: &str) -> Result<Response, ApiError> {
    if let Piece::Live { id } = &stream.piece {
        return live_file(app, wanted, stream, id, file).await;
    }
    if file.ends_with(".vtt") || file.ends_with(".jpg") {
        return preview_file(app, wanted, stream, file).await;
    }
    let plan = plan_of(app, stream).await?;
    if file == "apple.m3u8" && plan.is_complete() {
        return Ok(wanted.answer_text(PLAYLIST, "public, max-age=60", plan.apple_playlist()?.into()));
    }
    let stretch = file.strip_prefix("init-").and_then(|f| f.strip_suffix(".mp4")).and_then(|n| n.parse().ok());
    if let Some(stretch) = stretch {
        return Ok(wanted.answer(MP4, FOR_EVER, plan.apple_init(stretch)?));
    }
    if file.ends_with(".m3u8") {
        let cache = if plan.is_complete() { "public, max-age=60" } else { "no-cache" };
        return Ok(wanted.answer_text(PLAYLIST, cache, plan.playlist().into()));
    }
    if file == "init.mp4" {
        return Ok(wanted.answer(MP4, FOR_EVER, init(app, &plan).await?));
    }
    let n = file.strip_suffix(".m4s").and_then(|n| n.parse().ok());
    let n: usize = n.ok_or_else(|| Error::not_found(format_args!("file {file} of the stream")))?;
    Ok(wanted.answer("video/iso.segment", FOR_EVER, segment(app, &plan, n).await?))
}

/// What a player shows beside the recording: pictures of it, and what was said.
async fn preview_file(app: &App, wanted: &Wanted, stream: &Stream, file: &str) -> Result<Response, ApiError> {
    let sheet = || file.strip_prefix("strip-")?.strip_suffix(".jpg")?.parse().ok();
    Ok(match (file, sheet()) {
        ("poster.jpg", _) => wanted.answer(JPEG, FOR_A_DAY, preview::poster(app, stream).await?),
        ("strip.vtt", _) => wanted.answer_text(WEBVTT, FOR_A_DAY, preview::strip_list(app, stream).await?.into()),
        ("captions.vtt", _) => wanted.answer_text(WEBVTT, "no-cache", captions::of_stream(app, stream).await?.into()),
        (_, Some(n)) => wanted.answer(JPEG, FOR_A_DAY, preview::strip_sheet(app, stream, n).await?),
        _ => return Err(Error::not_found(format_args!("file {file} of the stream")).into()),
    })
}

/// The playlist slides; a segment, which is named by its moment, stays what it is.
async fn live_file(
    app: &App,
    wanted: &Wanted,
    stream: &Stream,
    id: &RtStreamId,
    file: &str,
) -> Result<Response, ApiError> {
    if stream.is_gone {
        return Err(Error::gone("what this stream plays was deleted").into());
    }
    let unknown = || Error::not_found(format_args!("file {file} of the stream"));
    match file {
        "live.m3u8" => {
            let plan = live_edge::playlist_of(app, id).await?;
            Ok(wanted.answer_text(PLAYLIST, "no-cache", plan.playlist().into()))
        }
        "init.mp4" => Ok(wanted.answer(MP4, "no-cache", live_edge::playlist_of(app, id).await?.init()?)),
        _ => {
            let wall = file.strip_suffix(".m4s").and_then(|n| n.parse().ok()).map(WallTime).ok_or_else(unknown)?;
            let plan = live_edge::plan_about(app, id, wall).await?;
            let layout = plan.segment_layout(wall).ok_or_else(unknown)?;
            Ok(wanted.answer("video/iso.segment", FOR_EVER, gather(app, &layout).await?))
        }
    }
}
