//! Where the boxes of a file lie, found by hopping from header to header: the one that describes the film is read, the others are
//! not. Tells a file that is no MP4 from one that is broken.

use std::fs::File;
use std::os::unix::fs::FileExt;

use vitascope_model::Result;
use vitascope_model::error::Context;

use super::boxes::{Kind, broken, header, name};

/// The boxes of a file that are read.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) moov: Vec<u8>,
    /// Where the fragments are described: from the beginning of the file, with their headers.
    pub(super) moofs: Vec<(u64, u64)>,
    /// Bytes of the file.
    pub(super) size: u64,
}

/// What describes half a day of 60 frames a second, with sound; more is not read into memory.
const MOST_MOOV: u64 = 128 << 20;
const MOST_BOXES: usize = 1 << 20;
/// What a file may begin with.
const FIRST: [&Kind; 9] = [b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"sidx"];

/// None: no MP4. An error: broken.
pub(super) fn layout(file: &File) -> Result<Option<Layout>> {
    let size = file.metadata().internal("look at a file that may be MP4")?.len();
    let (mut layout, mut at, mut is_picture) = (Layout { size, ..Layout::default() }, 0, false);
    for n in 0.. {
        if n == MOST_BOXES {
            return Err(broken("more boxes than anybody writes"));
        }
        let mut head = [0; 16];
        let head = &mut head[..(size - at).min(16) as usize];
        file.read_exact_at(head, at).internal("read a file that may be MP4")?;
        let found = match header(head) {
            // Behind what was needed there may be anything.
            Err(_) if !layout.moov.is_empty() => None,
            Err(_) if n == 0 => return Ok(None),
            found => found?,
        };
        let Some((kind, head, length)) = found.filter(|(kind, ..)| n > 0 || FIRST.contains(&kind)) else {
            if n == 0 {
                return Ok(None);
            }
            break;
        };
        let length = length.unwrap_or(size - at);
        if length > size - at {
            if !layout.moov.is_empty() && !matches!(&kind, b"mdat" | b"moof") {
                break;
            }
            let missing = length - (size - at);
            return Err(broken(format!("it is cut short: {missing} bytes of its box {} are missing", name(kind))));
        }
        match &kind {
            b"moov" if layout.moov.is_empty() => layout.moov = read(file, at + head, length - head)?,
            b"moof" => layout.moofs.push((at, length)),
            b"meta" => is_picture = true,
            _ => {}
        }
        at += length;
    }
    match layout.moov.is_empty() {
        false => Ok(Some(layout)),
        // As HEIC and AVIF are built.
        true if is_picture => Ok(None),
        true => Err(broken("what describes it (the box moov) is missing: it was cut short, or never finished")),
    }
}

fn read(file: &File, at: u64, length: u64) -> Result<Vec<u8>> {
    if length > MOST_MOOV {
        return Err(broken(format!("its description has {length} bytes; {MOST_MOOV} are read")));
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, at).internal("read what describes an MP4 file")?;
    Ok(bytes)
}
