//! FLV as an encoder writes it to a pipe: bytes in, coded H.264 and AAC out. Chosen because its tags already carry whole access
//! units with 4-byte lengths, which is our sample form, and because nothing in it waits for the next sample.
//! Pure: no I/O here, and times are handed on as the encoder wrote them (milliseconds).

use bytes::{Buf, Bytes, BytesMut};
use vitascope_model::{Error, Result};

use crate::codec::Codec;

/// The largest tag that is believed: FLV's own limit.
const MOST: usize = 1 << 24;

/// What one tag says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tag {
    /// The sequence header: comes before the first sample.
    Codec(Codec),
    /// One access unit: H.264 as 4-byte lengths and NAL units, or a raw AAC frame.
    Unit { millis: u32, key: bool, data: Bytes },
}

/// Cuts a byte stream into tags.
#[derive(Debug, Default)]
pub struct Parser {
    buffer: BytesMut,
    past_header: bool,
}

impl Parser {
    /// The buffer to read into; call `next_tag` until it gives None after each read.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next tag that says something, or None when more bytes are needed.
    pub fn next_tag(&mut self) -> Result<Option<Tag>> {
        loop {
            if !self.past_header {
                if self.buffer.len() < 13 {
                    return Ok(None);
                }
                let header = self.buffer.split_to(13);
                if !header.starts_with(b"FLV\x01") {
                    return Err(Error::internal("the encoder did not write FLV"));
                }
                self.past_header = true;
            }
            let Some(size) = self.buffer.get(1..4).map(be) else { return Ok(None) };
            let whole = 11 + size + 4;
            if self.buffer.len() < whole {
                self.buffer.reserve(whole.min(MOST) - self.buffer.len());
                return Ok(None);
            }
            let mut tag = self.buffer.split_to(whole).freeze();
            tag.truncate(11 + size);
            if let Some(tag) = parse_tag(tag)? {
                return Ok(Some(tag));
            }
        }
    }
}

fn be(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

/// None for tags that carry nothing of ours (script data, end of sequence).
fn parse_tag(mut tag: Bytes) -> Result<Option<Tag>> {
    let kind = tag[0] & 0x1f;
    let millis = u32::from(tag[7]) << 24 | be(&tag[4..7]) as u32;
    tag.advance(11);
    match kind {
        9 => video(tag, millis),
        8 => audio(tag, millis),
        _ => Ok(None),
    }
}

fn video(mut body: Bytes, millis: u32) -> Result<Option<Tag>> {
    if body.len() < 5 || body[0] & 0x0f != 7 {
        return Err(Error::internal("FLV video that is not H.264"));
    }
    let (key, packet) = (body[0] >> 4 == 1, body[1]);
    if be(&body[2..5]) != 0 {
        return Err(Error::internal("the encoder reorders frames"));
    }
    body.advance(5);
    match packet {
        0 => avc_config(&body).map(|codec| Some(Tag::Codec(codec))),
        1 => Ok(Some(Tag::Unit { millis, key, data: body })),
        _ => Ok(None),
    }
}

fn audio(mut body: Bytes, millis: u32) -> Result<Option<Tag>> {
    if body.len() < 2 || body[0] >> 4 != 10 {
        return Err(Error::internal("FLV audio that is not AAC"));
    }
    let packet = body[1];
    body.advance(2);
    match packet {
        0 => aac_config(&body).map(|codec| Some(Tag::Codec(codec))),
        _ => Ok(Some(Tag::Unit { millis, key: true, data: body })),
    }
}

/// AVCDecoderConfigurationRecord: the first SPS and the first PPS.
fn avc_config(record: &[u8]) -> Result<Codec> {
    let broken = || Error::internal("a broken AVC configuration");
    let take = |at: usize| -> Option<(Vec<u8>, usize)> {
        let length = be(record.get(at..at + 2)?);
        Some((record.get(at + 2..at + 2 + length)?.to_vec(), at + 2 + length))
    };
    if record.get(4).is_none_or(|b| b & 3 != 3) || record.get(5).is_none_or(|b| b & 31 != 1) {
        return Err(broken());
    }
    let (sps, next) = take(6).ok_or_else(broken)?;
    let (pps, _) = take(next + 1).ok_or_else(broken)?;
    Ok(Codec::H264 { sps, pps })
}

fn aac_config(config: &[u8]) -> Result<Codec> {
    const RATES: [u32; 13] =
        [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
    let broken = || Error::internal("a broken AAC configuration");
    let bits = config.get(..2).map(be).ok_or_else(broken)?;
    let rate = *RATES.get(bits >> 7 & 15).ok_or_else(broken)?;
    Ok(Codec::Aac { rate, channels: (bits >> 3 & 15) as u8, config: config.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(kind: u8, millis: u32, body: &[u8]) -> Vec<u8> {
        let mut tag = vec![kind, 0, (body.len() >> 8) as u8, body.len() as u8];
        tag.extend([(millis >> 16) as u8, (millis >> 8) as u8, millis as u8, (millis >> 24) as u8, 0, 0, 0]);
        tag.extend(body);
        tag.extend((11 + body.len() as u32).to_be_bytes());
        tag
    }

    fn file() -> Vec<u8> {
        let mut file = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
        file.extend(tag(18, 0, b"onMetaData"));
        file.extend(tag(9, 0, &[0x17, 0, 0, 0, 0, 1, 66, 0, 31, 0xff, 0xe1, 0, 2, 0x67, 1, 1, 0, 1, 0x68]));
        file.extend(tag(9, 0x0102_0304, &[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65]));
        file.extend(tag(9, 66, &[0x27, 2, 0, 0, 0]));
        file.extend(tag(8, 0, &[0xaf, 0, 0x11, 0x90]));
        file.extend(tag(8, 21, &[0xaf, 1, 7, 8, 9]));
        file
    }

    fn expected() -> Vec<Tag> {
        vec![
            Tag::Codec(Codec::H264 { sps: vec![0x67, 1], pps: vec![0x68] }),
            Tag::Unit { millis: 0x0102_0304, key: true, data: Bytes::from_static(&[0, 0, 0, 1, 0x65]) },
            Tag::Codec(Codec::Aac { rate: 48_000, channels: 2, config: vec![0x11, 0x90] }),
            Tag::Unit { millis: 21, key: true, data: Bytes::from_static(&[7, 8, 9]) },
        ]
    }

    #[test]
    fn tags_come_out_however_the_bytes_are_cut() {
        for step in [1, 7, 4096] {
            let mut parser = Parser::default();
            let mut tags = Vec::new();
            for piece in file().chunks(step) {
                parser.buffer().extend_from_slice(piece);
                while let Some(tag) = parser.next_tag().unwrap() {
                    tags.push(tag);
                }
            }
            assert_eq!(tags, expected(), "cut at every {step}");
        }
    }

    #[test]
    fn what_is_not_flv_or_torn_is_an_error_not_a_panic() {
        let mut parser = Parser::default();
        parser.buffer().extend_from_slice(b"not an flv file at all");
        assert!(parser.next_tag().is_err());
        for body in [&[0x17, 0, 0, 0, 0, 1, 66, 0, 31, 0xff, 0xe1, 0, 9][..], &[0x17], &[]] {
            let mut parser = Parser { past_header: true, ..Parser::default() };
            parser.buffer().extend_from_slice(&tag(9, 0, body));
            assert!(parser.next_tag().is_err(), "{body:?}");
        }
    }
}
