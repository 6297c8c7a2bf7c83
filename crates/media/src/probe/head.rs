//! What the first bytes of an uploaded file say, before any process sees it: text is no media, still images are another room's,
//! and a file that is shorter than its own header says was cut off. Nothing here decodes anything.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use vitascope_model::error::Context;
use vitascope_model::image::ImageKind;
use vitascope_model::{Error, Result};

/// As much as is looked at.
const HEAD: usize = 64 << 10;
/// Boxes that are walked at most to find the end of a file.
const MOST_BOXES: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Let a demuxer say what it is.
    Media,
    /// A kind of image; whether it moves is `image`'s to say.
    Image(ImageKind),
}

/// Reads the beginning, and refuses what can be refused by it.
pub(super) fn look(file: &Path) -> Result<Head> {
    let opened = File::open(file).internal("open an uploaded file")?;
    let length = opened.metadata().internal("look at an uploaded file")?.len();
    let mut head = vec![0; HEAD.min(length as usize)];
    opened.read_exact_at(&mut head, 0).internal("read an uploaded file")?;
    if head.is_empty() {
        return Err(Error::invalid("the file is empty"));
    }
    if is_text(&head) {
        return Err(Error::invalid("the file is text (a page, a playlist or a document, perhaps), not media"));
    }
    match ImageKind::sniff(&head) {
        Some(ImageKind::Webp)
            if head.get(12..16) == Some(b"VP8X") && head.get(20).is_some_and(|flags| flags & 2 != 0) =>
        {
            return Err(Error::invalid("animated WebP cannot be decoded here: send GIF, APNG or a video"));
        }
        Some(kind) => return Ok(Head::Image(kind)),
        None => {}
    }
    if let Some(wanted) = declared_length(&opened, &head, length)
        && wanted > length
    {
        return Err(Error::invalid(format!("the file is cut off: it has {length} bytes of {wanted}")));
    }
    Ok(Head::Media)
}

/// Whether it reads as text, in UTF-8 or UTF-16. Binary formats have zeros or other control characters in their first bytes.
fn is_text(head: &[u8]) -> bool {
    let head = &head[..head.len().min(1024)];
    if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
        return !head[2..].starts_with(&[0, 0]) && head[2..].iter().filter(|b| **b == 0).count() * 4 > head.len();
    }
    // A frame of this raw format begins with a line of text, and black pictures go on as control characters only.
    if head.starts_with(b"YUV4MPEG2 ") {
        return false;
    }
    let control = |b: &u8| *b < 32 && !matches!(b, b'\t' | b'\n' | b'\r' | 0x0c);
    // A character may be cut at the end.
    let is_utf8 = std::str::from_utf8(head).map_or_else(|e| e.error_len().is_none(), |_| true);
    is_utf8 && !head.iter().any(control)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

/// How long the file would be if it were whole, where its container says that.
fn declared_length(file: &File, head: &[u8], length: u64) -> Option<u64> {
    match head {
        [_, _, _, _, b'f', b't', b'y', b'p', ..] | [_, _, _, _, b'm', b'o', b'o', b'v', ..] => boxes_end(file, length),
        [b'R', b'I', b'F', b'F', size @ ..] => {
            let size = u32::from_le_bytes(*size.first_chunk()?);
            // What was written to a pipe does not know its size.
            (size > 0 && size < u32::MAX - 1024).then_some(u64::from(size) + 8)
        }
        [0x1a, 0x45, 0xdf, 0xa3, ..] => segment_end(head),
        _ => None,
    }
}

/// The end of the last box of an MP4.
fn boxes_end(file: &File, length: u64) -> Option<u64> {
    let mut at = 0_u64;
    for _ in 0..MOST_BOXES {
        let mut header = [0; 16];
        let there = length.saturating_sub(at).min(16) as usize;
        file.read_exact_at(&mut header[..there], at).ok()?;
        if there < 8 {
            // Some writers leave a few zeros.
            return Some(at);
        }
        let size = match u32_at(&header, 0) {
            0 => return Some(length),
            1 => u64::from(u32_at(&header, 8)) << 32 | u64::from(u32_at(&header, 12)),
            size => u64::from(size),
        };
        if size < 8 || !header[4..8].iter().all(|b| (32..127).contains(b) || *b == 0xa9) {
            return Some(at);
        }
        at = at.checked_add(size)?;
        if at >= length {
            return Some(at);
        }
    }
    None
}

