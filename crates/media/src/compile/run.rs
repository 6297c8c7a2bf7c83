//! A run: consecutive samples of one chunk, as they lie or coded anew, or what is put where there is nothing: silence, a black picture.
//! Runs are what a segment is made of. What a run needs that is not there yet is named in `need.rs`.

use vitascope_model::{Span, WallTime};

use crate::codec::{AAC_FRAME, Codec};
use crate::fmp4::FragmentSample;
use crate::index::{Entry, Form};
use crate::track::Chunk;

#[derive(Clone, Debug)]
pub(super) enum Run {
    /// Samples `first..last` of a chunk: `bytes` bytes at `offset`. The last one lasts `tail` ticks; the others, until the next, but the
    /// first is shown only when `late` ticks of its time have passed (or so long before it, if that is negative).
    Samples { chunk: usize, first: usize, last: usize, offset: u64, bytes: u64, tail: u32, late: i32 },
    /// The same samples, which do not begin with a key frame, coded anew so that they do; `key` is the key frame before them.
    Edge { chunk: usize, key: usize, first: usize, last: usize, tail: u32, late: i32 },
    /// Frames of silence.
    Silence { frames: u32 },
    /// Sound from a moment on, as frames in the form of the stream; it lies in `chunks` in another.
    Converted { chunks: (usize, usize), from: WallTime, frames: u32 },
    /// A black picture for so many ticks.
    Black { ticks: u32 },
}

/// A frame of silence, as ffmpeg's encoder makes it; the sampling rate does not matter to it.
const SILENT_STEREO: &[u8] = &[0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c];
const SILENT_MONO: &[u8] = &[0x01, 0x18, 0x20, 0x07];

pub(crate) fn silent_frame(codec: &Codec) -> &'static [u8] {
    match codec {
        Codec::Aac { channels: 1, .. } => SILENT_MONO,
        _ => SILENT_STEREO,
    }
}

impl Run {
    pub(super) fn samples(&self) -> u64 {
        match self {
            Run::Samples { first, last, .. } | Run::Edge { first, last, .. } => (last - first) as u64,
            Run::Silence { frames } | Run::Converted { frames, .. } => u64::from(*frames),
            Run::Black { .. } => 1,
        }
    }
}

/// How long sample `i` of the samples `first..last` is shown.
pub(super) fn length_of(entries: &[Entry], i: usize, (first, last): (usize, usize), tail: u32, late: i32) -> u32 {
    match entries.get(i + 1).filter(|_| i + 1 < last) {
        Some(next) if i == first => next.delta.saturating_add_signed(late.saturating_neg()).max(1),
        Some(next) => next.delta,
        None => tail,
    }
}

/// Samples `first..last` of a chunk as a `trun` names them.
pub(super) fn describe(chunk: &Chunk, range: (usize, usize), tail: u32, late: i32) -> Vec<FragmentSample> {
    let in_front = parameter_sets(chunk).len() as u32;
    let is_video = chunk.codec.is_video();
    let one = |i: usize| {
        let duration = if is_video { length_of(&chunk.entries, i, range, tail, late) } else { AAC_FRAME };
        let Entry { size, key, shift, .. } = chunk.entries[i];
        FragmentSample { duration, size: if key { size + in_front } else { size }, key, shift }
    };
    (range.0..range.1).map(one).collect()
}

/// What must stand before a key frame of a chunk that lies in place: length-prefixed, as the samples are.
pub(super) fn parameter_sets(chunk: &Chunk) -> Vec<u8> {
    let (Form::InPlace, Codec::H264 { sps, pps }) = (chunk.form, &chunk.codec) else { return Vec::new() };
    let prefixed = |set: &Vec<u8>| [&(set.len() as u32).to_be_bytes()[..], set].concat();
    [prefixed(sps), prefixed(pps)].concat()
}

/// Where samples `first..last` of a chunk lie: from which byte on, and how many. Those of a chunk in place may have other bytes between,
/// so this is for chunks whose samples lie back to back.
pub(super) fn bytes_of(chunk: &Chunk, first: usize, last: usize) -> (u64, u64) {
    let size = |entries: &[Entry]| entries.iter().map(|e| e.skip + u64::from(e.size)).sum::<u64>();
    let skip = chunk.entries[first].skip;
    (size(&chunk.entries[..first]) + skip, size(&chunk.entries[first..last]) - skip)
}

/// Adds a sample to the runs of a segment; `tail` is how long it lasts if it is the last of its run.
pub(super) fn push(runs: &mut Vec<Run>, at: &At<'_>, tail: u32) {
    // Before a key frame that lies in place something is put.
    let may_join = at.of.form == Form::Packed || !(at.key && at.of.codec.is_video());
    if let Some(Run::Samples { chunk, last, offset, bytes, tail: old, .. }) = runs.last_mut()
        && may_join
        && *chunk == at.chunk
        && *last == at.sample
        && *offset + *bytes == at.offset
    {
        *last += 1;
        *bytes += u64::from(at.size);
        *old = tail;
        return;
    }
    runs.push(Run::Samples {
        chunk: at.chunk,
        first: at.sample,
        last: at.sample + 1,
        offset: at.offset,
        bytes: u64::from(at.size),
        tail,
        late: 0,
    });
}

/// Where one sample is.
#[derive(Clone, Debug)]
pub(super) struct At<'a> {
    pub(super) chunk: usize,
    pub(super) sample: usize,
    pub(super) offset: u64,
    pub(super) size: u32,
    pub(super) key: bool,
    pub(super) wall: WallTime,
    /// Ticks from the chunk's first sample.
    pub(super) ticks: i64,
    pub(super) of: &'a Chunk,
}

/// Every sample of a track, in order.
pub(super) fn samples(chunks: &[Chunk]) -> impl Iterator<Item = At<'_>> {
    chunks.iter().enumerate().flat_map(|(n, chunk)| {
        let (mut ticks, mut next) = (0, 0);
        let timescale = chunk.codec.timescale();
        chunk.entries.iter().enumerate().map(move |(sample, entry)| {
            ticks += i64::from(entry.delta);
            let offset = next + entry.skip;
            next = offset + u64::from(entry.size);
            let wall = chunk.start + Span::of_ticks(ticks, timescale);
            At { chunk: n, sample, offset, size: entry.size, key: entry.key, wall, ticks, of: chunk }
        })
    })
}
