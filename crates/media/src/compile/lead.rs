//! The pictures cut into segments at their key frames: they lead, and sound follows.
//! A picture lasts until the next one, however long that takes: a pause of the publisher is a picture that is held.

use vitascope_model::{Span, TimeRange, WallTime};

use super::run::{At, push, samples};
use super::{Part, PlanOptions, Segment};
use crate::track::Chunk;

/// The segments of `range`: from the key frame at or before its start, up to its end.
pub(super) fn segments(chunks: &[Chunk], range: TimeRange, options: &PlanOptions) -> Vec<Segment> {
    let Some(origin) = origin(chunks, range) else { return Vec::new() };
    let timescale = chunks[0].codec.timescale();
    let ticks = |span: Span| span.to_ticks(timescale).max(1) as u64;
    let (target, longest) = (ticks(options.segment), options.longest.map_or(u64::MAX, ticks));
    let mut cutter = Cutter { origin, timescale, target, longest, time: 0, is_whole: true, segments: Vec::new() };
    let mut wanted = samples(chunks).skip_while(|s| s.wall < origin).take_while(|s| s.wall < range.end()).peekable();
    while let Some(at) = wanted.next() {
        // The next one of the track, not of the range: the last picture of the range lasts until its end.
        let until = wanted.peek().map_or_else(|| end_of(&at, range, options.held), |next| next.wall);
        let same_chunk = wanted.peek().is_some_and(|next| next.chunk == at.chunk);
        let next_ticks = wanted.peek().filter(|_| same_chunk).map(|next| next.ticks);
        cutter.take(&at, next_ticks, until);
    }
    cutter.segments
}

/// The wall time of the key frame (or frame of sound) that the range begins with.
pub(super) fn origin(chunks: &[Chunk], range: TimeRange) -> Option<WallTime> {
    let mut keys = samples(chunks).filter(|s| s.key && s.wall < range.end());
    let mut found = keys.next()?.wall;
    for key in keys.take_while(|k| k.wall <= range.start()) {
        found = key.wall;
    }
    Some(found)
}

/// Where the last picture ends: with its chunk, or with the range.
fn end_of(at: &At<'_>, range: TimeRange, held: bool) -> WallTime {
    let last_of_chunk = at.sample + 1 == at.of.entries.len();
    if last_of_chunk && !held { at.of.end.min(range.end()) } else { range.end() }
}

struct Cutter {
    origin: WallTime,
    timescale: u32,
    target: u64,
    longest: u64,
    /// Ticks from the origin to the next sample.
    time: u64,
    /// Whether the last segment begins with a key frame.
    is_whole: bool,
    segments: Vec<Segment>,
}

impl Cutter {
    /// `next_ticks` is the next sample's place in the same chunk, if it is there; else the sample lasts `until` a wall time.
    fn take(&mut self, at: &At<'_>, next_ticks: Option<i64>, until: WallTime) {
        let duration = match next_ticks {
            // Within a chunk the publisher's own ticks hold, to the tick.
            Some(next) => next - at.ticks,
            // Across chunks the wall clock does; what rounding left is put right here.
            None => (until - self.origin).to_ticks(self.timescale) - self.time as i64,
        };
        // Clocks that were put back must not make time stand still.
        let duration = u32::try_from(duration.max(1)).unwrap_or(u32::MAX);
        let is_due =
            |s: &Segment| (at.key && (s.duration >= self.target || !self.is_whole)) || s.duration >= self.longest;
        if self.segments.last().is_none_or(is_due) {
            self.is_whole = at.key;
            let part = Part { decode_time: self.time, runs: Vec::new() };
            self.segments.push(Segment { wall: at.wall, duration: 0, parts: vec![part] });
        }
        let segment = self.segments.last_mut().expect("one was pushed");
        push(&mut segment.parts[0].runs, at, duration);
        segment.duration += u64::from(duration);
        self.time += u64::from(duration);
    }
}
