//! The sound of a list of spans: whole frames of each shot one behind the other, chosen so that sound and pictures never differ by more
//! than half a frame, however many shots there are. Where a shot has no sound, or a recording a gap, there is silence.

use std::ops::Range;

use vitascope_model::{Span, TimeRange, WallTime};

use super::convert::is_alike;
use super::run::{At, Run, samples};
use super::sound::{FRAME, Line};
use super::{Part, Segment};
use crate::codec::Codec;
use crate::track::Chunk;

/// Sound is read so much before and after what is heard, to find a decoder's way in and out.
const MARGIN: Span = Span::millis(400);

pub(super) struct Score<'a> {
    chunks: &'a [Chunk],
    form: &'a Codec,
    /// Ticks from the beginning of the stream to the next frame.
    time: i64,
    /// Where it would be if frames could be cut.
    exact: Span,
}

impl<'a> Score<'a> {
    pub(super) fn new(chunks: &'a [Chunk], form: &'a Codec) -> Score<'a> {
        Score { chunks, form, time: 0, exact: Span::ZERO }
    }

    /// Gives each segment of a shot its frames. `from` is the moment of the track with which the shot begins, `start` its place on the
    /// stream's timeline in ticks of `rate`.
    pub(super) fn beside(
        &mut self,
        within: Range<usize>,
        from: WallTime,
        (start, rate): (u64, u32),
        segments: &mut [Segment],
    ) {
        let Some(last) = segments.last() else { return };
        let length = Span::of_ticks((last.parts[0].decode_time + last.duration - start) as i64, rate);
        let origin = from - Span::of_ticks(start as i64, rate);
        let mut voice = self.voice(within, origin, from, from + length);
        for segment in segments {
            let end = segment.parts[0].decode_time + segment.duration;
            let part = voice.sing(nearest_frame(end, rate, self.form.timescale()));
            segment.parts.push(part);
        }
        self.time = voice.time();
    }

    /// The segments of a shot that is sound alone.
    pub(super) fn alone(&mut self, within: Range<usize>, range: TimeRange, target: Span, segments: &mut Vec<Segment>) {
        let rate = self.form.timescale();
        let step = (target.to_ticks(rate) + FRAME - 1) / FRAME * FRAME;
        let origin = range.start() - self.exact;
        self.exact = self.exact + range.length();
        let end = nearest_frame(self.exact.0 as u64, 1_000_000, rate);
        let mut voice = self.voice(within, origin, range.start(), range.end());
        while voice.time() < end {
            let begin = voice.time();
            let part = voice.sing(end.min(begin + step.max(FRAME)));
            let wall = origin + Span::of_ticks(begin, rate);
            segments.push(Segment { wall, duration: (voice.time() - begin) as u64, parts: vec![part] });
        }
        self.time = voice.time();
    }

    fn voice(
        &self,
        within: Range<usize>,
        origin: WallTime,
        from: WallTime,
        to: WallTime,
    ) -> Voice<'a, impl Iterator<Item = At<'a>> + use<'a>> {
        let rate = self.form.timescale();
        let (from, to) = (from - MARGIN, to + MARGIN);
        let all = &self.chunks[within.clone()];
        let (first, last) = (all.partition_point(|c| c.end <= from), all.partition_point(|c| c.start < to));
        let heard = first..last.max(first);
        let base = within.start + heard.start;
        let chunks = &all[heard];
        let is_as_is = chunks.iter().all(|c| is_alike(&c.codec, self.form));
        let begin = self.time;
        let frames = samples(chunks).map(move |at| At { chunk: at.chunk + base, ..at });
        let frames = frames.skip_while(move |f| (f.wall - origin).to_ticks(rate) - begin < -FRAME / 2);
        let line = Line { origin, rate, time: begin, frames: frames.peekable() };
        Voice { line, converted: (!is_as_is).then_some((base, base + chunks.len())) }
    }
}

/// The sound of one shot.
struct Voice<'a, I: Iterator<Item = At<'a>>> {
    line: Line<'a, I>,
    /// The chunks, if they are in another form than the stream.
    converted: Option<(usize, usize)>,
}

impl<'a, I: Iterator<Item = At<'a>>> Voice<'a, I> {
    fn time(&self) -> i64 {
        self.line.time
    }

    /// All frames up to `end`, which is a whole number of them.
    fn sing(&mut self, end: i64) -> Part {
        let begin = self.line.time;
        if let Some(chunks) = self.converted.filter(|_| begin < end) {
            let from = self.line.origin + Span::of_ticks(begin, self.line.rate);
            self.line.time = end;
            let run = Run::Converted { chunks, from, frames: ((end - begin) / FRAME) as u32 };
            return Part { decode_time: begin as u64, runs: vec![run] };
        }
        let mut part = self.line.fill(end);
        if self.line.time < end {
            part.runs.push(Run::Silence { frames: ((end - self.line.time) / FRAME) as u32 });
            self.line.time = end;
        }
        part
    }
}

/// `time` ticks of `rate` as ticks of sound, to the nearest whole frame.
fn nearest_frame(time: u64, rate: u32, sound_rate: u32) -> i64 {
    let (ticks, frame) = (u128::from(time) * u128::from(sound_rate), u128::from(rate) * FRAME as u128);
    ((2 * ticks + frame) / (2 * frame)) as i64 * FRAME
}
