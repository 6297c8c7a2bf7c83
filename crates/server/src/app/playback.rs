//! From a stream's id to what a player gets: the tracks behind it, the plan made from their indexes, and the bytes of a segment.
//! Finished plans are kept; a plan of something that still grows is made anew for each request, from rows and the open journal.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use vitascope_media::compile::{Answers, Need, Plan, PlanOptions, Promised, SegmentLayout, Still, plan};
use vitascope_media::track::{Chunk, Place, TrackView, open_chunks};
use vitascope_model::capture::MediaKind;
use vitascope_model::error::Context;
use vitascope_model::id::TrackId;
use vitascope_model::rtstream::{ChunkMedia, RtStream, Track};
use vitascope_model::stream::{AssetPart, Piece, Stream};
use vitascope_model::{Error, Result, TimeRange, WallTime};

use super::gather::gather;
use super::recording::journal_dir;
use super::{App, encode, pieces, spans};

/// Plans kept,
const KEPT_PLANS: usize = 32;
/// with at most so many samples, of 25 bytes each, in all of them: an hour with sound has 280,000.
const KEPT_SAMPLES: usize = 4_000_000;

/// The plans of finished streams that were asked for last.
#[derive(Default)]
pub struct PlanCache(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    plans: VecDeque<(String, Arc<Plan>)>,
    /// How often all of them were forgotten.
    age: u64,
}

impl PlanCache {
    /// The plan, or how old the cache is: what is made from then on may be kept.
    fn get(&self, id: &str) -> std::result::Result<Arc<Plan>, u64> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.plans.iter().find(|(key, _)| key == id).map(|(_, plan)| plan.clone()).ok_or(kept.age)
    }

    /// When a part of what they play went, or came.
    pub(super) fn forget(&self) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.plans.clear();
        kept.age += 1;
    }

    /// Keeps a plan, unless it was begun before the last time that all were forgotten: it may be of what is not so any more.
    fn keep(&self, id: &str, plan: &Arc<Plan>, begun: u64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.age != begun {
            return;
        }
        let plans = &mut kept.plans;
        plans.retain(|(key, _)| key != id);
        plans.push_front((id.to_owned(), plan.clone()));
        plans.truncate(KEPT_PLANS);
        let mut room = KEPT_SAMPLES;
        let fit = plans.iter().take_while(|(_, plan)| {
            let fits = plan.weight() <= room;
            room = room.saturating_sub(plan.weight());
            fits
        });
        let fit = fit.count().max(1);
        plans.truncate(fit);
    }
}

/// The plan of a stream as it is now.
pub async fn plan_of(app: &App, stream: &Stream) -> Result<Arc<Plan>> {
    if stream.is_gone {
        return Err(Error::gone("what this stream plays was deleted"));
    }
    let begun = match app.plans.get(&stream.id) {
        Ok(kept) => return Ok(kept),
        Err(begun) => begun,
    };
    if let Piece::Spans(list) = &stream.piece {
        let made = Arc::new(spans::plan(app, list).await?);
        app.plans.keep(&stream.id, &made, begun);
        return Ok(made);
    }
    let (video, audio, range) = tracks_of(app, &stream.piece).await?;
    let options = match stream.piece {
        // What is told while it grows stays so when it is finished.
        Piece::RtStream { .. } => PlanOptions::growing(),
        _ => PlanOptions::asset(),
    };
    let growing = [&video, &audio].into_iter().flatten().any(|t| t.growing);
    let made = tokio::task::spawn_blocking(move || plan(video.as_ref(), audio.as_ref(), range, &options));
    let made = Arc::new(made.await.internal("plan a stream")??);
    if !growing {
        app.plans.keep(&stream.id, &made, begun);
    }
    Ok(made)
}

async fn tracks_of(app: &App, piece: &Piece) -> Result<(Option<TrackView>, Option<TrackView>, TimeRange)> {
    match piece {
        Piece::RtStream { id, range } => {
            let track = app.store.find_rtstream_track(id).await?;
            let track = track.ok_or_else(|| Error::not_found(format_args!("a recording of rtstream {id}")))?;
            let view = view_of(app, &track, *range).await?;
            if view.chunks.is_empty() && track.kept_from.is_some_and(|kept| range.start() < kept) {
                return Err(Error::gone("what this stream plays is not kept any more"));
            }
            let (video, audio) = if track.kind == MediaKind::Video { (Some(view), None) } else { (None, Some(view)) };
            Ok((video, audio, *range))
        }
        Piece::Live { .. } | Piece::Spans(_) => Err(Error::internal("live edges and lists are planned by themselves")),
        Piece::Video { id } => {
            let video = app.store.find_video(id).await?.ok_or_else(|| Error::not_found(format_args!("video {id}")))?;
            if video.dropped_at.is_some() {
                return Err(Error::gone("the storage of this video was removed: it cannot be played any more"));
            }
            parts_of(app, &video.parts).await
        }
        Piece::Audio { id } => {
            let audio = app.store.find_audio(id).await?.ok_or_else(|| Error::not_found(format_args!("audio {id}")))?;
            parts_of(app, &audio.parts).await
        }
    }
}

