//! The open end of a track: two append-only files, `<wall µs>.dat` with samples back to back and `<wall µs>.idx` with their index.
//! Data is always written, and synced, before the index that speaks of it; a chunk is named by the wall time of its first sample and
//! holds no other absolute time. Where finished chunks go is the caller's business.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vitascope_model::error::Context;
use vitascope_model::{Result, Span, WallTime};

use crate::codec::{Codec, Sample};
use crate::index::{Encoder, Entry, Index};

/// A chunk is closed at the next key frame after so long or so much.
const CHUNK_SPAN: Span = Span::seconds(8);
const CHUNK_BYTES: u64 = 8 << 20;
/// A longer pause between two samples begins a new chunk, which has a wall time of its own.
const MAX_PAUSE: Span = Span::seconds(30);
/// A sample that no other follows lasts no longer than this.
const LONGEST_LAST: Span = Span::millis(200);
/// What waits in memory at most, whatever the caller's flushing.
const BUFFER: usize = 256 << 10;

pub struct Journal {
    dir: PathBuf,
    codec: Codec,
    open: Option<OpenChunk>,
    /// Samples that came before any key frame: nothing could show them.
    pub unplayable: u64,
}

struct OpenChunk {
    start: WallTime,
    data: Arc<File>,
    index: Arc<File>,
    data_path: PathBuf,
    data_buffer: Vec<u8>,
    index_buffer: Vec<u8>,
    encoder: Encoder,
    first_ticks: i64,
    last_ticks: i64,
    last_delta: u32,
    bytes: u64,
    dirty: bool,
}

/// A finished chunk, still in its journal files.
#[derive(Debug)]
pub struct ClosedChunk {
    pub start: WallTime,
    /// The end of its last sample.
    pub end: WallTime,
    pub bytes: u64,
    pub samples: u64,
    pub index: Vec<u8>,
    pub data_path: PathBuf,
    pub index_path: PathBuf,
}

/// What a sync needs; it may run on another thread while the journal goes on.
pub struct SyncHandles {
    data: Arc<File>,
    index: Arc<File>,
}

impl SyncHandles {
    /// Brings what was flushed to the disk, data first.
    pub fn sync(self) -> Result<()> {
        self.data.sync_data().internal("sync a journal")?;
        self.index.sync_data().internal("sync a journal")
    }
}

impl Journal {
    pub fn create(dir: &Path, codec: Codec) -> Result<Journal> {
        fs::create_dir_all(dir).internal(format_args!("make the journal folder {}", dir.display()))?;
        Ok(Journal { dir: dir.to_owned(), codec, open: None, unplayable: 0 })
    }

    pub fn codec(&self) -> &Codec {
        &self.codec
    }

    /// Takes a sample; returns the chunk that it closed by beginning a new one.
    pub fn append(&mut self, sample: &Sample) -> Result<Option<ClosedChunk>> {
        let fits = self.open.as_ref().is_some_and(|c| c.continues(sample, &self.codec));
        let is_new_config = sample.key && self.codec.learn(&sample.data);
        let mut closed = None;
        if !fits || is_new_config || self.open.as_ref().is_some_and(|c| sample.key && c.is_full(sample, &self.codec)) {
            // A continuous sample ends the one before it; after a pause or a step its usual length has to do.
            let end = fits.then_some(sample.wall);
            closed = self.finish(end)?;
            if !sample.key {
                self.unplayable += 1;
                return Ok(closed);
            }
            self.open = Some(OpenChunk::create(&self.dir, &self.codec, sample)?);
        }
        if let Some(chunk) = &mut self.open {
            chunk.push(sample)?;
        }
        Ok(closed)
    }

    /// Hands what is buffered to the system: from here on it survives the end of this process.
    pub fn flush(&mut self) -> Result<()> {
        self.open.as_mut().map_or(Ok(()), OpenChunk::flush)
    }

