//! From journal files to closed chunks: at the end of a recording, and after a crash. A chunk is cut to its last whole sample, since
//! data is written before the index that speaks of it; what holds no sample is removed.

use std::fs::{self, File};
use std::path::Path;

use vitascope_model::error::Context;
use vitascope_model::{Result, Span, WallTime};

use crate::codec::Codec;
use crate::index::Index;
use crate::journal::ClosedChunk;

/// A sample that no other follows lasts no longer than this.
const LONGEST_LAST: Span = Span::millis(200);

/// After a crash: the journal files of a folder as closed chunks, each cut to its last whole sample. What holds none is removed.
pub fn recover(dir: &Path) -> Result<Vec<ClosedChunk>> {
    let mut closed = Vec::new();
    remove_unindexed(dir)?;
    for start in starts(dir)? {
        closed.extend(close(start, &dir.join(format!("{}.dat", start.0)), None)?);
    }
    Ok(closed)
}

/// Data that no index ever spoke of: empty files of chunks that were never begun.
fn remove_unindexed(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).internal(format_args!("read the journal folder {}", dir.display()))? {
        let data = entry.internal("read a journal folder")?.path();
        let is_data = data.extension().is_some_and(|e| e == "dat");
        if is_data && !data.with_extension("idx").exists() && fs::metadata(&data).is_ok_and(|m| m.len() == 0) {
            fs::remove_file(&data).or_else(ignore_missing).internal("remove an empty chunk")?;
        }
    }
    Ok(())
}

/// The chunks that have journal files in a folder, in order.
pub(crate) fn starts(dir: &Path) -> Result<Vec<WallTime>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).internal(format_args!("read the journal folder {}", dir.display()))? {
        let name = entry.internal("read a journal folder")?.file_name();
        found.extend(name.to_str().and_then(|n| n.strip_suffix(".idx")?.parse().ok()).map(WallTime));
    }
    found.sort_unstable();
    Ok(found)
}

/// How long a sample lasts that no other follows: as long as the one before it, but a still screen's last picture not for seconds.
pub(crate) fn last_length(codec: &Codec, last_delta: u32) -> Span {
    let ticks = if last_delta == 0 { codec.usual_delta() } else { last_delta };
    Span::of_ticks(i64::from(ticks), codec.timescale()).min(LONGEST_LAST)
}

pub(crate) fn close(start: WallTime, data_path: &Path, end: Option<WallTime>) -> Result<Option<ClosedChunk>> {
    let index_path = data_path.with_extension("idx");
    let bytes = fs::read(&index_path).internal(format_args!("read {}", index_path.display()))?;
    let length = fs::metadata(data_path).map_or(0, |m| m.len());
    let index = Index::decode(&bytes, length).ok().filter(|i| !i.entries.is_empty());
    let Some(index) = index else {
        fs::remove_file(data_path).or_else(ignore_missing).internal("remove an empty chunk")?;
        fs::remove_file(&index_path).internal("remove an empty chunk")?;
        return Ok(None);
    };
    if length > index.data_bytes {
        let file = File::options().write(true).open(data_path).internal("cut a chunk")?;
        file.set_len(index.data_bytes).internal("cut a chunk")?;
    }
    let timescale = index.codec.timescale();
    let last = start + Span::of_ticks(index.ticks(), timescale);
    let last_delta = index.entries.last().map_or(0, |e| e.delta);
    Ok(Some(ClosedChunk {
        start,
        end: end.unwrap_or(last + last_length(&index.codec, last_delta)),
        bytes: index.data_bytes,
        samples: index.entries.len() as u64,
        index: bytes[..index.index_bytes].to_vec(),
        data_path: data_path.to_owned(),
        index_path,
    }))
}

fn ignore_missing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_while_a_chunk_is_made_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("17.dat"), b"").unwrap();
        fs::write(dir.path().join("18.idx"), b"").unwrap();
        assert_eq!(recover(dir.path()).unwrap().len(), 0);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
