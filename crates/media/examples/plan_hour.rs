//! What an hour costs: the bytes of its indexes, and the time to read and plan it, print its playlist and lay out a segment.
//! 30 pictures a second with a key frame a second, and AAC at 48 kHz, in chunks of 8 s; the sizes of samples vary as real ones do.
#![expect(clippy::print_stdout, reason = "a measurement is printed")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use vitascope_media::codec::Codec;
use vitascope_media::compile::{Answers, PlanOptions, plan};
use vitascope_media::index::{Encoder, Entry};
use vitascope_media::track::{Chunk, Place, TrackView};
use vitascope_model::{Result, Span, TimeRange, WallTime};

const START: WallTime = WallTime(1_790_000_000_000_000);
const HOUR: Span = Span::seconds(3600);
const CHUNK: Span = Span::seconds(8);
const RUNS: usize = 51;

/// A chunk as its row keeps it.
struct Row {
    start: WallTime,
    end: WallTime,
    index: Vec<u8>,
}

fn main() -> Result<()> {
    let picture = Codec::H264 { sps: vec![0x67, 0x42, 0xc0, 0x1f], pps: vec![0x68] };
    let sound = Codec::Aac { rate: 48_000, channels: 2, config: vec![0x11, 0x90] };
    let video = rows(&picture, 3000, |n, noise| {
        let key = n.is_multiple_of(30);
        (key, if key { 40_000 + noise % 20_000 } else { 500 + noise % 8000 })
    });
    let audio = rows(&sound, 1024, |_, noise| (true, 300 + noise % 120));
    let [video, audio] = [("pictures", video), ("sound", audio)].map(|(name, (rows, samples))| {
        let bytes: usize = rows.iter().map(|row| row.index.len()).sum();
        println!("{name}: {samples} samples, {:.2} bytes of index each", bytes as f64 / samples as f64);
        rows
    });
    let read = || Ok((view(&video)?, view(&audio)?));
    let (pictures, sounds) = read()?;
    let range = TimeRange::new(START, START + HOUR).expect("an hour is not empty");
    let made = || plan(Some(&pictures), Some(&sounds), range, &PlanOptions::default());
    let hour = made()?;
    println!("plan: {} segments, {} pictures, {:?}", hour.segments(), hour.samples(), hour.duration().to_duration());
    println!("read the indexes: p50 {:?}", median(read)?);
    println!("plan: p50 {:?}", median(made)?);
    println!("playlist: p50 {:?}", median(|| Ok(hour.playlist()))?);
    println!("layout of a segment: p50 {:?}", median(|| hour.segment_layout(900, &Answers::default()))?);
    Ok(())
}

fn rows(codec: &Codec, delta: u32, mut sample: impl FnMut(u32, u32) -> (bool, u32)) -> (Vec<Row>, u32) {
    let (mut rows, mut n, mut noise) = (Vec::new(), 0, 1_u32);
    let wall = |n: u32| START + Span::of_ticks(i64::from(n) * i64::from(delta), codec.timescale());
    while wall(n) < START + HOUR {
        let (first, mut encoder, mut index) = (n, Encoder::default(), codec.to_line().into_bytes());
        while n == first || wall(n) - wall(first) < CHUNK {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (key, size) = sample(n, noise >> 8);
            encoder
                .push(Entry { delta: if n == first { 0 } else { delta }, size, key, ..Entry::default() }, &mut index);
            n += 1;
        }
        rows.push(Row { start: wall(first), end: wall(n), index });
    }
    (rows, n)
}

fn view(rows: &[Row]) -> Result<TrackView> {
    let place = |row: &Row| Place::Object(format!("tracks/{}", row.start.0));
    let chunks: Result<_> =
        rows.iter().map(|row| Chunk::from_index(row.start, row.end, &row.index, place(row))).collect();
    Ok(TrackView::new(chunks?, false))
}

/// Of warm runs.
fn median<T>(run: impl Fn() -> Result<T>) -> Result<Duration> {
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let start = Instant::now();
        black_box(run()?);
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[RUNS / 2])
}
