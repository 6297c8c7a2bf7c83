//! Moments of a track of pictures: which picture is the nearest, and which are shown from one moment to another, for how long.
//! What is made of them is `shots.rs`'s business.

use std::ops::Range;

use vitascope_model::{Span, WallTime};

use super::run::{At, Run};
use crate::track::Chunk;

/// A picture that is shown longer than this is held (a still screen, a pause): moments within it stay where they are, and it is cut
/// there. Others are cut between pictures only.
const HELD: Span = Span::millis(125);

/// The chunks of one track, among those of others.
pub(super) struct Reel<'a> {
    pub(super) chunks: &'a [Chunk],
    pub(super) within: Range<usize>,
}

/// A picture and for how long it is shown, in ticks.
pub(super) struct Shown<'a> {
    pub(super) at: At<'a>,
    /// Ticks of its time that have passed when it is first shown; negative if it is shown before its time.
    pub(super) late: i32,
    pub(super) length: u32,
}

/// Where a picture is.
#[derive(Clone, Copy)]
struct Found {
    chunk: usize,
    sample: usize,
    ticks: i64,
    /// Of the byte after the sample before.
    next_byte: u64,
}

impl<'a> Reel<'a> {
    /// The last picture whose time is not after `moment`.
    fn find(&self, moment: WallTime) -> Option<Found> {
        let chunks = &self.chunks[self.within.clone()];
        let n = chunks.partition_point(|c| c.start <= moment).checked_sub(1)?;
        let chunk = &chunks[n];
        // Times are whole microseconds, rounded down: the last tick that still reads as `moment`.
        let rate = i128::from(chunk.codec.timescale());
        let last = ((i128::from((moment - chunk.start).0 + 1) * rate - 1) / 1_000_000) as i64;
        let mut found = Found { chunk: self.within.start + n, sample: 0, ticks: 0, next_byte: 0 };
        for (next, pair) in chunk.entries.windows(2).enumerate() {
            let ticks = found.ticks + i64::from(pair[1].delta);
            if ticks > last {
                break;
            }
            let next_byte = found.next_byte + pair[0].skip + u64::from(pair[0].size);
            found = Found { sample: next + 1, ticks, next_byte, ..found };
        }
        Some(found)
    }

    fn time_of(&self, found: Found) -> WallTime {
        let chunk = &self.chunks[found.chunk];
        chunk.start + Span::of_ticks(found.ticks, chunk.codec.timescale())
    }

    /// When the picture after `found` begins, or when the recording pauses or ends.
    fn time_after(&self, found: Found) -> WallTime {
        let chunk = &self.chunks[found.chunk];
        if let Some(next) = chunk.entries.get(found.sample + 1) {
            return chunk.start + Span::of_ticks(found.ticks + i64::from(next.delta), chunk.codec.timescale());
        }
        let follows = |next: &&Chunk| (next.start - chunk.end).0.abs() <= HELD.0;
        self.next_chunk(found.chunk).filter(follows).map_or(chunk.end, |next| next.start)
    }

