//! Lists of spans: any moments of videos, audios and finished recordings, in any order, as one stream. A list is published without
//! reading media or an index; it is planned when somebody plays it. What a plan of spans is, `media::compile` knows.

use std::collections::HashMap;

use vitascope_media::compile::{Plan, PlanOptions, Shot, compile};
use vitascope_media::track::{Chunk, TrackView};
use vitascope_model::account::Scope;
use vitascope_model::capture::MediaKind;
use vitascope_model::error::Context;
use vitascope_model::id::TrackId;
use vitascope_model::rtstream::{ChunkMedia, Track};
use vitascope_model::stream::{AssetPart, Piece, SpanOf, Stream, StreamSpan};
use vitascope_model::{Error, Result, Span, TimeRange, WallTime};

use super::App;
use super::playback::{chunk_of, open_end, recorded};
use super::stream::{Words, publish};

/// Spans of one list.
pub const MOST: usize = 2000;
/// Sound is read so much before and after a span.
const MARGIN: Span = Span::millis(500);
/// Ranges of a track with less between them are read at once.
const NEAR: Span = Span::seconds(60);

/// A span as it is asked for: it may be empty, or reach over what there is.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub of: SpanOf,
    pub start: WallTime,
    pub end: WallTime,
}

/// The stream of a list, each span cut to what its source has. What is empty contributes nothing.
pub async fn publish_list(app: &App, scope: &Scope, list: Vec<Wanted>, words: Words) -> Result<Stream> {
    if list.len() > MOST {
        return Err(Error::invalid(format!("a list has at most {MOST} spans, this one has {}", list.len())));
    }
    let mut known: HashMap<SpanOf, TimeRange> = HashMap::new();
    let mut spans = Vec::with_capacity(list.len());
    for (n, wanted) in list.iter().enumerate() {
        let has = match known.get(&wanted.of) {
            Some(has) => *has,
            None => *known.entry(wanted.of.clone()).or_insert(extent(app, scope, &wanted.of).await?),
        };
        spans.extend(cut(n, wanted, has)?.map(|range| StreamSpan { of: wanted.of.clone(), range }));
    }
    if spans.is_empty() {
        return Err(Error::invalid("a list needs a span that is not empty"));
    }
    publish(app, scope.user(), Piece::Spans(spans.into()), words).await
}

/// From when to when there is something, in the source's own time.
async fn extent(app: &App, scope: &Scope, of: &SpanOf) -> Result<TimeRange> {
    let whole = |length: Span| TimeRange::new(WallTime(0), WallTime(0) + length);
    let range = match of {
        SpanOf::Video(id) => {
            let video = app.store.get_video(scope, id).await?;
            if video.dropped_at.is_some() {
                return Err(Error::gone(format!(
                    "the storage of video {id} was removed: it cannot be played any more"
                )));
            }
            whole(video.length)
        }
        SpanOf::Audio(id) => whole(app.store.get_audio(scope, id).await?.length),
        SpanOf::RtStream(id) => {
            let found = app.store.get_rtstream(scope, id).await?;
            recorded(app, &found).await?.and_then(|(from, to)| TimeRange::new(from, to))
        }
    };
    range.ok_or_else(|| Error::invalid(format!("{of} has nothing to play")))
}

/// None if it is empty.
fn cut(n: usize, wanted: &Wanted, has: TimeRange) -> Result<Option<TimeRange>> {
    let Wanted { of, start, end } = wanted;
    let seconds = |at: &WallTime| at.to_seconds();
    if start > end {
        let (start, end) = (seconds(start), seconds(end));
        return Err(Error::invalid(format!("span {n} of {of} ends before it starts: {start} s to {end} s")));
    }
    if start == end {
        return Ok(None);
    }
    let range = TimeRange::new(*start.max(&has.start()), *end.min(&has.end()));
    let outside = || {
        let (start, end, from, to) = (seconds(start), seconds(end), has.start().to_seconds(), has.end().to_seconds());
        Error::invalid(format!("span {n} of {of} is {start} s to {end} s, but there is only {from} s to {to} s"))
    };
    range.map(Some).ok_or_else(outside)
}

