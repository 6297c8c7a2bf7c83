//! The chunks of a track that is left where it lies: from key frame to key frame, some seconds long, each with an index from which its
//! samples are read out of the whole file.

use vitascope_model::{Span, WallTime};

use super::MovieTrack;
use super::tables::Sample;
use super::timeline::Shown;
use crate::codec::Codec;
use crate::index::{Encoder, Entry, Form};

/// A chunk ends at the first key frame after so long.
const LENGTH: Span = Span::seconds(4);

/// A chunk as its row will keep it; the object is the whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedChunk {
    /// Counted from the film's first moment, which is `WallTime(0)`.
    pub start: WallTime,
    /// The end of its last sample.
    pub end: WallTime,
    /// Of its samples.
    pub bytes: i64,
    pub samples: i64,
    /// In the form `InPlace`; the first entry skips to where the chunk begins in the file.
    pub index: Vec<u8>,
}

impl MovieTrack {
    /// The track as chunks; none if it does not fit as it lies.
    pub fn chunks(&self) -> Vec<PlacedChunk> {
        let Some(codec) = &self.codec else { return Vec::new() };
        let bounds = bounds(&self.shown, codec);
        let ends = bounds.iter().skip(1).copied().chain([self.shown.samples.len()]);
        let mut chunks: Vec<PlacedChunk> =
            bounds.iter().zip(ends).map(|(from, to)| chunk(&self.shown, codec, *from, to)).collect();
        let starts: Vec<WallTime> = chunks.iter().skip(1).map(|c| c.start).collect();
        chunks.iter_mut().zip(starts).for_each(|(chunk, next)| chunk.end = next);
        chunks
    }
}

/// Why the samples cannot be put into chunks: an index goes forward in its file, and only a key frame begins a new one.
pub(super) fn obstacle(shown: &Shown, codec: &Codec) -> Option<&'static str> {
    /// Sound may lie in any order, but not in a heap of its frames.
    const SHORTEST: usize = 8;
    let jumps = || shown.samples.windows(2).filter(|pair| follows_not(&pair[0], &pair[1]));
    let is_torn = codec.is_video() && jumps().any(|pair| !pair[1].key);
    (is_torn || jumps().count() > 1 + shown.samples.len() / SHORTEST).then_some("samples that do not lie in order")
}

fn follows_not(one: &Sample, next: &Sample) -> bool {
    next.offset < one.offset + u64::from(one.size)
}

/// The first samples of the chunks.
fn bounds(shown: &Shown, codec: &Codec) -> Vec<usize> {
    let length = LENGTH.to_ticks(codec.timescale());
    let (mut bounds, mut begin, mut last) = (Vec::new(), 0, None);
    for (n, sample) in shown.samples.iter().enumerate() {
        let at = shown.decoded(sample);
        let is_due = |last| at - begin >= length || follows_not(last, sample);
        if last.is_none_or(|last| sample.key && is_due(last)) {
            bounds.push(n);
            begin = at;
        }
        last = Some(sample);
    }
    bounds
}

fn chunk(shown: &Shown, codec: &Codec, from: usize, to: usize) -> PlacedChunk {
    let samples = &shown.samples[from..to];
    let mut index = Form::InPlace.line(codec).into_bytes();
    let mut encoder = Encoder::new(Form::InPlace);
    let (mut last, mut next, mut bytes) = (shown.decoded(&samples[0]), 0, 0);
    let start = wall(last, codec);
    for sample in samples {
        let at = shown.decoded(sample);
        let entry = Entry {
            delta: (at - last).max(0) as u32,
            size: sample.size,
            key: sample.key,
            skip: sample.offset - next,
            shift: shown.shift(sample) as i32,
        };
        encoder.push(entry, &mut index);
        (last, next) = (at, sample.offset + u64::from(sample.size));
        bytes += i64::from(sample.size);
    }
    PlacedChunk { start, end: wall(shown.end(), codec), bytes, samples: samples.len() as i64, index }
}

/// Rounded up, so that who counts ticks from it comes to the same tick again.
pub(super) fn wall(ticks: i64, codec: &Codec) -> WallTime {
    let (ticks, rate) = (i128::from(ticks.max(0)), i128::from(codec.timescale()));
    WallTime(((ticks * 1_000_000 + rate - 1) / rate) as i64)
}
