//! The open end of a track: two append-only files, `<wall µs>.dat` with samples back to back and `<wall µs>.idx` with their index.
//! Data is always written, and synced, before the index that speaks of it; a chunk is named by the wall time of its first sample and
//! holds no other absolute time. Where finished chunks go is the caller's business.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vitascope_model::error::Context;
use vitascope_model::{Error, Result, Span, WallTime};

use crate::codec::{Codec, Sample};
use crate::index::{Encoder, Entry};
use crate::recovery::{close, last_length};

/// A chunk is closed at the next key frame after so long or so much.
const CHUNK_SPAN: Span = Span::seconds(8);
const CHUNK_BYTES: u64 = 8 << 20;
/// A longer pause between two samples begins a new chunk, which has a wall time of its own.
const MAX_PAUSE: Span = Span::seconds(30);
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
    /// A write failed: what is in the files now is all there will be, since writing a piece twice would shift what follows.
    broken: bool,
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
        if let Err(error) = chunk.flush() {
            // A full disk, say: what was written before is whole, and is kept.
            tracing::error!(%error, chunk = %chunk.data_path.display(), "the end of a chunk is lost");
            drop(chunk.index);
            return close(chunk.start, &chunk.data_path, None);
        }
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
        // The index first: a crash in between leaves one that says nothing, which recovery removes.
        let (index, data) = (create(&data_path.with_extension("idx"))?, create(&data_path)?);
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
            broken: false,
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
        self.encoder.push(Entry { delta, size, key: sample.key, ..Entry::default() }, &mut self.index_buffer);
        self.last_ticks = sample.ticks;
        self.last_delta = delta;
        self.bytes += u64::from(size);
        if self.data_buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        if self.broken {
            return Err(Error::internal("a journal that could not be written is written no more"));
        }
        if self.index_buffer.is_empty() {
            return Ok(());
        }
        self.broken = true;
        (&*self.data).write_all(&self.data_buffer).internal("write a journal")?;
        (&*self.index).write_all(&self.index_buffer).internal("write a journal")?;
        self.broken = false;
        self.data_buffer.clear();
        self.index_buffer.clear();
        // A burst must not keep its memory for the rest of the day.
        self.data_buffer.shrink_to(BUFFER);
        self.dirty = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Index;
    use crate::recovery::recover;

    const START: WallTime = WallTime(1_790_000_000_000_000);
    const SPS: &[u8] = &[0, 0, 0, 4, 0x67, 66, 0, 31, 0, 0, 0, 2, 0x68, 1, 0, 0, 0, 2, 0x65, 7];
    const OTHER_SPS: &[u8] = &[0, 0, 0, 4, 0x67, 66, 0, 40, 0, 0, 0, 2, 0x68, 1, 0, 0, 0, 2, 0x65, 7];
    const PICTURE: &[u8] = &[0, 0, 0, 2, 0x41, 9];

    fn journal(dir: &tempfile::TempDir) -> Journal {
        Journal::create(dir.path(), Codec::H264 { sps: vec![], pps: vec![] }).unwrap()
    }

    /// Picture n of 10 a second, each tenth a key frame.
    fn picture(n: i64) -> Sample {
        let key = n % 10 == 0;
        let data = if key { SPS } else { PICTURE };
        Sample { ticks: n * 9000, key, data: data.into(), wall: START + Span::millis(n * 100) }
    }

    fn append(journal: &mut Journal, samples: impl IntoIterator<Item = Sample>) -> Vec<ClosedChunk> {
        samples.into_iter().filter_map(|s| journal.append(&s).unwrap()).collect()
    }

    fn sizes(dir: &tempfile::TempDir) -> Vec<u64> {
        let mut found: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap()).collect();
        found.sort_by_key(|e| e.file_name());
        found.iter().map(|e| e.metadata().unwrap().len()).collect()
    }

    #[test]
    fn chunks_close_at_a_key_frame_once_they_are_long_or_large_enough() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = journal(&dir);
        let closed = append(&mut journal, (0..200).map(picture));
        let seen: Vec<_> = closed.iter().map(|c| (c.start - START, c.end - START, c.samples)).collect();
        let second = Span::seconds;
        assert_eq!(seen, [(second(0), second(8), 80), (second(8), second(16), 80)]);
        let last = journal.finish(None).unwrap().unwrap();
        assert_eq!((last.end - START, last.bytes), (second(20), 4 * SPS.len() as u64 + 36 * PICTURE.len() as u64));

        let large = Sample { data: vec![0; 9 << 20].into(), ..picture(201) };
        let closed = append(&mut journal, [picture(200), large, picture(202), picture(210)]);
        assert_eq!(closed.iter().map(|c| c.samples).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn what_was_flushed_is_in_the_files_and_synced_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = journal(&dir);
        append(&mut journal, [picture(0), picture(1)]);
        assert_eq!(sizes(&dir), [0, 0]);
        assert!(journal.dirty().is_none());
        journal.flush().unwrap();
        assert_eq!(sizes(&dir)[0], (SPS.len() + PICTURE.len()) as u64);
        assert!(sizes(&dir)[1] > 0);
        journal.dirty().unwrap().sync().unwrap();
        assert!(journal.dirty().is_none());
    }

    #[test]
    fn before_the_first_key_frame_there_is_nothing_to_play() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = journal(&dir);
        append(&mut journal, (7..15).map(picture));
        assert_eq!(journal.unplayable, 3);
        let chunk = journal.finish(None).unwrap().unwrap();
        assert_eq!((chunk.start, chunk.samples), (picture(10).wall, 5));
        assert_eq!(journal.codec(), &Codec::H264 { sps: SPS[4..8].into(), pps: SPS[12..14].into() });
    }

    #[test]
    fn a_long_pause_or_a_new_count_begins_a_chunk_with_its_own_wall_time() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = journal(&dir);
        // 29 s later it is still the same chunk, and full; 40 s later it is another publication for all we know.
        let closed = append(&mut journal, [0, 1, 291, 300].map(picture));
        assert_eq!(closed.iter().map(|c| (c.end, c.samples)).collect::<Vec<_>>(), [(picture(300).wall, 3)]);
        let closed = append(&mut journal, [301, 701, 710].map(picture));
        assert_eq!(closed.iter().map(|c| (c.end, c.samples)).collect::<Vec<_>>(), [(picture(302).wall, 2)]);
        assert_eq!(journal.unplayable, 1);

        let again = Sample { ticks: 0, wall: picture(720).wall, ..picture(0) };
        let closed = append(&mut journal, [again]);
        assert_eq!(closed[0].start, picture(710).wall);
        assert_eq!(journal.finish(None).unwrap().unwrap().start, picture(720).wall);
    }

    #[test]
    fn new_parameter_sets_begin_a_chunk() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = journal(&dir);
        let other = Sample { data: OTHER_SPS.into(), ..picture(20) };
        let closed = append(&mut journal, (0..20).map(picture).chain([other]));
        let line = |index: &[u8]| Index::decode(index, u64::MAX).unwrap().codec;
        assert_eq!((closed[0].samples, closed[0].end), (20, picture(20).wall));
        assert_eq!(line(&closed[0].index), Codec::H264 { sps: SPS[4..8].into(), pps: SPS[12..14].into() });
        let second = journal.finish(None).unwrap().unwrap();
        assert_eq!(line(&second.index), Codec::H264 { sps: OTHER_SPS[4..8].into(), pps: SPS[12..14].into() });
    }

    #[test]
    fn recovery_keeps_whole_samples_and_removes_what_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = journal(&dir);
        append(&mut first, (0..3).map(picture));
        first.flush().unwrap();
        let data = first.open.as_ref().unwrap().data_path.clone();
        File::options().append(true).open(&data).unwrap().write_all(b"torn").unwrap();
        // It begins in the same microsecond, and nothing of it was flushed.
        let mut second = journal(&dir);
        append(&mut second, [picture(0)]);
        assert_eq!(sizes(&dir).len(), 4);
        drop((first, second));
        let recovered = recover(dir.path()).unwrap();
        assert_eq!(
            recovered.iter().map(|c| (c.start, c.end, c.samples)).collect::<Vec<_>>(),
            [(START, picture(3).wall, 3)]
        );
        assert_eq!(fs::metadata(&data).unwrap().len(), recovered[0].bytes);
        assert_eq!(sizes(&dir).len(), 2);
    }

    #[test]
    fn after_a_failed_write_nothing_is_written_and_what_was_there_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = journal(&dir);
        append(&mut journal, (0..3).map(picture));
        journal.flush().unwrap();
        // As a full disk does: part of a piece goes in, and then it fails.
        let chunk = journal.open.as_mut().unwrap();
        let data = chunk.data_path.clone();
        File::options().append(true).open(&data).unwrap().write_all(b"part").unwrap();
        chunk.data = Arc::new(File::open(&data).unwrap());
        append(&mut journal, (3..5).map(picture));
        assert!(journal.flush().is_err());
        journal.open.as_mut().unwrap().data = Arc::new(File::options().append(true).open(&data).unwrap());
        assert!(journal.flush().is_err(), "though it could be written again");
        let closed = journal.finish(None).unwrap().unwrap();
        assert_eq!((closed.samples, closed.end), (3, picture(3).wall));
        assert_eq!(fs::metadata(&data).unwrap().len(), closed.bytes);
    }
}
