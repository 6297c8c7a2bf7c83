//! Films recorded into journals, as the server does it: appended, flushed now and then, cut into chunks, read back as tracks.

use std::path::Path;

use tempfile::TempDir;
use vitascope_media::codec::{Codec, Sample};
use vitascope_media::journal::{ClosedChunk, Journal};
use vitascope_media::track::{Chunk, Place, TrackView};
use vitascope_model::{Span, TimeRange};

use crate::film::{Film, START};

/// A finished track, with the folder that its chunks lie in.
pub(crate) struct Recording {
    _dir: TempDir,
    pub(crate) view: TrackView,
}

impl Recording {
    pub(crate) fn of(film: &Film) -> Recording {
        Recording::of_samples(&film.codec, &film.samples)
    }

    pub(crate) fn of_samples(codec: &Codec, samples: &[Sample]) -> Recording {
        let dir = tempfile::tempdir().unwrap();
        let chunks = record(dir.path(), codec, samples);
        Recording { view: TrackView::new(chunks, false), _dir: dir }
    }
}

/// Records samples and closes the last chunk after them.
pub(crate) fn record(dir: &Path, codec: &Codec, samples: &[Sample]) -> Vec<Chunk> {
    let mut journal = Journal::create(dir, codec.clone()).unwrap();
    let mut closed: Vec<ClosedChunk> = append(&mut journal, samples);
    closed.extend(journal.finish(None).unwrap());
    closed.iter().map(sealed).collect()
}

/// Appends samples and flushes; returns the chunks that were closed.
pub(crate) fn append(journal: &mut Journal, samples: &[Sample]) -> Vec<ClosedChunk> {
    let closed = samples.iter().filter_map(|sample| journal.append(sample).unwrap()).collect();
    journal.flush().unwrap();
    closed
}

pub(crate) fn sealed(chunk: &ClosedChunk) -> Chunk {
    Chunk::from_index(chunk.start, chunk.end, &chunk.index, Place::File(chunk.data_path.clone())).unwrap()
}

/// Samples moved in wall time, and in ticks too if it is the same publication that goes on.
pub(crate) fn later(samples: &[Sample], by: Span, rate: u32) -> Vec<Sample> {
    samples.iter().map(|s| Sample { ticks: s.ticks + by.to_ticks(rate), wall: s.wall + by, ..s.clone() }).collect()
}

/// From the film's start, in milliseconds.
pub(crate) fn range(from: i64, to: i64) -> TimeRange {
    TimeRange::new(START + Span::millis(from), START + Span::millis(to)).unwrap()
}
