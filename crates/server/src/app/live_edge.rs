//! The live edge of an rtstream: the last chunks of its track, sealed or still open, as a sliding playlist and its segments.
//! What a segment is, and how it is numbered, is `media::compile`'s business.

use vitascope_media::compile::{LivePlan, is_gap, live};
use vitascope_media::track::{Chunk, Place, TrackView};
use vitascope_model::error::Context;
use vitascope_model::id::{RtStreamId, TrackId};
use vitascope_model::rtstream::{LivePlace, RtStreamState, SealedChunk};
use vitascope_model::{Error, Result, WallTime};

use super::App;
use super::playback::open_end;

/// A chunk closes after eight seconds or eight megabytes: so many are a minute of anything but the heaviest.
const CHUNKS: i64 = 16;
/// A segment lies in one chunk, and lasts until the next at the most.
const NEIGHBOURS: i64 = 2;

/// The last minute as it is now.
pub async fn playlist_of(app: &App, id: &RtStreamId) -> Result<LivePlan> {
    plan_of(app, id, None).await
}

/// What a segment that begins at `wall` is made from.
pub async fn plan_about(app: &App, id: &RtStreamId, wall: WallTime) -> Result<LivePlan> {
    plan_of(app, id, Some(wall)).await
}

async fn plan_of(app: &App, id: &RtStreamId, about: Option<WallTime>) -> Result<LivePlan> {
    let stream = app.store.find_rtstream(id).await?.ok_or_else(|| Error::gone("the rtstream was deleted"))?;
    let track = app.store.find_rtstream_track(id).await?.ok_or_else(|| nothing_yet(id, stream.state))?;
    // The open end first: a chunk that is sealed in between is then seen twice rather than never.
    let open = if track.open { open_end(app, &track.id).await? } else { Vec::new() };
    let rows = match about {
        Some(wall) => app.store.list_next_chunks(&track.id, wall, NEIGHBOURS).await?,
        None => app.store.list_last_chunks(&track.id, WallTime(i64::MAX), CHUNKS).await?,
    };
    let mut chunks: Vec<Chunk> = rows.iter().map(chunk_of).collect::<Result<_>>()?;
    chunks.extend(open.into_iter().filter(|c| about.is_none_or(|wall| c.end > wall)));
    let chunks = TrackView::new(chunks, false).chunks;
    let ended = stream.state == RtStreamState::Stopped && !track.open;
    let place = match chunks.first() {
        Some(first) => place_of(app, &track.id, first, &rows).await?,
        None => return Err(nothing_yet(id, stream.state)),
    };
    let made = tokio::task::spawn_blocking(move || live(chunks, place, stream.created_at, ended));
    let made = made.await.internal("plan a live edge")?.filter(|plan| !plan.is_empty());
    made.ok_or_else(|| nothing_yet(id, stream.state))
}

fn chunk_of(row: &SealedChunk) -> Result<Chunk> {
    Chunk::from_index(row.start, row.end, &row.index, Place::Object(row.object.clone()))
}

async fn place_of(app: &App, track: &TrackId, first: &Chunk, rows: &[SealedChunk]) -> Result<LivePlace> {
    if let Some(row) = rows.iter().find(|row| row.start == first.start) {
        return Ok(row.place);
    }
    Ok(match app.store.last_chunk_before(track, first.start).await? {
        Some(last) => last.place_after(is_gap(&chunk_of(&last)?, first.start)),
        None => LivePlace::default(),
    })
}

/// A player may ask again while it is live; one that asks for what was never recorded may not.
fn nothing_yet(id: &RtStreamId, state: RtStreamState) -> Error {
    match state {
        RtStreamState::Connected => Error::unavailable(format!("rtstream {id} has recorded nothing yet")),
        RtStreamState::Stopped => Error::not_found(format_args!("a recording of rtstream {id}")),
    }
}