    /// What to sync, if anything was flushed since the last call.
    pub fn dirty(&mut self) -> Option<SyncHandles> {
        let chunk = self.open.as_mut().filter(|c| c.dirty)?;
        chunk.dirty = false;
        Some(SyncHandles { data: chunk.data.clone(), index: chunk.index.clone() })
    }

    /// Ends the open chunk. `end` is when its last sample ends, if that is known.
    pub fn finish(&mut self, end: Option<WallTime>) -> Result<Option<ClosedChunk>> {
        let Some(mut chunk) = self.open.take() else { return Ok(None) };
        chunk.flush()?;
        let last = chunk.start + Span::of_ticks(chunk.last_ticks - chunk.first_ticks, self.codec.timescale());
        let end = end.filter(|e| *e > last).unwrap_or(last + last_length(&self.codec, chunk.last_delta));
        drop(chunk.index);
        close(chunk.start, &chunk.data_path, Some(end))
    }
}

impl OpenChunk {
    fn create(dir: &Path, codec: &Codec, first: &Sample) -> Result<OpenChunk> {
        // Two chunks of one track never begin in the same microsecond; a clock that says so is put right by one.
        let start = (0..).map(|i| first.wall + Span(i)).find(|at| !dir.join(format!("{}.dat", at.0)).exists());
        let start = start.expect("some microsecond is free");
        let data_path = dir.join(format!("{}.dat", start.0));
        let create =
            |path: &Path| File::create_new(path).internal(format_args!("make the journal file {}", path.display()));
        let (data, index) = (create(&data_path)?, create(&data_path.with_extension("idx"))?);
        Ok(OpenChunk {
            start,
            data: Arc::new(data),
            index: Arc::new(index),
            data_path,
            data_buffer: Vec::new(),
            index_buffer: codec.to_line().into_bytes(),
            encoder: Encoder::default(),
            first_ticks: first.ticks,
            last_ticks: first.ticks,
            last_delta: 0,
            bytes: 0,
            dirty: false,
        })
    }

    /// Whether a sample follows the last one without a pause or a step back.
    fn continues(&self, sample: &Sample, codec: &Codec) -> bool {
        let step = sample.ticks - self.last_ticks;
        let longest = MAX_PAUSE.to_ticks(codec.timescale());
        step > 0 && step <= longest && sample.wall - self.start > Span::ZERO
    }

    fn is_full(&self, sample: &Sample, codec: &Codec) -> bool {
        sample.ticks - self.first_ticks >= CHUNK_SPAN.to_ticks(codec.timescale()) || self.bytes >= CHUNK_BYTES
    }

    fn push(&mut self, sample: &Sample) -> Result<()> {
        let delta = u32::try_from(sample.ticks - self.last_ticks).internal("index a sample")?;
        let size = u32::try_from(sample.data.len()).internal("index a sample")?;
        self.data_buffer.extend_from_slice(&sample.data);
        self.encoder.push(Entry { delta, size, key: sample.key }, &mut self.index_buffer);
        self.last_ticks = sample.ticks;
        self.last_delta = delta;
        self.bytes += u64::from(size);
        if self.data_buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        if self.index_buffer.is_empty() {
            return Ok(());
        }
        (&*self.data).write_all(&self.data_buffer).internal("write a journal")?;
        (&*self.index).write_all(&self.index_buffer).internal("write a journal")?;
        self.data_buffer.clear();
        self.index_buffer.clear();
        // A burst must not keep its memory for the rest of the day.
        self.data_buffer.shrink_to(BUFFER);
        self.dirty = true;
        Ok(())
    }
}

/// After a crash: the journal files of a folder as closed chunks, each cut to its last whole sample. What holds none is removed.
pub fn recover(dir: &Path) -> Result<Vec<ClosedChunk>> {
    let mut closed = Vec::new();
    for start in starts(dir)? {
        closed.extend(close(start, &dir.join(format!("{}.dat", start.0)), None)?);
    }
    Ok(closed)
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

fn close(start: WallTime, data_path: &Path, end: Option<WallTime>) -> Result<Option<ClosedChunk>> {
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
