//! A fragmented MP4 as our own ffmpeg writes it to a pipe: bytes in, coded samples out, with times in ticks of the track. Nothing waits
//! for a whole file, and nothing but what the encoder is told to write is understood.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use vitascope_model::{Error, Result};

use super::boxes::{Fields, boxes, header, need};
use super::entry;
use crate::codec::Codec;

/// The largest box that is believed.
const MOST: u64 = 256 << 20;
const NOT_KEY: u32 = 0x1_0000;

/// What the stream says next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// How the picture is coded; comes before the first sample if there is a picture.
    Picture(Codec),
    Sample(Fragment),
}

/// One sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    /// Which output, from 0 on, in the order in which they were asked for.
    pub(crate) track: usize,
    pub(crate) ticks: i64,
    pub(crate) key: bool,
    pub(crate) data: Bytes,
}

/// Cuts a byte stream into samples.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    buffer: BytesMut,
    /// Of the last `moof`: samples whose data is still to come, and where it lies from the beginning of the `moof`.
    described: Vec<(Fragment, usize, usize)>,
    moof_size: usize,
    ready: VecDeque<Said>,
}

impl Parser {
    /// The buffer to read into; call `next` until it gives None after each read.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// None when more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<Said>> {
        loop {
            if let Some(said) = self.ready.pop_front() {
                return Ok(Some(said));
            }
            let Some((kind, head, size)) = header(&self.buffer).map_err(unexpected)? else { return Ok(None) };
            let size = size.filter(|s| *s <= MOST).ok_or_else(|| Error::internal("the encoder wrote a huge box"))?;
            let (head, size) = (head as usize, size as usize);
            if self.buffer.len() < size {
                self.buffer.reserve(size - self.buffer.len());
                return Ok(None);
            }
            let whole = self.buffer.split_to(size).freeze();
            let body = whole.slice(head..);
            match &kind {
                b"moov" => self.ready.extend(picture_codec(&body).map_err(unexpected)?.map(Said::Picture)),
                b"moof" => (self.described, self.moof_size) = (describe(&body).map_err(unexpected)?, size),
                b"mdat" => self.hand_out(&whole)?,
                _ => {}
            }
        }
    }

    fn hand_out(&mut self, mdat: &Bytes) -> Result<()> {
        for (mut sample, offset, size) in self.described.drain(..) {
            let begin = offset.checked_sub(self.moof_size);
            let data = begin.filter(|b| b + size <= mdat.len()).map(|b| mdat.slice(b..b + size));
            sample.data = data.ok_or_else(|| Error::internal("the encoder wrote a sample outside of its box"))?;
            self.ready.push_back(Said::Sample(sample));
        }
        Ok(())
    }
}

fn unexpected(error: Error) -> Error {
    Error::internal("the encoder wrote what was not expected").because(error)
}

/// The first SPS and PPS of the first H.264 track.
fn picture_codec(moov: &[u8]) -> Result<Option<Codec>> {
    for found in boxes(moov) {
        let found = found?;
        if found.kind != *b"trak" {
            continue;
        }
        let table = [b"mdia", b"minf", b"stbl", b"stsd"].iter().try_fold(found.body, |body, kind| need(body, kind))?;
        if let Some(codec @ Codec::H264 { .. }) = entry::parse(table)?.codec {
            return Ok(Some(codec));
        }
    }
    Ok(None)
}

/// The samples of a `moof`, with offset and size of each.
fn describe(moof: &[u8]) -> Result<Vec<(Fragment, usize, usize)>> {
    let mut samples = Vec::new();
    for found in boxes(moof) {
        let found = found?;
        if found.kind == *b"traf" {
            describe_track(found.body, &mut samples)?;
        }
    }
    Ok(samples)
}

#[derive(Clone, Copy, Default)]
struct Usual {
    duration: u32,
    size: u32,
    flags: u32,
}

fn describe_track(traf: &[u8], samples: &mut Vec<(Fragment, usize, usize)>) -> Result<()> {
    let (_, flags, mut fields) = Fields::flagged(need(traf, b"tfhd")?, "tfhd")?;
    let track = (fields.u32()? as usize).saturating_sub(1);
    for (bit, size) in [(0x1, 8), (0x2, 4)] {
        if flags & bit != 0 {
            fields.skip(size)?;
        }
    }
    let mut usual = Usual::default();
    for (bit, field) in [(0x8, &mut usual.duration), (0x10, &mut usual.size), (0x20, &mut usual.flags)] {
        if flags & bit != 0 {
            *field = fields.u32()?;
        }
    }
    let (version, mut fields) = Fields::versioned(need(traf, b"tfdt")?, "tfdt")?;
    let mut ticks = if version == 1 { fields.u64()? as i64 } else { i64::from(fields.u32()?) };
    for found in boxes(traf) {
        let found = found?;
        if found.kind == *b"trun" {
            describe_run(found.body, track, usual, &mut ticks, samples)?;
        }
    }
    Ok(())
}

fn describe_run(
    trun: &[u8],
    track: usize,
    usual: Usual,
    ticks: &mut i64,
    samples: &mut Vec<(Fragment, usize, usize)>,
) -> Result<()> {
    let (_, flags, mut fields) = Fields::flagged(trun, "trun")?;
    let count = fields.u32()?;
    let mut offset = if flags & 0x1 != 0 { fields.u32()? as usize } else { 0 };
    let first_flags = if flags & 0x4 != 0 { Some(fields.u32()?) } else { None };
    for n in 0..count {
        let mut own = usual;
        for (bit, field) in [(0x100, &mut own.duration), (0x200, &mut own.size), (0x400, &mut own.flags)] {
            if flags & bit != 0 {
                *field = fields.u32()?;
            }
        }
        if flags & 0x800 != 0 && fields.u32()? != 0 {
            return Err(Error::internal("the encoder reorders frames"));
        }
        let own_flags = first_flags.filter(|_| n == 0).unwrap_or(own.flags);
        let sample = Fragment { track, ticks: *ticks, key: own_flags & NOT_KEY == 0, data: Bytes::new() };
        samples.push((sample, offset, own.size as usize));
        offset += own.size as usize;
        *ticks += i64::from(own.duration);
    }
    Ok(())
}