/// What is cut from one source: its tracks, and how far their clock is ahead of the source's own time.
struct Source {
    ahead: Span,
    tracks: Vec<TrackId>,
}

/// The plan of a list whose sources are there.
pub async fn plan(app: &App, spans: &[StreamSpan]) -> Result<Plan> {
    let mut sources: HashMap<&SpanOf, Source> = HashMap::new();
    for span in spans {
        if !sources.contains_key(&span.of) {
            sources.insert(&span.of, look_up(app, &span.of).await?);
        }
    }
    let ids: Vec<TrackId> = sources.values().flat_map(|s| s.tracks.iter().cloned()).collect();
    let mut tracks = Tracks::of(app.store.list_tracks(&ids).await?);
    let shots = spans.iter().map(|span| tracks.shot(&sources[&span.of], span.range)).collect::<Result<Vec<_>>>()?;
    let read = read(app, tracks.list).await?;
    let made = tokio::task::spawn_blocking(move || {
        let tracks = read.into_iter().map(Read::into_view).collect::<Result<Vec<_>>>()?;
        compile(tracks, &shots, &PlanOptions::default())
    });
    made.await.internal("plan a list of spans")?
}

async fn look_up(app: &App, of: &SpanOf) -> Result<Source> {
    // Between the look at the stream and this one it may have been deleted.
    let gone = || Error::gone("what this stream plays was deleted");
    match of {
        SpanOf::Video(id) => {
            let video = app.store.find_video(id).await?.filter(|v| v.dropped_at.is_none()).ok_or_else(gone)?;
            cut_from(&video.parts)
        }
        SpanOf::Audio(id) => cut_from(&app.store.find_audio(id).await?.ok_or_else(gone)?.parts),
        SpanOf::RtStream(id) => {
            let track = app.store.find_rtstream_track(id).await?.ok_or_else(gone)?;
            Ok(Source { ahead: Span::ZERO, tracks: vec![track.id] })
        }
    }
}

fn cut_from(parts: &[AssetPart]) -> Result<Source> {
    let first = parts.first().ok_or_else(|| Error::internal("an asset has no parts"))?;
    let tracks = parts.iter().filter(|p| p.purpose.is_cut_from()).map(|p| p.track_id.clone());
    Ok(Source { ahead: first.range.start() - WallTime(0), tracks: tracks.collect() })
}

/// The tracks of a list, and what of each is needed.
struct Tracks {
    list: Vec<(Track, Vec<TimeRange>)>,
    places: HashMap<TrackId, usize>,
}

impl Tracks {
    fn of(found: Vec<Track>) -> Tracks {
        let places = found.iter().enumerate().map(|(n, track)| (track.id.clone(), n)).collect();
        Tracks { list: found.into_iter().map(|track| (track, Vec::new())).collect(), places }
    }

    fn shot(&mut self, source: &Source, own: TimeRange) -> Result<Shot> {
        let (start, end) = (own.start() + source.ahead, own.end() + source.ahead);
        let range = TimeRange::new(start, end).ok_or_else(|| Error::internal("an empty span was stored"))?;
        let mut shot = Shot { picture: None, sound: None, range };
        for id in &source.tracks {
            let index = *self.places.get(id).ok_or_else(|| Error::gone("what this stream plays was deleted"))?;
            let (track, ranges) = &mut self.list[index];
            if track.kept_from.is_some_and(|kept| start < kept) {
                return Err(Error::gone("what this stream plays is not kept any more"));
            }
            ranges.extend(TimeRange::new(start - MARGIN, end + MARGIN));
            *(if track.kind == MediaKind::Video { &mut shot.picture } else { &mut shot.sound }) = Some(index);
        }
        Ok(shot)
    }
}

/// What was read of a track.
struct Read {
    track: Track,
    rows: Vec<ChunkMedia>,
    open: Vec<Chunk>,
    ranges: Vec<TimeRange>,
}

