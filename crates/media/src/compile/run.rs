//! A run: consecutive samples of one chunk, or silence put where sound is missing. Runs are what a segment is made of.

use vitascope_model::{Span, WallTime};

use crate::codec::{AAC_FRAME, Codec};
use crate::fmp4::FragmentSample;
use crate::index::{Entry, Form};
use crate::track::Chunk;

#[derive(Clone, Debug)]
pub(super) enum Run {
    /// Samples `first..last` of a chunk: `bytes` bytes at `offset`. The last one lasts `tail` ticks; the others, until the next.
    Samples { chunk: usize, first: usize, last: usize, offset: u64, bytes: u64, tail: u32 },
    /// Frames of silence.
    Silence { frames: u32 },
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
            Run::Samples { first, last, .. } => (last - first) as u64,
            Run::Silence { frames } => u64::from(*frames),
        }
    }

    /// As a `trun` names them.
    pub(super) fn describe(&self, codec: &Codec, chunks: &[Chunk], out: &mut Vec<FragmentSample>) {
        match *self {
            Run::Samples { chunk, first, last, tail, .. } => {
                let entries = &chunks[chunk].entries;
                let in_front = parameter_sets(codec, &chunks[chunk]).len() as u32;
                out.extend((first..last).map(|i| {
                    let next = if i + 1 < last { entries[i + 1].delta } else { tail };
                    let duration = if codec.is_video() { next } else { AAC_FRAME };
                    let Entry { size, key, shift, .. } = entries[i];
                    FragmentSample { duration, size: if key { size + in_front } else { size }, key, shift }
                }));
            }
            Run::Silence { frames } => {
                let size = silent_frame(codec).len() as u32;
                out.extend((0..frames).map(|_| FragmentSample { duration: AAC_FRAME, size, key: true, shift: 0 }));
            }
        }
    }
}

/// What must stand before a key frame of a chunk that lies in place: length-prefixed, as the samples are.
pub(super) fn parameter_sets(codec: &Codec, chunk: &Chunk) -> Vec<u8> {
    let (Form::InPlace, Codec::H264 { sps, pps }) = (chunk.form, codec) else { return Vec::new() };
    let prefixed = |set: &Vec<u8>| [&(set.len() as u32).to_be_bytes()[..], set].concat();
    [prefixed(sps), prefixed(pps)].concat()
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
