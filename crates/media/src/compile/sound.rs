//! Sound beside a picture: whole frames, placed by the wall clock to within half a frame, so that they never drift apart.
//! Where frames are missing there is silence, so that a player sees one continuous track.

use super::run::{Run, push, samples};
use super::{Part, Segment};
use crate::codec::AAC_FRAME;
use crate::track::TrackView;

const FRAME: i64 = AAC_FRAME as i64;
/// Sound may be so far off its place before a frame is put in or left out. More than half a frame, so that it does not chatter.
const TOLERANCE: i64 = FRAME * 3 / 4;

/// Gives each segment the frames that begin in it. Returns how many segments have all their sound: in a track that grows, the last
/// ones may not.
pub(super) fn add(segments: &mut [Segment], lead_timescale: u32, audio: &TrackView) -> usize {
    let Some(first) = segments.first() else { return 0 };
    let rate = audio.chunks[0].codec.timescale();
    let origin = first.wall;
    let mut frames = samples(&audio.chunks).skip_while(|f| (f.wall - origin).to_ticks(rate) < -FRAME / 2).peekable();
    let (mut time, mut whole) = (0_i64, 0);
    for segment in segments.iter_mut() {
        let lead_end = segment.parts[0].decode_time + segment.duration;
        let end = (u128::from(lead_end) * u128::from(rate) / u128::from(lead_timescale)) as i64;
        let mut part = Part { decode_time: time as u64, runs: Vec::new() };
        while time < end {
            let Some(frame) = frames.peek() else { break };
            let off = (frame.wall - origin).to_ticks(rate) - time;
            if off > TOLERANCE {
                // Missing frames, as far as this segment goes.
                let missing = (off + FRAME / 2) / FRAME;
                let room = (end - time + FRAME - 1) / FRAME;
                let put = missing.min(room);
                part.runs.push(Run::Silence { frames: put as u32 });
                time += put * FRAME;
            } else if off < -TOLERANCE {
                frames.next();
            } else if let Some(frame) = frames.next() {
                push(&mut part.runs, &frame, AAC_FRAME);
                time += FRAME;
            }
        }
        let is_whole = time >= end || !audio.growing;
        segment.parts.push(part);
        if !is_whole {
            break;
        }
        whole += 1;
    }
    whole
}
