//! Coded pictures, put into the chunks that were promised. A chunk begins with the key frame of its second, at the moment that was
//! promised, whatever the decoder gave; if it gave as many frames as were promised, they have the promised times to the tick.

use std::collections::VecDeque;

use bytes::Bytes;
use vitascope_model::{Error, Result};

use super::{Made, ticks_at};
use crate::codec::Codec;
use crate::encoder::video::whole_sample;
use crate::index::{Entry, Index};
use crate::mp4::written::Fragment;
use crate::promise::{PromisedChunk, TICKS, second};

/// A coded picture and when it is shown.
type Frame = (i64, bool, Bytes);

pub(super) struct PictureChunks {
    chunks: VecDeque<PromisedChunk>,
    /// What the times of the encoder count from.
    base: i64,
    /// When the last chunk ends, unless it is the last of the track.
    end: Option<i64>,
    codec: Option<Codec>,
    /// Of the chunk that is being filled.
    frames: Vec<Frame>,
    /// Shown where the file has nothing.
    last_key: Option<Bytes>,
}

impl PictureChunks {
    pub(super) fn new(chunks: VecDeque<PromisedChunk>, is_rest: bool) -> Result<PictureChunks> {
        let (Some(first), Some(last)) = (chunks.front(), chunks.back()) else {
            return Err(Error::internal("a stretch without chunks"));
        };
        let (base, end) = (ticks_at(first.start, TICKS), (!is_rest).then_some(ticks_at(last.end, TICKS)));
        Ok(PictureChunks { chunks, base, end, codec: None, frames: Vec::new(), last_key: None })
    }

    pub(super) fn learn(&mut self, codec: &Codec) {
        self.codec = Some(codec.clone());
    }

    pub(super) fn take(&mut self, sample: Fragment) -> Result<Vec<Made>> {
        let codec = self.codec.as_ref().ok_or_else(|| Error::internal("a picture before its parameters"))?;
        let at = self.base + sample.ticks;
        let data = whole_sample(codec, sample.key, &sample.data)?;
        let mut made = Vec::new();
        if sample.key {
            if self.end.is_some_and(|end| second(at) >= second(end)) {
                self.chunks.truncate(1);
                made.extend(self.close(&data)?);
            }
            while self.begins_next(at) {
                made.extend(self.close(&data)?);
            }
            self.last_key = Some(data.clone());
        }
        if !self.chunks.is_empty() {
            self.frames.push((at, sample.key, data));
        }
        Ok(made)
    }

    fn begins_next(&self, at: i64) -> bool {
        self.chunks.get(1).is_some_and(|next| second(at) >= second(ticks_at(next.start, TICKS)))
    }

    /// Ends the first chunk; if it has no frame, the last key frame or else the next stays in it.
    fn close(&mut self, next_key: &Bytes) -> Result<Option<Made>> {
        let Some(chunk) = self.chunks.pop_front() else { return Ok(None) };
        let mut frames = std::mem::take(&mut self.frames);
        if frames.first().is_none_or(|f| !f.1) {
            let held = self.last_key.as_ref().unwrap_or(next_key).clone();
            frames.insert(0, (ticks_at(chunk.start, TICKS), true, held));
        }
        let codec = self.codec.clone().ok_or_else(|| Error::internal("a picture without its parameters"))?;
        let samples = timed(&chunk, frames)?;
        Ok(Some(Made { chunk, samples, codec }))
    }

    pub(super) fn finish(&mut self) -> Result<Vec<Made>> {
        let nothing = || Error::invalid("no picture of the file could be decoded");
        let mut made = Vec::new();
        while !self.chunks.is_empty() {
            let key = self.last_key.clone().ok_or_else(nothing)?;
            made.extend(self.close(&key)?);
        }
        Ok(made)
    }
}

/// Frames with the distances that an index has: the promised ones where there are as many frames, else their own, as long as key frames
/// are where they were promised and nothing leaves the chunk.
fn timed(chunk: &PromisedChunk, frames: Vec<Frame>) -> Result<Vec<(Entry, Bytes)>> {
    let promised = Index::decode(&chunk.index, u64::MAX)?.entries;
    let is_as_promised = promised.len() == frames.len() && promised.iter().zip(&frames).all(|(p, f)| p.key == f.1);
    let start = ticks_at(chunk.start, TICKS);
    let deltas: Vec<u32> = if is_as_promised {
        promised.iter().map(|p| p.delta).collect()
    } else {
        own_deltas(start, ticks_at(chunk.end, TICKS), &promised, &frames)
    };
    let entry = |(delta, (_, key, data)): (u32, Frame)| {
        let size = u32::try_from(data.len()).map_err(|_| Error::internal("a picture that is too large"))?;
        Ok((Entry { delta, size, key, ..Entry::default() }, data))
    };
    deltas.into_iter().zip(frames).map(entry).collect()
}

fn own_deltas(start: i64, end: i64, promised: &[Entry], frames: &[Frame]) -> Vec<u32> {
    let mut at = start;
    let keys: Vec<i64> = promised
        .iter()
        .filter_map(|entry| {
            at += i64::from(entry.delta);
            entry.key.then_some(at)
        })
        .collect();
    let wanted = |frame: &Frame| {
        let of_second = keys.iter().find(|key| second(**key) == second(frame.0));
        if frame.1 { of_second.copied().unwrap_or(frame.0) } else { frame.0 }
    };
    let (mut before, left) = (start, frames.len() as i64);
    let place = |(n, frame): (usize, &Frame)| {
        let n = n as i64;
        // Each after the one before, and room for those that follow.
        let at = if n == 0 { start } else { wanted(frame).min(end - (left - n)).max(before + 1) };
        (at - std::mem::replace(&mut before, at)) as u32
    };
    frames.iter().enumerate().map(place).collect()
}
