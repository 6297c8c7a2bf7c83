//! What is left of a recording when its process dies: all samples that were flushed whole, and nothing that cannot be played.

use std::fs;

use vitascope_media::codec::Sample;
use vitascope_media::compile::{PlanOptions, plan};
use vitascope_media::journal::Journal;
use vitascope_media::recovery::recover;
use vitascope_media::track::{TrackView, open_chunks};

use crate::film::pictures;
use crate::player::Served;
use crate::recording::{append, range, sealed};

/// Records `samples`, dies, and cuts the last chunk's files by so many bytes.
fn died(samples: &[Sample], torn_data: u64, torn_index: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(dir.path(), pictures().codec.clone()).unwrap();
    append(&mut journal, samples);
    drop(journal);
    let last = open_chunks(dir.path()).unwrap().last().unwrap().start.0;
    for (kind, torn) in [("dat", torn_data), ("idx", torn_index)] {
        let file = fs::File::options().write(true).open(dir.path().join(format!("{last}.{kind}"))).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length - torn).unwrap();
    }
    dir
}

fn numbers_after_recovery(dir: &tempfile::TempDir) -> Vec<usize> {
    let before = open_chunks(dir.path()).unwrap();
    let closed = recover(dir.path()).unwrap();
    let chunks: Vec<_> = closed.iter().map(sealed).collect();
    // A reader of the journal saw the same samples before.
    assert_eq!(
        before.iter().map(|c| &c.entries).collect::<Vec<_>>(),
        chunks.iter().map(|c| &c.entries).collect::<Vec<_>>()
    );
    for chunk in &closed {
        assert_eq!(fs::metadata(&chunk.data_path).unwrap().len(), chunk.bytes);
    }
    let plan = plan(Some(&TrackView::new(chunks, false)), None, range(0, 60_000), &PlanOptions::default()).unwrap();
    Served::new(plan).watch().iter().map(|p| p.number).collect()
}

#[test]
fn what_was_flushed_survives() {
    let dir = died(&pictures().samples[..300], 0, 0);
    assert_eq!(numbers_after_recovery(&dir), (0..300).collect::<Vec<_>>());
}

#[test]
fn torn_data_loses_the_samples_that_it_tore() {
    let samples = &pictures().samples[..300];
    let torn = samples[299].data.len() + samples[298].data.len() + 1;
    assert_eq!(numbers_after_recovery(&died(samples, torn as u64, 0)), (0..297).collect::<Vec<_>>());
}

#[test]
fn a_torn_index_loses_the_samples_that_it_tore() {
    // An entry is two bytes at least: this takes all of the last one and at most part of the one before.
    let numbers = numbers_after_recovery(&died(&pictures().samples[..300], 0, 3));
    assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>());
    assert!([298, 299].contains(&numbers.len()), "{}", numbers.len());
}

#[test]
fn a_chunk_without_a_whole_sample_is_removed() {
    // The ninth second begins a chunk of one picture, of which nothing was written.
    let samples = &pictures().samples[..241];
    let dir = died(samples, samples[240].data.len() as u64, 0);
    assert_eq!(recover(dir.path()).unwrap().len(), 1);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn recording_goes_on_beside_what_was_recovered() {
    let (first, second) = pictures().samples.split_at(300);
    let dir = died(first, 0, 0);
    let mut chunks: Vec<_> = recover(dir.path()).unwrap().iter().map(sealed).collect();
    let mut journal = Journal::create(dir.path(), pictures().codec.clone()).unwrap();
    chunks.extend(append(&mut journal, second).iter().map(sealed));
    chunks.extend(journal.finish(None).unwrap().iter().map(sealed));
    let plan = plan(Some(&TrackView::new(chunks, false)), None, range(0, 60_000), &PlanOptions::default()).unwrap();
    let numbers: Vec<usize> = Served::new(plan).watch().iter().map(|p| p.number).collect();
    assert_eq!(numbers, (0..600).collect::<Vec<_>>());
}
