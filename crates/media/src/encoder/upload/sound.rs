//! Coded sound, put into the chunks that were promised. Sound is a count: after what the encoder gives of its own, and what was encoded
//! only to lead in, frame after frame, and silence where the file ends before it said it would.

use std::collections::VecDeque;

use bytes::Bytes;
use vitascope_model::WallTime;

use super::{Made, plan};
use crate::codec::AAC_FRAME;
use crate::compile::silent_frame;
use crate::index::Entry;
use crate::mp4::written::Fragment;
use crate::promise::{PromisedChunk, sound_codec};

pub(super) struct SoundChunks {
    chunks: VecDeque<PromisedChunk>,
    /// Frames that are still to be left out.
    before: i64,
    /// Of the chunk that is being filled.
    frames: Vec<Bytes>,
}

impl SoundChunks {
    pub(super) fn new(chunks: VecDeque<PromisedChunk>) -> SoundChunks {
        let start = chunks.front().map_or(WallTime(0), |c| c.start);
        SoundChunks { chunks, before: plan::frames_before(start), frames: Vec::new() }
    }

    pub(super) fn take(&mut self, sample: Fragment) -> Vec<Made> {
        if self.before > 0 {
            self.before -= 1;
            return Vec::new();
        }
        let Some(chunk) = self.chunks.front() else { return Vec::new() };
        let wanted = frames_of(chunk);
        self.frames.push(sample.data);
        if self.frames.len() < wanted { Vec::new() } else { self.close().into_iter().collect() }
    }

    fn close(&mut self) -> Option<Made> {
        let chunk = self.chunks.pop_front()?;
        let mut frames = std::mem::take(&mut self.frames);
        frames.resize(frames_of(&chunk), Bytes::from_static(silent_frame(&sound_codec())));
        let entry = |(n, data): (usize, Bytes)| {
            let delta = if n == 0 { 0 } else { AAC_FRAME };
            (Entry { delta, size: data.len() as u32, key: true, ..Entry::default() }, data)
        };
        Some(Made { chunk, samples: frames.into_iter().enumerate().map(entry).collect(), codec: sound_codec() })
    }

    pub(super) fn finish(&mut self) -> Vec<Made> {
        std::iter::from_fn(|| self.close()).collect()
    }
}

/// By its boundaries: what a chunk has is what lies between them.
fn frames_of(chunk: &PromisedChunk) -> usize {
    (plan::frame_at(chunk.end) - plan::frame_at(chunk.start)).max(0) as usize
}
