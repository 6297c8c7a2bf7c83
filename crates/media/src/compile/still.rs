//! The picture that stands for a moment where pictures are looked at small: a key frame that plays near it, since that decodes by itself.
//! In a list of spans the key frame before an edge does not play, so there the edge's own first picture is coded anew, unless a key frame
//! that does play is near. Who reads and who encodes is the caller's business.

use vitascope_model::{Error, Result, Span};

use super::need::{Answers, Need};
use super::run::{Run, bytes_of};
use super::segment::{self, SegmentLayout};
use super::{Part, Plan, PlannedTrack, Segment};
use crate::track::Place;

/// One picture by itself.
#[derive(Debug)]
pub struct Still(Segment);

impl Plan {
    /// What stands for the moment `at`, decoded at `time`; of spans, what plays within `near` of it, if that is a key frame.
    pub fn still(&self, at: Span, near: Span, time: Span) -> Result<Still> {
        let none = || Error::not_found("a key frame there");
        let ticks = |span: Span| u64::try_from(span.to_ticks(self.timescale())).map_err(|_| none());
        let n = self.segment_at(at).unwrap_or(self.segments.len().saturating_sub(1));
        let track = self.tracks.first().filter(|t| t.codec.is_video()).ok_or_else(none)?;
        let (at, near) = (ticks(at)?, ticks(near)?);
        let run = match self.segments.get(n).and_then(|s| s.parts[0].runs.first()) {
            Some(&Run::Edge { chunk, key, first, tail, late, .. }) => {
                self.key_near(track, at, near).unwrap_or(Run::Edge { chunk, key, first, last: first + 1, tail, late })
            }
            Some(black @ Run::Black { .. }) => black.clone(),
            _ => {
                let order = (0..=n).rev().chain(n + 1..self.segments.len());
                order.filter_map(|n| key_of(self.segments.get(n)?, track)).next().ok_or_else(none)?
            }
        };
        if let Run::Samples { chunk, .. } | Run::Edge { chunk, .. } = run
            && matches!(track.chunks[chunk].place, Place::Promised(_))
        {
            return Err(Error::unavailable("this part is still being encoded: try again when it is done"));
        }
        let part = Part { decode_time: ticks(time)?, runs: vec![run] };
        Ok(Still(Segment { wall: track.chunks[0].start, duration: 0, parts: vec![part] }))
    }

    pub fn still_needs(&self, still: &Still, have: &Answers) -> Vec<Need> {
        segment::needs(&still.0, &self.tracks, have)
    }

    pub fn still_layout(&self, still: &Still, have: &Answers) -> Result<SegmentLayout> {
        segment::layout(0, &still.0, &self.tracks[..1], have)
    }

    /// Of the key frames that segments begin with, and that begin within `near` of `at`, the nearest.
    fn key_near(&self, track: &PlannedTrack, at: u64, near: u64) -> Option<Run> {
        let starts = self.segments.iter().scan(0, |time, segment| {
            let start = *time;
            *time += segment.duration;
            Some((start.abs_diff(at), segment))
        });
        let keys = starts.filter(|(far, _)| *far <= near).filter_map(|(far, s)| Some((far, key_of(s, track)?)));
        keys.min_by_key(|(far, _)| *far).map(|(_, run)| run)
    }
}

/// The key frame that a segment begins with; none if it begins with none that lies in a chunk.
fn key_of(segment: &Segment, track: &PlannedTrack) -> Option<Run> {
    let Run::Samples { chunk, first, tail, .. } = *segment.parts[0].runs.first()? else { return None };
    let of = &track.chunks[chunk];
    if !of.entries.get(first)?.key {
        return None;
    }
    let (offset, bytes) = bytes_of(of, first, first + 1);
    Some(Run::Samples { chunk, first, last: first + 1, offset, bytes, tail, late: 0 })
}
