//! A segment on its way out: the header that is ours, then the slices of chunks that hold its samples, in order.
//! Who reads the slices, and from where, is the caller's business.

use bytes::Bytes;

use super::run::{Run, parameter_sets, silent_frame};
use super::{PlannedTrack, Segment};
use crate::fmp4::{Fragment, moof};
use crate::track::Place;

/// Bytes `offset .. offset + length` of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    pub place: Place,
    pub offset: u64,
    pub length: u64,
}

#[derive(Clone, Debug)]
pub enum SegmentPart {
    /// Ours.
    Bytes(Bytes),
    /// To be read.
    Slice(Slice),
}

#[derive(Clone, Debug)]
pub struct SegmentLayout {
    parts: Vec<SegmentPart>,
}

impl SegmentLayout {
    pub fn parts(&self) -> &[SegmentPart] {
        &self.parts
    }

    /// Bytes in all.
    pub fn size(&self) -> u64 {
        self.parts
            .iter()
            .map(|part| match part {
                SegmentPart::Bytes(bytes) => bytes.len() as u64,
                SegmentPart::Slice(slice) => slice.length,
            })
            .sum()
    }
}

pub(super) fn layout(n: usize, segment: &Segment, tracks: &[PlannedTrack]) -> SegmentLayout {
    let mut fragments = Vec::with_capacity(tracks.len());
    let mut parts = vec![SegmentPart::Bytes(Bytes::new())];
    let (delay, lead_rate) = (u64::from(tracks[0].delay), u64::from(tracks[0].codec.timescale()));
    for ((part, track), id) in segment.parts.iter().zip(tracks).zip(1..) {
        if part.runs.is_empty() {
            continue;
        }
        let mut samples = Vec::new();
        for run in &part.runs {
            run.describe(&track.codec, &track.chunks, &mut samples);
            match *run {
                Run::Samples { chunk, first, offset, bytes, .. } => {
                    let chunk = &track.chunks[chunk];
                    let in_front = parameter_sets(&track.codec, chunk);
                    if chunk.entries[first].key && !in_front.is_empty() {
                        parts.push(SegmentPart::Bytes(in_front.into()));
                    }
                    parts.push(SegmentPart::Slice(Slice { place: chunk.place.clone(), offset, length: bytes }));
                }
                Run::Silence { frames } => {
                    parts.push(SegmentPart::Bytes(silent_frame(&track.codec).repeat(frames as usize).into()));
                }
            }
        }
        let mut decode_time = part.decode_time;
        if track.codec.is_video() {
            samples.iter_mut().for_each(|s| s.shift += delay as i32);
        } else {
            decode_time += delay * u64::from(track.codec.timescale()) / lead_rate;
        }
        fragments.push(Fragment { track: id, decode_time, samples });
    }
    parts[0] = SegmentPart::Bytes(moof(n as u32 + 1, &fragments).into());
    SegmentLayout { parts }
}
