//! Whether samples can be taken as they lie: cut anywhere, played as a whole, or neither. Decided from the parameter sets, the times,
//! and the first bytes of each key frame; what a key frame says of itself is not believed before it was looked at.

use std::fs::File;
use std::os::unix::fs::FileExt;

use h264_reader::nal::sps::{ChromaFormat, FrameMbsFlags, SeqParameterSet};
use h264_reader::nal::{Nal, RefNal};
use vitascope_model::error::Context;
use vitascope_model::{Result, Span};

use super::tables::Sample;
use super::timeline::Shown;
use crate::codec::Codec;

/// What can be done with a track as it lies in its file. The reasons are for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Cut at any sample.
    Cut,
    /// Played from beginning to end, not cut exactly.
    Whole(&'static str),
    /// Neither: it must be encoded.
    No(&'static str),
}

/// From a key frame to the next: four seconds, as near as frame rates come to it.
const CUT_GROUP: Span = Span::millis(4100);
/// Segments end at key frames, and nobody waits for longer ones.
const WHOLE_GROUP: Span = Span::seconds(30);
/// Pictures larger than this are decoded by few.
const LARGEST_SIDE: u32 = 4096;
const SMALLEST_SIDE: u32 = 16;
/// Key frames that are looked at before a track is given up: an hour of 60 frames a second, all of them key.
const MOST_KEYS: usize = 1 << 18;
/// NAL units in front of a key frame's first slice.
const MOST_UNITS: usize = 64;

/// How a track that has no other obstacle fits.
pub(super) fn judge(codec: &Codec, shown: &Shown, file: &File) -> Result<Fit> {
    match codec {
        Codec::H264 { sps, pps } => picture(sps, pps, shown, file),
        Codec::Aac { rate, channels, .. } => Ok(sound(*rate, *channels, shown)),
    }
}

fn sound(rate: u32, channels: u8, shown: &Shown) -> Fit {
    let is_far = |pair: &[Sample]| u32::try_from(shown.decoded(&pair[1]) - shown.decoded(&pair[0])).is_err();
    if shown.samples.iter().any(|s| s.size == 0) || shown.samples.windows(2).any(is_far) {
        return Fit::No("a frame of sound without bytes, or too far from the next");
    }
    if (rate, channels) == (48_000, 2) { Fit::Cut } else { Fit::Whole("sound that is not 48 kHz stereo") }
}

fn picture(sps: &[u8], pps: &[u8], shown: &Shown, file: &File) -> Result<Fit> {
    let fit = parameters(sps);
    if matches!(fit, Fit::No(_)) {
        return Ok(fit);
    }
    let timing = timing(shown);
    if matches!(timing, Fit::No(_)) {
        return Ok(timing);
    }
    let keys = keys(sps, pps, shown, file)?;
    Ok(match (fit, timing) {
        _ if keys != Fit::Cut => keys,
        (Fit::Cut, timing) => timing,
        (fit, _) => fit,
    })
}

/// What the SPS says.
fn parameters(sps: &[u8]) -> Fit {
    let nal = RefNal::new(sps, &[], true);
    let Ok(sps) = SeqParameterSet::from_bits(nal.rbsp_bits()) else { return Fit::No("an SPS that cannot be read") };
    let chroma = &sps.chroma_info;
    let is_eight_bit = chroma.bit_depth_luma_minus8 == 0 && chroma.bit_depth_chroma_minus8 == 0;
    // Baseline, main and high; what else there is, browsers do not play.
    if !matches!(u8::from(sps.profile_idc), 66 | 77 | 100) {
        return Fit::No("a profile that is not baseline, main or high");
    }
    if chroma.chroma_format != ChromaFormat::YUV420 || !is_eight_bit {
        return Fit::No("pictures that are not 4:2:0 with 8 bits");
    }
    let sides = SMALLEST_SIDE..=LARGEST_SIDE;
    if !sps.pixel_dimensions().is_ok_and(|(width, height)| sides.contains(&width) && sides.contains(&height)) {
        return Fit::No("pictures too large or too small");
    }
    let ratio = sps.vui_parameters.as_ref().and_then(|vui| vui.aspect_ratio_info.as_ref()?.get());
    if ratio.is_some_and(|(width, height)| width != height) {
        return Fit::No("pixels that are not square");
    }
    if sps.frame_mbs_flags == FrameMbsFlags::Frames { Fit::Cut } else { Fit::Whole("it may be interlaced") }
}

/// What the times and key frames say.
fn timing(shown: &Shown) -> Fit {
    let begin = shown.samples.first().map_or(0, |s| shown.decoded(s));
    let (mut last, mut key, mut longest, mut is_shifted) = (begin - 1, begin, 0, false);
    for sample in &shown.samples {
        let decoded = shown.decoded(sample);
        if decoded <= last {
            return Fit::No("two pictures at one time");
        }
        let is_far = Span::of_ticks((decoded - last).max(shown.shift(sample).abs()), 90_000) > WHOLE_GROUP;
        if sample.size == 0 || is_far {
            return Fit::No("a picture without bytes, or too far from the next");
        }
        if sample.key {
            longest = longest.max(decoded - key);
            key = decoded;
        }
        is_shifted |= shown.shift(sample) != 0;
        last = decoded;
    }
    let longest = Span::of_ticks(longest.max(shown.end() - key), 90_000);
    match longest {
        _ if !shown.samples.first().is_some_and(|s| s.key) => Fit::No("it does not begin with a key frame"),
        _ if longest > WHOLE_GROUP => Fit::No("key frames too far apart"),
        _ if longest > CUT_GROUP => Fit::Whole("key frames too far apart to cut"),
        _ if is_shifted => Fit::Whole("B-frames"),
        _ => Fit::Cut,
    }
}

/// What the key frames are: IDR pictures, of the parameter sets that the description has.
fn keys(sps: &[u8], pps: &[u8], shown: &Shown, file: &File) -> Result<Fit> {
    if shown.samples.iter().filter(|s| s.key).count() > MOST_KEYS {
        return Ok(Fit::No("more key frames than are looked at"));
    }
    let mut fit = Fit::Cut;
    for sample in shown.samples.iter().filter(|s| s.key) {
        match key_frame(sps, pps, sample, file)? {
            Fit::Cut => {}
            Fit::Whole(reason) => fit = Fit::Whole(reason),
            no @ Fit::No(_) => return Ok(no),
        }
    }
    Ok(fit)
}

/// Walks the units of a key frame up to its first slice.
fn key_frame(sps: &[u8], pps: &[u8], sample: &Sample, file: &File) -> Result<Fit> {
    const TORN: Fit = Fit::No("a key frame that is no H.264");
    let mut window = Window { file, offset: sample.offset, size: sample.size.into(), at: 0, bytes: Vec::new() };
    let mut at = 0;
    for _ in 0..MOST_UNITS {
        let Some(head) = window.read(at, 5)? else { return Ok(TORN) };
        let size = u64::from(u32::from_be_bytes([head[0], head[1], head[2], head[3]]));
        let known = match head[4] & 31 {
            5 => return Ok(Fit::Cut),
            1..=4 => return Ok(Fit::Whole("key frames that are not IDR")),
            7 => sps,
            8 => pps,
            _ => &[],
        };
        if !known.is_empty() && (known.len() as u64 != size || window.read(at + 4, known.len())? != Some(known)) {
            return Ok(Fit::No("parameter sets that change"));
        }
        at += 4 + size;
    }
    Ok(TORN)
}

/// Bytes of a sample, read as they are asked for.
struct Window<'a> {
    file: &'a File,
    /// Where the sample lies.
    offset: u64,
    size: u64,
    /// What was read last, and from where in the sample.
    at: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    const AT_LEAST: u64 = 64;

    /// None: the sample ends before.
    fn read(&mut self, at: u64, count: usize) -> Result<Option<&[u8]>> {
        if at + count as u64 > self.size {
            return Ok(None);
        }
        if at < self.at || at + count as u64 > self.at + self.bytes.len() as u64 {
            let length = Self::AT_LEAST.max(count as u64).min(self.size - at);
            self.bytes.resize(length as usize, 0);
            self.file.read_exact_at(&mut self.bytes, self.offset + at).internal("read a key frame")?;
            self.at = at;
        }
        let from = (at - self.at) as usize;
        Ok(self.bytes.get(from..from + count))
    }
}