    fn next_chunk(&self, chunk: usize) -> Option<&'a Chunk> {
        self.within.contains(&(chunk + 1)).then(|| &self.chunks[chunk + 1])
    }

    /// The time of the picture that begins nearest to `moment`, of two that are as near the later one.
    pub(super) fn nearest(&self, moment: WallTime) -> WallTime {
        let Some(found) = self.find(moment) else { return moment };
        let (begin, end) = (self.time_of(found), self.time_after(found));
        if moment >= end || end - begin > HELD {
            moment
        } else if (moment - begin).0 * 2 >= (end - begin).0 {
            end
        } else {
            begin
        }
    }

    /// What is shown from `start` to `end`. Before its first picture a track shows that one.
    pub(super) fn shown(&'a self, start: WallTime, end: WallTime) -> impl Iterator<Item = Shown<'a>> {
        let first = Found { chunk: self.within.start, sample: 0, ticks: 0, next_byte: 0 };
        let mut next = Some(self.find(start).unwrap_or(first));
        let mut time = 0;
        let mut late = rounded(start - self.time_of(next.unwrap_or(first)));
        std::iter::from_fn(move || {
            let found = next?;
            let chunk = &self.chunks[found.chunk];
            let (at, rate) = (self.at(found), chunk.codec.timescale());
            next = self.following(found).filter(|next| self.time_of(*next) < end);
            let length = match next {
                // Within a chunk the publisher's own ticks hold, to the tick.
                Some(next) if next.chunk == found.chunk => next.ticks - found.ticks - late,
                Some(next) => rounded(self.time_of(next) - start) - time,
                None => rounded(end - start) - time,
            };
            debug_assert_eq!(rate, 90_000);
            // Clocks that were put back must not make time stand still.
            let length = u32::try_from(length.max(1)).unwrap_or(u32::MAX);
            time += i64::from(length);
            let shown = Shown { at, late: i32::try_from(late).unwrap_or(0), length };
            late = 0;
            Some(shown)
        })
    }

    fn following(&self, found: Found) -> Option<Found> {
        let entries = &self.chunks[found.chunk].entries;
        if let Some(next) = entries.get(found.sample + 1) {
            let this = entries[found.sample];
            return Some(Found {
                sample: found.sample + 1,
                ticks: found.ticks + i64::from(next.delta),
                next_byte: found.next_byte + this.skip + u64::from(this.size),
                ..found
            });
        }
        self.next_chunk(found.chunk)?;
        Some(Found { chunk: found.chunk + 1, sample: 0, ticks: 0, next_byte: 0 })
    }

    fn at(&self, found: Found) -> At<'a> {
        let of = &self.chunks[found.chunk];
        let entry = of.entries[found.sample];
        At {
            chunk: found.chunk,
            sample: found.sample,
            offset: found.next_byte + entry.skip,
            size: entry.size,
            key: entry.key,
            wall: self.time_of(found),
            ticks: found.ticks,
            of,
        }
    }

    /// Adds a picture to an edge, or begins one with it.
    pub(super) fn push_edge(&self, runs: &mut Vec<Run>, at: &At<'_>, length: u32, late: i32) {
        if let Some(Run::Edge { chunk, last, tail, .. }) = runs.last_mut()
            && *chunk == at.chunk
            && *last == at.sample
        {
            *last += 1;
            *tail = length;
            return;
        }
        // A chunk begins with a key frame.
        let key = at.of.entries[..at.sample].iter().rposition(|e| e.key).unwrap_or(0);
        let (first, last) = (at.sample, at.sample + 1);
        runs.push(Run::Edge { chunk: at.chunk, key, first, last, tail: length, late });
    }
}

/// In ticks of pictures, to the nearest.
fn rounded(span: Span) -> i64 {
    const RATE: i128 = 90_000;
    ((i128::from(span.0) * RATE * 2 + 1_000_000).div_euclid(2_000_000)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use crate::index::{Entry, Form};
    use crate::track::Place;

    /// Pictures at 0, 1/30, 2/30 and 3/30 s, the last one held until 5 s; then two more.
    fn chunks() -> Vec<Chunk> {
        let chunk = |start: i64, end: i64, count: usize| {
            let entry =
                |n: usize| Entry { delta: if n == 0 { 0 } else { 3000 }, size: 1, key: n == 0, ..Entry::default() };
            Chunk {
                start: WallTime(start),
                end: WallTime(end),
                codec: Codec::H264 { sps: vec![], pps: vec![] },
                form: Form::Packed,
                entries: (0..count).map(entry).collect(),
                place: Place::Object(String::new()),
            }
        };
        vec![chunk(0, 5_000_000, 4), chunk(5_000_000, 5_066_666, 2)]
    }

    #[test]
    fn moments_go_to_the_nearest_picture_and_halves_up() {
        let chunks = chunks();
        let reel = Reel { chunks: &chunks, within: 0..2 };
        let near = |moment: i64| reel.nearest(WallTime(moment)).0;
        assert_eq!([near(0), near(16_666), near(16_667), near(33_333)], [0, 0, 33_333, 33_333]);
        assert_eq!([near(-5), near(2_000_000)], [-5, 2_000_000], "before the first one, and while one is held");
        assert_eq!([near(5_010_000), near(5_020_000)], [5_000_000, 5_033_333]);
        assert_eq!([near(5_060_000), near(6_000_000)], [5_066_666, 6_000_000]);
    }

    #[test]
    fn what_is_shown_lasts_as_long_as_the_range() {
        let chunks = chunks();
        let reel = Reel { chunks: &chunks, within: 0..2 };
        let shown = |start: i64, end: i64| -> Vec<(usize, usize, i32, u32)> {
            let found = reel.shown(WallTime(start), WallTime(end));
            found.map(|s| (s.at.chunk, s.at.sample, s.late, s.length)).collect()
        };
        assert_eq!(shown(33_333, 100_000), [(0, 1, 0, 3000), (0, 2, 0, 3000)]);
        assert_eq!(shown(2_000_000, 5_033_333), [(0, 3, 171_000, 270_000), (1, 0, 0, 3000)]);
        assert_eq!(shown(1_000_000, 2_000_000), [(0, 3, 81_000, 90_000)]);
        assert_eq!(shown(-1_000_000, 33_333), [(0, 0, -90_000, 93_000)]);
        assert_eq!(shown(5_033_333, 7_033_333), [(1, 1, 0, 180_000)]);
    }
}
