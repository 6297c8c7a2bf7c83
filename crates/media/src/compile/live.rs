//! The live edge of one track as a sliding playlist. Each chunk is cut into segments by itself, so that a segment is the same whoever
//! asks and whenever, its number is a sum over chunks, and the cost does not grow with the recording.
//! Segments are named by the wall time of their first sample, and placed on a timeline that begins with the rtstream.

use std::fmt::Write as _;

use bytes::Bytes;
use vitascope_model::rtstream::LivePlace;
use vitascope_model::{Result, Span, WallTime};

use super::run::{At, push, samples};
use super::{Answers, Part, PlannedTrack, Segment, SegmentLayout, segment, sound};
use crate::fmp4;
use crate::track::Chunk;

/// A segment ends at the first key frame after so long,
const SEGMENT: Span = Span::seconds(2);
/// or before the first sample after so long, if no key frame comes: the recorder's come every four seconds at the latest.
pub(super) const LONGEST: Span = Span::millis(4400);
/// What the playlist promises from its first to its last reading: no segment is longer, rounded to seconds.
pub(super) const TARGET: i64 = 5;
/// A sample is held no longer than keeps that promise.
const PROMISED: Span = Span::millis(1000 * TARGET + 490);
/// A longer pause between chunks is a gap in the recording: time jumps there, and the players are told.
const GAP: Span = Span::seconds(1);
/// What a playlist lists, if there is so much.
const WINDOW: Span = Span::seconds(60);

/// The end of a track, worked out to segments.
#[derive(Debug)]
pub struct LivePlan {
    track: PlannedTrack,
    segments: Vec<LiveSegment>,
    /// Number of the first segment, and gaps before it.
    place: LivePlace,
    ended: bool,
}

#[derive(Debug)]
struct LiveSegment {
    segment: Segment,
    after_gap: bool,
}

/// Whether a recording that ended with `before` has a gap at `start`.
pub fn is_gap(before: &Chunk, start: WallTime) -> bool {
    start - before.natural_end() > GAP
}

/// How many segments a whole chunk makes.
pub fn segments_in(chunk: &Chunk) -> usize {
    cut(std::slice::from_ref(chunk), 0, chunk.natural_end(), chunk.start).len()
}

/// The segments of chunks that follow one another. `place` is that of the first chunk, `zero` where the timeline begins; as long as
/// the recording has not `ended`, the last segment may still grow and is not told.
pub fn live(chunks: Vec<Chunk>, place: LivePlace, zero: WallTime, ended: bool) -> Option<LivePlan> {
    let codec = chunks.first()?.codec.clone();
    let mut segments = Vec::new();
    for (n, chunk) in chunks.iter().enumerate() {
        let next = chunks.get(n + 1);
        let natural = chunk.natural_end();
        let end = next.filter(|next| !is_gap(chunk, next.start)).map_or(natural, |next| next.start);
        let mut found = cut(&chunks, n, end, zero);
        if next.is_none() && !ended {
            found.pop();
        }
        let gap_before = n > 0 && is_gap(&chunks[n - 1], chunk.start);
        let told = found.into_iter().enumerate();
        segments.extend(told.map(|(i, segment)| LiveSegment { segment, after_gap: gap_before && i == 0 }));
    }
    Some(LivePlan { track: PlannedTrack { codec, chunks, delay: 0 }, segments, place, ended })
}

/// The segments of chunk `n`. `end` is that of its last sample; how many there are does not depend on it.
fn cut(chunks: &[Chunk], n: usize, end: WallTime, zero: WallTime) -> Vec<Segment> {
    let chunk = &chunks[n];
    let own = samples(&chunks[n..=n]).map(move |at| At { chunk: n, ..at });
    if chunk.codec.is_video() {
        pictures(own, chunk, end, zero)
    } else {
        sound::chunk_segments(own, chunk, zero, SEGMENT)
    }
}

fn pictures<'a>(own: impl Iterator<Item = At<'a>>, chunk: &Chunk, end: WallTime, zero: WallTime) -> Vec<Segment> {
    let rate = chunk.codec.timescale();
    let ticks = |span: Span| span.to_ticks(rate).max(1);
    let begin = (chunk.start - zero).to_ticks(rate).max(0);
    let mut segments: Vec<Segment> = Vec::new();
    let (mut first, mut is_whole) = (0, true);
    let mut own = own.peekable();
    while let Some(at) = own.next() {
        let until = own.peek().map_or_else(|| at.ticks + ticks(end - at.wall), |next| next.ticks);
        let so_far = at.ticks - first;
        let at_key = at.key && (so_far >= ticks(SEGMENT) || !is_whole);
        if segments.is_empty() || at_key || so_far >= ticks(LONGEST) {
            (first, is_whole) = (at.ticks, at.key);
            let part = Part { decode_time: (begin + at.ticks) as u64, runs: Vec::new() };
            segments.push(Segment { wall: at.wall, duration: 0, parts: vec![part] });
        }
        let Some(segment) = segments.last_mut() else { break };
        let most = ticks(PROMISED) - segment.duration as i64;
        let duration = (until - at.ticks).clamp(1, most.max(1)) as u32;
        push(&mut segment.parts[0].runs, &at, duration);
        segment.duration += u64::from(duration);
    }
    segments
}

impl LivePlan {
    /// Whether there is something to play.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The m3u8: the last minute, and no end before the recording has one.
    pub fn playlist(&self) -> String {
        let rate = self.track.codec.timescale();
        let length = |s: &LiveSegment| Span::of_ticks(s.segment.duration as i64, rate);
        let mut listed = Span::ZERO;
        let fits = self.segments.iter().rev().take_while(|s| {
            let is_needed = listed < WINDOW;
            listed = listed + length(s);
            is_needed
        });
        let dropped = self.segments.len() - fits.count();
        let (gone, kept) = self.segments.split_at(dropped);
        // The gap before the first segment that is listed is not told: it has slid out.
        let gaps = gone.iter().chain(kept.first()).filter(|s| s.after_gap).count() as i64;
        let mut out = String::with_capacity(120 * kept.len() + 256);
        let mut line = |text: std::fmt::Arguments<'_>| out.write_fmt(text).expect("writing to a string succeeds");
        line(format_args!("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{TARGET}\n"));
        line(format_args!("#EXT-X-MEDIA-SEQUENCE:{}\n", self.place.first_segment + dropped as i64));
        line(format_args!("#EXT-X-DISCONTINUITY-SEQUENCE:{}\n#EXT-X-MAP:URI=\"init.mp4\"\n", self.place.gaps + gaps));
        for (n, told) in kept.iter().enumerate() {
            if told.after_gap && n > 0 {
                line(format_args!("#EXT-X-DISCONTINUITY\n"));
            }
            let (wall, micros) = (told.segment.wall, length(told).0);
            line(format_args!("#EXT-X-PROGRAM-DATE-TIME:{wall}\n"));
            line(format_args!("#EXTINF:{}.{:06},\n{:016}.m4s\n", micros / 1_000_000, micros % 1_000_000, wall.0));
        }
        if self.ended {
            out.push_str("#EXT-X-ENDLIST\n");
        }
        out
    }

    pub fn init(&self) -> Result<Bytes> {
        fmp4::init(&[&self.track.codec], Span::ZERO).map(Bytes::from)
    }

    /// The segment whose first sample is of this moment.
    pub fn segment_layout(&self, wall: WallTime) -> Option<SegmentLayout> {
        let found = self.segments.iter().find(|s| s.segment.wall == wall)?;
        segment::layout(0, &found.segment, std::slice::from_ref(&self.track), &Answers::default()).ok()
    }
}