/// What an asset owns: the first part says from when to when.
async fn parts_of(app: &App, parts: &[AssetPart]) -> Result<(Option<TrackView>, Option<TrackView>, TimeRange)> {
    let range = parts.first().ok_or_else(|| Error::internal("an asset has no parts"))?.range;
    let (mut picture, mut sound) = (None, None);
    for part in parts.iter().filter(|p| p.purpose.plays_whole()) {
        let track = app.store.get_track(&part.track_id).await?;
        let view = view_of(app, &track, part.range).await?;
        *(if track.kind == MediaKind::Video { &mut picture } else { &mut sound }) = Some(view);
    }
    Ok((picture, sound, range))
}

/// From when to when an rtstream has a recording, with what is still in the journal.
pub async fn recorded(app: &App, rtstream: &RtStream) -> Result<Option<(WallTime, WallTime)>> {
    let Some(track) = app.store.find_rtstream_track(&rtstream.id).await? else { return Ok(None) };
    let open = if track.open { open_end(app, &track.id).await? } else { Vec::new() };
    let sealed = app.store.track_extent(&track.id).await?.map(|e| (WallTime(e.start_us), WallTime(e.end_us)));
    let ranges = open.iter().map(|c| (c.start, c.end)).chain(sealed);
    Ok(ranges.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))))
}

/// The chunks of a track that are not sealed yet.
pub(super) async fn open_end(app: &App, track: &TrackId) -> Result<Vec<Chunk>> {
    let folder = journal_dir(app, track);
    let read = tokio::task::spawn_blocking(move || if folder.is_dir() { open_chunks(&folder) } else { Ok(Vec::new()) });
    read.await.internal("read a journal")?
}

/// Sealed chunks and the open end as one list; the seam does not show.
async fn view_of(app: &App, track: &Track, range: TimeRange) -> Result<TrackView> {
    // The open end first: a chunk that is sealed in between is then seen twice rather than never.
    let open = if track.open { open_end(app, &track.id).await? } else { Vec::new() };
    let rows = app.store.list_chunks(&track.id, range).await?;
    let mut chunks = Vec::with_capacity(rows.len() + open.len());
    for row in rows {
        chunks.push(chunk_of(&track.id, row.into())?);
    }
    chunks.extend(open.into_iter().filter(|c| c.end > range.start() && c.start < range.end()));
    Ok(TrackView::new(chunks, track.open && range.end() > app.now()))
}

pub(super) fn chunk_of(track: &TrackId, row: ChunkMedia) -> Result<Chunk> {
    // No object: not encoded yet.
    let place = if row.object.is_empty() { Place::Promised(track.clone()) } else { Place::Object(row.object) };
    Chunk::from_index(row.start, row.end, &row.index, place)
}

/// The init segment. Of what is only promised the beginning is encoded now.
pub async fn init(app: &App, plan: &Plan) -> Result<Bytes> {
    match plan.needs_for_init() {
        Some(promised) => plan.init_as(&fulfil(app, &promised).await?.codec),
        None => plan.init(),
    }
}

/// The bytes of segment `n`, gathered from where its samples lie.
pub async fn segment(app: &App, plan: &Plan, n: usize) -> Result<Bytes> {
    gather(app, &layout(app, plan, n).await?).await
}

/// Segment `n`, with all that it needs made: chunks that were promised, then what has to be coded anew.
pub async fn layout(app: &App, plan: &Plan, n: usize) -> Result<SegmentLayout> {
    let have = made(app, |have| plan.needs(n, have)).await?;
    plan.segment_layout(n, &have)
}

/// A picture by itself, with what it needs made.
pub async fn still_layout(app: &App, plan: &Plan, still: &Still) -> Result<SegmentLayout> {
    let have = made(app, |have| Ok(plan.still_needs(still, have))).await?;
    plan.still_layout(still, &have)
}

/// All that is needed, until nothing more is.
async fn made(app: &App, needs_with: impl Fn(&Answers) -> Result<Vec<Need>>) -> Result<Answers> {
    let mut have = Answers::default();
    loop {
        let needs = needs_with(&have)?;
        if needs.is_empty() {
            return Ok(have);
        }
        for need in needs {
            match need {
                Need::Promised(promised) => {
                    let chunk = fulfil(app, &promised).await?;
                    have.fulfil(promised, chunk);
                }
                Need::Coded(recipe) => {
                    let coded = pieces::coded(app, &recipe).await?;
                    have.made(recipe.name, coded);
                }
            }
        }
    }
}

/// A promised chunk with its samples, which may mean to have it encoded now.
async fn fulfil(app: &App, promised: &Promised) -> Result<Chunk> {
    chunk_of(&promised.track, encode::materialise(app, &promised.track, promised.start).await?.into())
}
