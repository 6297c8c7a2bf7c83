//! Sound that is not in the form of its stream (44.1 kHz, one channel): which frames are read so that others can be made of them.
//! Coding them is `encoder::edge`'s business, and which form a stream has is decided in `shots.rs`.

use vitascope_model::{Span, WallTime};

use super::need::{Make, Recipe, SoundSource, name_of, name_of_first, parts_of};
use super::run::{Run, samples, silent_frame};
use super::segment::SegmentPart;
use super::sound::Line;
use crate::codec::{AAC_FRAME, Codec};
use crate::track::Chunk;

/// The form that all sound of a stream has where its sources do not agree.
pub(super) fn common_form() -> Codec {
    Codec::Aac { rate: RATE, channels: 2, config: vec![0x11, 0x90] }
}

const RATE: u32 = 48_000;
/// Frames read before the first one that is wanted: a decoder needs one to find its way in, a coder one more.
const LEAD: i64 = 4;

/// Whether frames of one can stand beside frames of the other.
pub(super) fn is_alike(a: &Codec, b: &Codec) -> bool {
    let kind = |codec: &Codec| match codec {
        Codec::Aac { rate, channels, config } => Some((*rate, *channels, config.first().map(|b| b >> 3))),
        Codec::H264 { .. } => None,
    };
    kind(a) == kind(b)
}

/// `take` frames of the common form from a moment on, made of chunks that hold what is heard then.
pub(super) fn recipe(chunks: &[&Chunk], moment: WallTime, take: u32) -> Recipe {
    let first = chunks[0];
    let rate = first.codec.timescale();
    let frame = Span::of_ticks(i64::from(AAC_FRAME), rate);
    let wanted = moment - Span(frame.0 * LEAD);
    let owned: Vec<Chunk> = chunks.iter().map(|c| (*c).clone()).collect();
    // From a frame's own beginning, so that what is wanted lies exactly where it is looked for.
    let before = samples(&owned).take_while(|f| f.wall <= wanted).last().map(|f| f.wall);
    let origin = before.filter(|wall| *wall > wanted - frame).unwrap_or(wanted);
    let length = (moment - origin) + Span::of_ticks((i64::from(take) + 3) * i64::from(AAC_FRAME), RATE);
    let from_origin = samples(&owned).skip_while(|f| f.wall < origin);
    let mut line = Line { origin, rate, time: 0, frames: from_origin.peekable() };
    let runs = line.fill(length.to_ticks(rate)).runs;
    let mut source =
        SoundSource { codec: first.codec.clone(), parts: Vec::new(), sizes: Vec::new(), skip: moment - origin, take };
    for run in runs {
        match run {
            Run::Samples { chunk, first, last, .. } => {
                let chunk = &owned[chunk];
                source.sizes.extend(chunk.entries[first..last].iter().map(|e| e.size));
                source.parts.extend(parts_of(chunk, first, last));
            }
            Run::Silence { frames } => {
                let silence = silent_frame(&first.codec);
                source.sizes.extend(std::iter::repeat_n(silence.len() as u32, frames as usize));
                source.parts.push(SegmentPart::Bytes(silence.repeat(frames as usize).into()));
            }
            Run::Edge { .. } | Run::Converted { .. } | Run::Black { .. } => {}
        }
    }
    Recipe {
        name: format!("{} sound {} {take}", name_of_first(&source.parts), moment.0),
        object: Some(name_of(&first.place)),
        make: Make::Sound(source),
    }
}
