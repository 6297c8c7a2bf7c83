//! Sound, beside a picture or alone: whole frames, placed by the wall clock to within half a frame, so that they never drift apart.
//! Where frames are missing there is silence, so that a player sees one continuous track.

use std::iter::Peekable;

use vitascope_model::{Span, TimeRange, WallTime};

use super::lead::origin;
use super::run::{At, Run, push, samples};
use super::{Part, Segment};
use crate::codec::AAC_FRAME;
use crate::track::{Chunk, TrackView};

pub(super) const FRAME: i64 = AAC_FRAME as i64;
/// Sound may be so far off its place before a frame is put in or left out. More than half a frame, so that it does not chatter.
const TOLERANCE: i64 = FRAME * 3 / 4;

/// Gives each segment the frames that begin in it. Returns how many segments have all their sound: in a track that grows, the last
/// ones may not.
pub(super) fn add(segments: &mut [Segment], lead_timescale: u32, audio: &TrackView) -> usize {
    let Some(first) = segments.first() else { return 0 };
    let rate = audio.chunks[0].codec.timescale();
    let origin = first.wall;
    let frames = samples(&audio.chunks).skip_while(|f| (f.wall - origin).to_ticks(rate) < -FRAME / 2);
    let mut line = Line { origin, rate, time: 0, frames: frames.peekable() };
    let mut whole = 0;
    for segment in segments.iter_mut() {
        let lead_end = segment.parts[0].decode_time + segment.duration;
        let end = (u128::from(lead_end) * u128::from(rate) / u128::from(lead_timescale)) as i64;
        segment.parts.push(line.fill(end));
        if line.time < end && audio.growing {
            break;
        }
        whole += 1;
    }
    whole
}

/// The segments of `range` where sound is alone: each of as many whole frames as `target` needs.
pub(super) fn segments(chunks: &[Chunk], range: TimeRange, target: Span) -> Vec<Segment> {
    let Some(origin) = origin(chunks, range) else { return Vec::new() };
    let rate = chunks[0].codec.timescale();
    let length = (target.to_ticks(rate) + FRAME - 1) / FRAME * FRAME;
    let frames = samples(chunks).skip_while(|f| f.wall < origin).take_while(|f| f.wall < range.end());
    let mut line = Line { origin, rate, time: 0, frames: frames.peekable() };
    let mut segments = Vec::new();
    while line.frames.peek().is_some() {
        let (wall, begin) = (origin + Span::of_ticks(line.time, rate), line.time);
        let part = line.fill(begin + length.max(FRAME));
        segments.push(Segment { wall, duration: (line.time - begin) as u64, parts: vec![part] });
    }
    segments.retain(|s| s.duration > 0);
    segments
}

/// The segments of one chunk on a timeline that begins at `origin`: its first frame is put on the nearest whole frame.
pub(super) fn chunk_segments<'a>(
    frames: impl Iterator<Item = At<'a>>,
    chunk: &Chunk,
    origin: WallTime,
    target: Span,
) -> Vec<Segment> {
    let rate = chunk.codec.timescale();
    let length = (target.to_ticks(rate) + FRAME - 1) / FRAME * FRAME;
    let base = ((chunk.start - origin).to_ticks(rate).max(0) + FRAME / 2) / FRAME * FRAME;
    // Worked out from the chunk alone, and then moved to its place: what is in a segment does not depend on where the timeline begins.
    let mut line = Line { origin: chunk.start, rate, time: 0, frames: frames.peekable() };
    let mut segments = Vec::new();
    while line.frames.peek().is_some() {
        let from = line.time;
        let wall = chunk.start + Span::of_ticks(from, rate);
        let mut part = line.fill(from + length);
        part.decode_time += base as u64;
        segments.push(Segment { wall, duration: (line.time - from) as u64, parts: vec![part] });
    }
    segments.retain(|s| s.duration > 0);
    segments
}

/// Frames on their way to their places.
pub(super) struct Line<'a, I: Iterator<Item = At<'a>>> {
    pub(super) origin: WallTime,
    pub(super) rate: u32,
    /// Ticks from the origin to the next frame.
    pub(super) time: i64,
    pub(super) frames: Peekable<I>,
}

impl<'a, I: Iterator<Item = At<'a>>> Line<'a, I> {
    /// The frames that begin before `end`, or as many as there are.
    pub(super) fn fill(&mut self, end: i64) -> Part {
        let mut part = Part { decode_time: self.time as u64, runs: Vec::new() };
        while self.time < end {
            let Some(frame) = self.frames.peek() else { break };
            let off = (frame.wall - self.origin).to_ticks(self.rate) - self.time;
            if off > TOLERANCE {
                // Missing frames, as far as this segment goes.
                let missing = (off + FRAME / 2) / FRAME;
                let room = (end - self.time + FRAME - 1) / FRAME;
                let put = missing.min(room);
                part.runs.push(Run::Silence { frames: put as u32 });
                self.time += put * FRAME;
            } else if off < -TOLERANCE {
                self.frames.next();
            } else if let Some(frame) = self.frames.next() {
                push(&mut part.runs, &frame, AAC_FRAME);
                self.time += FRAME;
            }
        }
        part
    }
}
