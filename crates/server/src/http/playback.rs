//! HLS: playlists, init and media segments of a stream. Who knows the id may play it, from any origin; there is no other check.
//! Segments never change and may be cached for ever; the playlist of something that still grows may not.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use vitascope_model::id::RtStreamId;
use vitascope_model::stream::{Piece, Stream};
use vitascope_model::usage::Meter;
use vitascope_model::{Error, WallTime};

use super::deliver::{FOR_EVER, Wanted, open_to_all, preflight};
use super::error::ApiError;
use super::router::Routes;
use crate::app::App;
use crate::app::live_edge;
use crate::app::playback::{gather, plan_of, segment};

const PLAYLIST: &str = "application/vnd.apple.mpegurl";
const MP4: &str = "video/mp4";

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
    let stream = app.store.find_stream(id).await?;
    let stream = stream.ok_or_else(|| Error::not_found("the stream"))?;
    let answer = file_of(app, wanted, &stream, file).await?;
    app.usage.add(&stream.owner, Meter::BytesOut, wanted.sends(&answer));
    Ok(answer)
}

async fn file_of(app: &App, wanted: &Wanted, stream: &Stream, file: &str) -> Result<Response, ApiError> {
    if let Piece::Live { id } = &stream.piece {
        return live_file(app, wanted, stream, id, file).await;
    }
    let plan = plan_of(app, stream).await?;
    if file.ends_with(".m3u8") {
        let cache = if plan.is_complete() { "public, max-age=60" } else { "no-cache" };
        return Ok(wanted.answer(PLAYLIST, cache, plan.playlist().into()));
    }
    if file == "init.mp4" {
        return Ok(wanted.answer(MP4, FOR_EVER, plan.init()?));
    }
    let n = file.strip_suffix(".m4s").and_then(|n| n.parse().ok());
    let n: usize = n.ok_or_else(|| Error::not_found(format_args!("file {file} of the stream")))?;
    Ok(wanted.answer("video/iso.segment", FOR_EVER, segment(app, &plan, n).await?))
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
            Ok(wanted.answer(PLAYLIST, "no-cache", plan.playlist().into()))
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
