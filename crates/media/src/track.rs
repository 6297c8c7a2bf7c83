//! A track as its readers see it: chunks in order, each with its index in memory and the place of its bytes.
//! Whether a chunk is sealed or still the open end in a journal file does not matter to anybody above.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vitascope_model::error::Context;
use vitascope_model::id::TrackId;
use vitascope_model::{Result, Span, WallTime};

use crate::codec::Codec;
use crate::index::{Entry, Form, Index};
use crate::recovery::{last_length, starts};

/// Where the samples of a chunk lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Key of a sealed object.
    Object(String),
    /// A journal file that is still open; it becomes the object of the same name when it is sealed.
    File(PathBuf),
    /// Nowhere yet: times and key frames are known, bytes will be when somebody has it encoded (entries have size 0 until then).
    Promised(TrackId),
}

#[derive(Clone, Debug)]
pub struct Chunk {
    pub start: WallTime,
    /// The end of its last sample.
    pub end: WallTime,
    pub codec: Codec,
    pub form: Form,
    pub entries: Arc<[Entry]>,
    pub place: Place,
}

impl Chunk {
    /// From an index as a row keeps it.
    pub fn from_index(start: WallTime, end: WallTime, index: &[u8], place: Place) -> Result<Chunk> {
        let index = Index::decode(index, u64::MAX)?;
        Ok(Chunk { start, end, codec: index.codec, form: index.form, entries: index.entries.into(), place })
    }
}

impl Chunk {
    /// When its last sample ends if nothing is known of what follows: the same for an open chunk and a sealed one.
    pub fn natural_end(&self) -> WallTime {
        let ticks = self.entries.iter().map(|e| i64::from(e.delta)).sum();
        let last = self.entries.last().map_or(0, |e| e.delta);
        self.start + Span::of_ticks(ticks, self.codec.timescale()) + last_length(&self.codec, last)
    }
}

/// The journal files of a folder as chunks, up to the last whole sample of each. The end of the last one is a guess.
pub fn open_chunks(dir: &Path) -> Result<Vec<Chunk>> {
    let mut chunks = Vec::new();
    for start in starts(dir)? {
        let data = dir.join(format!("{}.dat", start.0));
        // A chunk may be sealed between the listing and here: then the rows have it.
        let (Ok(bytes), Ok(metadata)) = (std::fs::read(data.with_extension("idx")), std::fs::metadata(&data)) else {
            continue;
        };
        let Ok(index) = Index::decode(&bytes, metadata.len()) else { continue };
        if index.entries.is_empty() {
            continue;
        }
        let entries = index.entries.into();
        let (codec, form) = (index.codec, index.form);
        let mut chunk = Chunk { start, end: start, codec, form, entries, place: Place::File(data) };
        chunk.end = chunk.natural_end();
        chunks.push(chunk);
    }
    Ok(chunks)
}

/// The chunks of a track in a range.
#[derive(Clone, Debug)]
pub struct TrackView {
    pub chunks: Vec<Chunk>,
    /// Whether more may come in the range that is asked for.
    pub growing: bool,
}

impl TrackView {
    /// In order of time. A chunk that was seen both open and sealed counts once, sealed.
    pub fn new(mut chunks: Vec<Chunk>, growing: bool) -> TrackView {
        chunks.sort_by_key(|c| (c.start, matches!(c.place, Place::File(_))));
        chunks.dedup_by_key(|c| c.start);
        TrackView { chunks, growing }
    }
}

/// Bytes of a range of a local file.
pub fn read_file(path: &Path, offset: u64, length: u64) -> Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let mut out = vec![0; length as usize];
    let doing = || format!("read {}", path.display());
    let file = std::fs::File::open(path).internal(doing())?;
    file.read_exact_at(&mut out, offset).internal(doing())?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_seen_twice_counts_once_and_sealed() {
        let codec = Codec::Aac { rate: 48_000, channels: 2, config: vec![0x11, 0x90] };
        let chunk = |at: i64, place: Place| Chunk {
            start: WallTime(at),
            end: WallTime(at + 10),
            codec: codec.clone(),
            form: Form::Packed,
            entries: Arc::from([]),
            place,
        };
        let (object, file) = (Place::Object("k".into()), Place::File("f".into()));
        let view =
            TrackView::new(vec![chunk(20, file.clone()), chunk(10, file.clone()), chunk(10, object.clone())], true);
        let seen: Vec<_> = view.chunks.iter().map(|c| (c.start.0, c.place.clone())).collect();
        assert_eq!(seen, [(10, object), (20, file)]);
    }
}