async fn read(app: &App, list: Vec<(Track, Vec<TimeRange>)>) -> Result<Vec<Read>> {
    let mut read: Vec<Read> = Vec::with_capacity(list.len());
    for (track, mut ranges) in list {
        ranges.sort_by_key(|r| r.start());
        // The open end first: a chunk that is sealed in between is then seen twice rather than never.
        let open = if track.open { open_end(app, &track.id).await? } else { Vec::new() };
        read.push(Read { track, rows: Vec::new(), open, ranges });
    }
    let joined = |(n, of): (usize, &Read)| joined(&of.ranges).into_iter().map(|range| (n, range)).collect::<Vec<_>>();
    let wanted: Vec<(usize, TimeRange)> = read.iter().enumerate().flat_map(joined).collect();
    let asked: Vec<_> = wanted.iter().map(|(n, range)| (&read[*n].track.id, *range)).collect();
    let found = app.store.list_chunks_about(&asked).await?;
    for ((n, _), rows) in wanted.into_iter().zip(found) {
        read[n].rows.extend(rows);
    }
    Ok(read)
}

/// Sorted ranges as fewer ones: those that are near each other in one.
fn joined(ranges: &[TimeRange]) -> Vec<TimeRange> {
    let mut joined: Vec<TimeRange> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start() < last.end() + NEAR => {
                let end = range.end().max(last.end());
                *last = TimeRange::new(last.start(), end).unwrap_or(*last);
            }
            _ => joined.push(*range),
        }
    }
    joined
}

impl Read {
    /// Only what is needed is decoded: what holds something of a range, and the chunk before it.
    fn into_view(self) -> Result<TrackView> {
        let Read { track, mut rows, open, ranges } = self;
        rows.dedup_by_key(|row| row.start);
        let mut is_needed = vec![false; rows.len()];
        for range in &ranges {
            let first = rows.partition_point(|row| row.start <= range.start()).saturating_sub(1);
            let last = rows.partition_point(|row| row.start < range.end());
            is_needed[first.min(last)..last].fill(true);
        }
        let needed = rows.into_iter().zip(is_needed).filter(|(_, needed)| *needed);
        let mut chunks = needed.map(|(row, _)| chunk_of(&track.id, row)).collect::<Result<Vec<_>>>()?;
        chunks.extend(open);
        Ok(TrackView::new(chunks, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: i64, end: i64) -> TimeRange {
        TimeRange::new(WallTime(start * 1_000_000), WallTime(end * 1_000_000)).unwrap()
    }

    #[test]
    fn spans_are_cut_to_what_there_is_and_nonsense_is_said_with_its_numbers() {
        let of: SpanOf = "m-z-00000000-0000-7000-8000-000000000001".parse().unwrap();
        let asked = |start: f64, end: f64| {
            let at = |seconds| WallTime::from_seconds(seconds).unwrap();
            cut(3, &Wanted { of: of.clone(), start: at(start), end: at(end) }, range(0, 10))
        };
        assert_eq!(asked(2.0, 4.0).unwrap(), Some(range(2, 4)));
        assert_eq!(asked(-1.0, 99.0).unwrap(), Some(range(0, 10)));
        assert_eq!(asked(10.0, 10.0).unwrap(), None);
        let refused = |start, end| asked(start, end).unwrap_err().message;
        assert!(refused(5.5, 3.0).ends_with("ends before it starts: 5.5 s to 3 s"));
        assert!(refused(10.0, 12.5).ends_with("is 10 s to 12.5 s, but there is only 0 s to 10 s"));
        assert!(refused(-3.0, -1.0).contains("is -3 s to -1 s"));
    }

    #[test]
    fn ranges_near_each_other_are_read_at_once() {
        let ranges = [range(0, 5), range(2, 3), range(60, 65), range(500, 501)];
        assert_eq!(joined(&ranges), [range(0, 65), range(500, 501)]);
    }
}
