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

/// Frames with the distances that an index has: the promised ones where there are as many frames, else their own, with the key frames
/// that were promised and no others, since segments were planned by them.
fn timed(chunk: &PromisedChunk, frames: Vec<Frame>) -> Result<Vec<(Entry, Bytes)>> {
    let promised = Index::decode(&chunk.index, u64::MAX)?.entries;
    let is_as_promised = promised.len() == frames.len() && promised.iter().zip(&frames).all(|(p, f)| p.key == f.1);
    let start = ticks_at(chunk.start, TICKS);
    let (mut at, mut before) = (start, start);
    let promised: Vec<(i64, bool)> = promised
        .iter()
        .map(|entry| {
            at += i64::from(entry.delta);
            (at, entry.key)
        })
        .collect();
    let frames = if is_as_promised {
        promised.iter().zip(frames).map(|((at, key), frame)| (*at, *key, frame.2)).collect()
    } else {
        let keys: Vec<i64> = promised.iter().filter(|p| p.1).map(|p| p.0).collect();
        placed(&keys, ticks_at(chunk.end, TICKS), frames)
    };
    let entry = |(at, key, data): Frame| {
        let delta = (at - std::mem::replace(&mut before, at)) as u32;
        let size = u32::try_from(data.len()).map_err(|_| Error::internal("a picture that is too large"))?;
        Ok((Entry { delta, size, key, ..Entry::default() }, data))
    };
    frames.into_iter().map(entry).collect()
}

/// The frames of each second from its key frame on. A second without any shows the key frame before it.
fn placed(keys: &[i64], end: i64, frames: Vec<Frame>) -> Vec<Frame> {
    let mut held = frames.first().map(|f| f.2.clone()).unwrap_or_default();
    let mut rest = frames.into_iter().peekable();
    let mut out = Vec::new();
    for (n, key) in keys.iter().enumerate() {
        let until = keys.get(n + 1).copied().unwrap_or(end);
        let is_last = n + 1 == keys.len();
        let mut group = Vec::new();
        while let Some(frame) = rest.next_if(|f| is_last || second(f.0) < second(until)) {
            group.push(frame);
        }
        match group.first() {
            Some((_, true, data)) => held = data.clone(),
            _ => group.insert(0, (*key, true, held.clone())),
        }
        let (count, mut before) = (group.len() as i64, *key - 1);
        for (n, frame) in (0..).zip(&mut group) {
            // Each after the one before, and room for those that follow.
            frame.0 = if n == 0 { *key } else { frame.0.min(until - (count - n)).max(before + 1) };
            frame.1 = n == 0;
            before = frame.0;
        }
        out.append(&mut group);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = TICKS as i64;

    fn frame(at: i64, key: bool) -> Frame {
        (at, key, Bytes::from(at.to_string()))
    }

    fn seen(frames: &[Frame]) -> Vec<(i64, bool, &str)> {
        frames.iter().map(|f| (f.0, f.1, std::str::from_utf8(&f.2).unwrap())).collect()
    }

    #[test]
    fn key_frames_are_where_they_were_promised_whatever_came() {
        // A second is missing, and one has a frame too many, late.
        let frames = vec![frame(3000, true), frame(6000, false), frame(2 * SECOND, true), frame(4 * SECOND + 9, true)];
        let placed = placed(&[0, SECOND, 2 * SECOND], 4 * SECOND, frames);
        assert_eq!(
            seen(&placed),
            [
                (0, true, "3000"),
                (6000, false, "6000"),
                (SECOND, true, "3000"),
                (2 * SECOND, true, "180000"),
                (4 * SECOND - 1, false, "360009"),
            ]
        );
    }
}
