//! What a track is coded in, and what of it the containers need to know.
//! Codec configuration is learnt from an announcement or from the stream itself, and kept as one text line in front of each index.

use bytes::Bytes;
use h264_reader::nal::sps::SeqParameterSet;
use h264_reader::nal::{Nal, RefNal};
use vitascope_model::error::Context;
use vitascope_model::{Error, Result, WallTime};

/// Codec configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Codec {
    /// 90 kHz; SPS and PPS without start codes, empty until they are learnt from the stream.
    H264 { sps: Vec<u8>, pps: Vec<u8> },
    /// AudioSpecificConfig in `config`.
    Aac { rate: u32, channels: u8, config: Vec<u8> },
}

/// One coded sample. H.264 as 4-byte length + NAL units, with SPS and PPS in front of each IDR; AAC as a raw frame.
#[derive(Clone, Debug)]
pub struct Sample {
    /// In the codec's timescale; continuous within one publication, never wrapping.
    pub ticks: i64,
    pub key: bool,
    pub data: Bytes,
    /// The wall time at which it was captured, by the server's clock.
    pub wall: WallTime,
}

/// Samples of one AAC frame.
pub const AAC_FRAME: u32 = 1024;

impl Codec {
    /// Ticks per second of the samples' times.
    pub fn timescale(&self) -> u32 {
        match self {
            Codec::H264 { .. } => 90_000,
            Codec::Aac { rate, .. } => *rate,
        }
    }

    pub fn is_video(&self) -> bool {
        matches!(self, Codec::H264 { .. })
    }

    /// How long a sample is taken to last when no other follows it.
    pub fn usual_delta(&self) -> u32 {
        match self {
            Codec::H264 { .. } => 3000, // 30 frames a second
            Codec::Aac { .. } => AAC_FRAME,
        }
    }

    /// Width and height of the picture as it is shown.
    pub fn picture_size(&self) -> Result<(u32, u32)> {
        let Codec::H264 { sps, .. } = self else { return Err(Error::invalid("sound has no picture size")) };
        if sps.is_empty() {
            // The parser would not survive it.
            return Err(Error::invalid("a picture track without parameter sets has no size"));
        }
        let nal = RefNal::new(sps, &[], true);
        let parsed = SeqParameterSet::from_bits(nal.rbsp_bits())
            .map_err(|e| Error::invalid(format!("unreadable SPS: {e:?}")))?;
        parsed.pixel_dimensions().map_err(|e| Error::invalid(format!("SPS without a size: {e:?}")))
    }

    /// Takes the parameter sets out of a length-prefixed access unit, where it has any; tells whether something is new.
    pub fn learn(&mut self, access_unit: &[u8]) -> bool {
        let Codec::H264 { sps, pps } = self else { return false };
        let mut new = false;
        for nal in nal_units(access_unit) {
            let known = match nal.first().map(|b| b & 31) {
                Some(7) => &mut *sps,
                Some(8) => &mut *pps,
                _ => continue,
            };
            if known != nal {
                nal.clone_into(known);
                new = true;
            }
        }
        new
    }

    /// One line of text, as it stands in front of an index.
    pub fn to_line(&self) -> String {
        match self {
            Codec::H264 { sps, pps } => format!("h264 {} {}\n", hex(sps), hex(pps)),
            Codec::Aac { rate, channels, config } => format!("aac {rate} {channels} {}\n", hex(config)),
        }
    }

    pub fn from_line(line: &str) -> Result<Codec> {
        let wrong = || Error::internal(format!("unreadable codec line {line:?}"));
        let words: Vec<&str> = line.trim_end_matches('\n').split(' ').collect();
        match words[..] {
            ["h264", sps, pps] => {
                Ok(Codec::H264 { sps: unhex(sps).ok_or_else(wrong)?, pps: unhex(pps).ok_or_else(wrong)? })
            }
            ["aac", rate, channels, config] => Ok(Codec::Aac {
                rate: rate.parse().internal("read a codec line")?,
                channels: channels.parse().internal("read a codec line")?,
                config: unhex(config).ok_or_else(wrong)?,
            }),
            _ => Err(wrong()),
        }
    }
}

/// The NAL units of a length-prefixed access unit, as far as it is well formed.
pub fn nal_units(mut access_unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (size, rest) = access_unit.split_first_chunk::<4>()?;
        let (nal, rest) = rest.split_at_checked(u32::from_be_bytes(*size) as usize)?;
        access_unit = rest;
        Some(nal)
    })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        write!(out, "{b:02x}").expect("writing to a string succeeds");
        out
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codec_lines_read_back() {
        for codec in [
            Codec::H264 { sps: vec![0x67, 0x64, 0, 0x1f], pps: vec![0x68] },
            Codec::H264 { sps: vec![], pps: vec![] },
            Codec::Aac { rate: 48_000, channels: 2, config: vec![0x11, 0x90] },
        ] {
            assert_eq!(Codec::from_line(&codec.to_line()).unwrap(), codec);
        }
        assert!(Codec::from_line("h264 zz 00").is_err());
    }

    #[test]
    fn without_parameter_sets_there_is_no_size() {
        for sps in [&[][..], &[0x67], &[0x67, 0x42], &[0, 0, 3], &[0xff; 40]] {
            assert!(Codec::H264 { sps: sps.to_vec(), pps: vec![] }.picture_size().is_err(), "{sps:x?}");
        }
    }

    #[test]
    fn parameter_sets_are_learnt_once() {
        let mut codec = Codec::H264 { sps: vec![], pps: vec![] };
        let unit = [0, 0, 0, 2, 0x67, 1, 0, 0, 0, 2, 0x68, 2, 0, 0, 0, 1, 0x65];
        assert!(codec.learn(&unit));
        assert!(!codec.learn(&unit));
        assert_eq!(codec, Codec::H264 { sps: vec![0x67, 1], pps: vec![0x68, 2] });
        assert_eq!(nal_units(&unit[..15]).count(), 2, "a torn unit ends the walk");
    }
}
