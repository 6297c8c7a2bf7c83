//! What it costs to read an MP4 file: its description, and the chunks of its tracks that fit as they lie. Run with the path of a file.
#![expect(clippy::print_stdout, reason = "a measurement is printed")]

use std::path::Path;
use std::time::{Duration, Instant};

use vitascope_media::mp4::read;
use vitascope_model::{Error, Result};

const RUNS: usize = 21;

fn main() -> Result<()> {
    let file = std::env::args().nth(1).ok_or_else(|| Error::invalid("name a file"))?;
    let mut times: Vec<(Duration, Duration)> = Vec::with_capacity(RUNS);
    for run in 0..RUNS {
        let began = Instant::now();
        let movie = read(Path::new(&file))?.ok_or_else(|| Error::invalid("it is no MP4"))?;
        let read = began.elapsed();
        let chunks: Vec<_> = movie.tracks.iter().map(|track| (track, track.chunks())).collect();
        times.push((read, began.elapsed() - read));
        if run == 0 {
            for (track, chunks) in chunks {
                let samples: i64 = chunks.iter().map(|c| c.samples).sum();
                let index: usize = chunks.iter().map(|c| c.index.len()).sum();
                let (kind, chunks) = (track.kind, chunks.len());
                println!("{kind:?}: {:?}, {samples} samples in {chunks} chunks, {index} bytes of index", track.fit);
            }
        }
    }
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[RUNS / 2]
    };
    println!("read: p50 {:?}", median(times.iter().map(|t| t.0).collect()));
    println!("chunks: p50 {:?}", median(times.iter().map(|t| t.1).collect()));
    Ok(())
}
