//! Bytes of segments and pieces, gathered from where their samples lie: objects, and journals that are still open.
//! What lies near each other is read at once: in an uploaded film that is played as it lies, sound stands between the pictures.

use bytes::{Bytes, BytesMut};
use vitascope_media::compile::{SegmentLayout, SegmentPart, Slice};
use vitascope_media::track::Place;
use vitascope_model::error::Context;
use vitascope_model::{Error, Result};

use super::App;

/// Reading so much that nobody wants costs less than another read.
const GAP: u64 = 64 << 10;

/// The bytes of a segment.
pub async fn gather(app: &App, layout: &SegmentLayout) -> Result<Bytes> {
    read_parts(app, layout.parts(), layout.size()).await
}

pub(super) async fn read_parts(app: &App, parts: &[SegmentPart], size: u64) -> Result<Bytes> {
    let blocks = blocks(parts);
    let mut read = Vec::with_capacity(blocks.len());
    for block in &blocks {
        read.push(read_range(app, block.place, block.start, block.end - block.start).await?);
    }
    let mut out = BytesMut::with_capacity(size as usize);
    for part in parts {
        match part {
            SegmentPart::Bytes(bytes) => out.extend_from_slice(bytes),
            SegmentPart::Slice(slice) => {
                let found = blocks.iter().position(|block| block.holds(slice));
                let n = found.ok_or_else(|| Error::internal("a slice was not read"))?;
                let at = (slice.offset - blocks[n].start) as usize;
                let bytes = read[n].get(at..at + slice.length as usize);
                out.extend_from_slice(
                    bytes.ok_or_else(|| Error::internal("an object is shorter than its index says"))?,
                );
            }
        }
    }
    Ok(out.freeze())
}

/// What is read at once.
#[derive(Debug, PartialEq, Eq)]
struct Block<'a> {
    place: &'a Place,
    start: u64,
    end: u64,
}

impl Block<'_> {
    fn holds(&self, slice: &Slice) -> bool {
        self.start <= slice.offset && slice.offset + slice.length <= self.end && *self.place == slice.place
    }
}

fn blocks(parts: &[SegmentPart]) -> Vec<Block<'_>> {
    let mut places: Vec<(&Place, Vec<&Slice>)> = Vec::new();
    for part in parts {
        let SegmentPart::Slice(slice) = part else { continue };
        match places.iter_mut().find(|(place, _)| **place == slice.place) {
            Some((_, slices)) => slices.push(slice),
            None => places.push((&slice.place, vec![slice])),
        }
    }
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for (place, mut slices) in places {
        slices.sort_by_key(|s| s.offset);
        let begun = blocks.len();
        for slice in slices {
            let end = slice.offset + slice.length;
            match blocks[begun..].last_mut() {
                Some(last) if slice.offset <= last.end + GAP => last.end = last.end.max(end),
                _ => blocks.push(Block { place, start: slice.offset, end }),
            }
        }
    }
    blocks
}

async fn read_range(app: &App, place: &Place, offset: u64, length: u64) -> Result<Bytes> {
    let path = match place {
        Place::File(path) => path,
        Place::Object(key) => return app.objects.range(key, offset, length).await,
        Place::Promised(track) => {
            return Err(Error::internal(format!("a chunk of {track} was read before it was encoded")));
        }
    };
    let file = path.clone();
    let read = tokio::task::spawn_blocking(move || {
        use std::os::unix::fs::FileExt;
        let mut out = vec![0; length as usize];
        std::fs::File::open(&file)?.read_exact_at(&mut out, offset).map(|()| out)
    });
    match read.await.internal("read a journal")? {
        Ok(bytes) => Ok(bytes.into()),
        // Sealed since the plan was made: the same bytes are an object now.
        Err(_) => app.objects.range(&object_of(path)?, offset, length).await,
    }
}

/// The key under which a journal file was sealed: `seal_chunk` names objects by track and start.
fn object_of(journal_file: &std::path::Path) -> Result<String> {
    let name = journal_file.file_name().and_then(|n| n.to_str());
    let track = journal_file.parent().and_then(|p| p.file_name()).and_then(|n| n.to_str());
    match (track, name) {
        (Some(track), Some(name)) => Ok(format!("tracks/{track}/{name}")),
        _ => Err(Error::internal("a journal file without a track")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_near_each_other_is_read_at_once() {
        let place = |key: &str| Place::Object(key.to_owned());
        let slice = |key: &str, offset, length| SegmentPart::Slice(Slice { place: place(key), offset, length });
        let ours = SegmentPart::Bytes(Bytes::from_static(b"moof"));
        // Pictures, then the sound between them; something far away; another object.
        let parts = [
            ours,
            slice("a", 1000, 500),
            slice("a", 2000, 500),
            slice("a", 9_000_000, 10),
            slice("b", 0, 7),
            slice("a", 1500, 100),
        ];
        let (a, b) = (place("a"), place("b"));
        let block = |place, start, end| Block { place, start, end };
        let expected = [block(&a, 1000, 2500), block(&a, 9_000_000, 9_000_010), block(&b, 0, 7)];
        assert_eq!(blocks(&parts), expected);
    }
}
