//! HLS: playlists, init and media segments of a stream. Who knows the id may play it, from any origin; there is no other check.
//! Segments never change and may be cached for ever; the playlist of something that still grows may not.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;
use vitascope_model::error::Context;
use vitascope_model::id::RtStreamId;
use vitascope_model::stream::{Piece, Stream};
use vitascope_model::usage::Meter;
use vitascope_model::{Error, Result, WallTime};

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
/// How long a player waits for bytes that are still to be encoded, at most. Players give up soon after.
const PATIENCE: Duration = Duration::from_secs(25);

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
    let mut answer = found(&app, &wanted, &id, &file).await.unwrap_or_else(IntoResponse::into_response);
    if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
    }
    open_to_all(answer)
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
    let (app, plan) = (app.clone(), Arc::clone(&plan));
    if file == "init.mp4" {
        let made = patiently(PATIENCE, async move { init(&app, &plan).await });
        return Ok(wanted.answer(MP4, FOR_EVER, made.await?));
    }
    let n = file.strip_suffix(".m4s").and_then(|n| n.parse().ok());
    let n: usize = n.ok_or_else(|| Error::not_found(format_args!("file {file} of the stream")))?;
    let made = patiently(PATIENCE, async move { segment(&app, &plan, n).await });
    Ok(wanted.answer("video/iso.segment", FOR_EVER, made.await?))
}

/// Waits for what may have to be encoded. If that takes too long it goes on by itself, and is there when the player asks again; if
/// the player leaves, it ends.
async fn patiently<T: Send + 'static>(
    patience: Duration,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let mut task = AbortOnDropHandle::new(tokio::spawn(work.in_current_span()));
    match timeout(patience, &mut task).await {
        Ok(done) => done.internal("make what a player asks for")?,
        Err(_) => {
            task.detach();
            Err(Error::unavailable("this part is still being encoded: ask again in a moment"))
        }
    }
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

#[cfg(test)]
mod tests {
    use vitascope_model::ErrorKind;

    use super::*;

    #[tokio::test]
    async fn what_takes_too_long_goes_on_by_itself_and_what_nobody_waits_for_ends() {
        const SHORT: Duration = Duration::from_millis(100);
        let (done, mut is_done) = tokio::sync::watch::channel(0);
        let (long, dropped) = (done.clone(), done.clone());
        assert_eq!(patiently(SHORT, async { Ok(7) }).await.unwrap(), 7);
        let made = patiently(SHORT, async move {
            tokio::time::sleep(SHORT * 2).await;
            long.send_replace(1);
            Ok(())
        });
        assert_eq!(made.await.unwrap_err().kind, ErrorKind::Unavailable);
        assert_eq!(*is_done.borrow_and_update(), 0);
        is_done.changed().await.unwrap();
        assert_eq!(*is_done.borrow_and_update(), 1);
        let left = patiently(SHORT, async move {
            tokio::time::sleep(SHORT / 2).await;
            dropped.send_replace(2);
            Ok(())
        });
        assert!(timeout(SHORT / 4, left).await.is_err());
        tokio::time::sleep(SHORT * 2).await;
        assert_eq!(*is_done.borrow_and_update(), 1);
    }
}