/// The end of the segment of a Matroska file; none if its size was not known to its writer.
fn segment_end(head: &[u8]) -> Option<u64> {
    let (header_size, at) = vint(head, 4)?;
    let at = at + usize::try_from(header_size?).ok()?;
    if head.get(at..at + 4)? != [0x18, 0x53, 0x80, 0x67] {
        return None;
    }
    let (size, at) = vint(head, at + 4)?;
    size?.checked_add(at as u64)
}

/// A number of EBML's and where it ends. None in it: unknown.
fn vint(bytes: &[u8], at: usize) -> Option<(Option<u64>, usize)> {
    let first = *bytes.get(at)?;
    let width = first.leading_zeros() as usize + 1;
    let rest = bytes.get(at + 1..at + width)?;
    let value = rest.iter().fold(u64::from(first) & ((1 << (8 - width.min(8))) - 1), |n, b| n << 8 | u64::from(*b));
    let unknown = (1_u64 << (7 * width)) - 1;
    Some(((value != unknown).then_some(value), at + width))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked(bytes: &[u8]) -> Result<Head> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        look(file.path())
    }

    #[test]
    fn text_is_no_media_whatever_it_says() {
        let utf16: Vec<u8> = "\u{feff}<html>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for text in [
            &b"#EXTM3U\nfile:///etc/passwd\n"[..],
            b"ffconcat version 1.0\nfile '/etc/passwd'\n",
            b"<?xml version='1.0'?><MPD/>",
            b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n",
            "Grüße".as_bytes(),
            &utf16,
        ] {
            assert!(looked(text).unwrap_err().message.contains("is text"), "{text:?}");
        }
        assert!(looked(b"").unwrap_err().message.contains("is empty"));
        assert_eq!(looked(b"ID3\x04\0\0\0\0").unwrap(), Head::Media);
        assert_eq!(looked(&[0xff, 0xfb, 0x90, 0x64, 0, 0]).unwrap(), Head::Media);
    }

    #[test]
    fn images_are_known_and_what_cannot_be_decoded_is_refused() {
        assert_eq!(looked(b"\x89PNG\r\n\x1a\n\0\0\0\0IHDR\0").unwrap(), Head::Image(ImageKind::Png));
        assert_eq!(looked(b"GIF89a\x01\0\x01\0\0").unwrap(), Head::Image(ImageKind::Gif));
        let webp = |flags: u8| [&b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0"[..], &[flags, 0, 0, 0]].concat();
        assert_eq!(looked(&webp(0)).unwrap(), Head::Image(ImageKind::Webp));
        assert!(looked(&webp(2)).is_err());
    }

    #[test]
    fn what_is_shorter_than_it_says_was_cut_off() {
        let mp4 = b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\x20mdat\0\0\0\0";
        assert!(looked(mp4).unwrap_err().message.contains("cut off: it has 28 bytes of 48"));
        assert!(looked(b"RIFF\x40\0\0\0WAVEfmt \0").unwrap_err().message.contains("cut off"));
        assert!(looked(b"RIFF\xff\xff\xff\xffWAVEfmt \0").is_ok());
        let mkv = |size: &[u8]| [&b"\x1a\x45\xdf\xa3\x82\x42\x86\x18\x53\x80\x67"[..], size, &[0, 0, 0]].concat();
        assert!(looked(&mkv(&[0x01, 0, 0, 0, 0, 0, 0, 9])).unwrap_err().message.contains("22 bytes of 28"));
        assert!(looked(&mkv(&[0x01, 255, 255, 255, 255, 255, 255, 255])).is_ok());
        assert!(looked(&mkv(&[0x83])).is_ok());
        // A last box that reaches to the end, whatever that is.
        assert!(looked(b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\0mdat\0\0\0\0").is_ok());
    }
}
