//! What an uploaded file will be once it is encoded, before anything is encoded: the times of its frames, which of them are key
//! frames, and where chunks begin. One ffprobe lists the file's packets; `grid.rs` does the arithmetic. Chunks are promised with an
//! index like any other whose sizes are 0. How the bytes are made later stands in each track's recipe.

mod grid;
mod recipe;

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::ChildStdout;
use tokio::time::timeout;
use vitascope_model::error::Context;
use vitascope_model::{Error, ErrorKind, Result, Span, WallTime};

use crate::probe::{Probe, Ratio, asking, unreadable};
use crate::process;
use grid::Timeline;
pub(crate) use grid::{second, sound_codec};
pub(crate) use recipe::{LONGEST_SIDE, MOST_PIXELS};
pub use recipe::{Pace, PictureRecipe, Recipe, SoundRecipe};

/// Ticks a second of a picture's times.
pub(crate) const TICKS: u32 = 90_000;
/// No file is longer.
const LONGEST: Span = Span::seconds(48 * 3600);
/// No picture has more frames: 48 hours at 60 a second.
const MOST_FRAMES: usize = 48 * 3600 * 60;
/// A clock that goes back by more is another recording's.
const LONGEST_STEP_BACK: Span = Span::seconds(5);

/// A chunk whose bytes are still to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromisedChunk {
    pub start: WallTime,
    pub end: WallTime,
    pub samples: i64,
    /// As a row keeps it; every size in it is 0.
    pub index: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromisedTrack {
    pub recipe: Recipe,
    /// Never empty; each begins where the one before it ends.
    pub chunks: Vec<PromisedChunk>,
}

/// The tracks that a file becomes; at least one is there. Both count from the file's first moment and have the same boundaries, as
/// far as whole frames of sound allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promised {
    pub picture: Option<PromisedTrack>,
    pub sound: Option<PromisedTrack>,
    /// When the last picture's own time is over; its chunks may say later, since it stays as long as there is sound.
    pub picture_end: WallTime,
}

/// Reads the times of the picture and of the first sound.
pub async fn promise(file: &Path, probe: &Probe) -> Result<Promised> {
    let bytes = tokio::fs::metadata(file).await.internal("look at an uploaded file")?.len();
    // A slow disk gives 20 MB a second.
    let limit = Duration::from_secs(30 + bytes / 20_000_000);
    let line = asking(file, "-show_entries packet=stream_index,pts,dts,duration,flags -of csv=p=0");
    let (running, stdin, stdout) = process::start(&line)?;
    drop(stdin);
    let read = async {
        let times = read_times(stdout, probe).await?;
        running.finish().await.map_err(unreadable)?;
        Ok(times)
    };
    let late = || unreadable(Error::new(ErrorKind::ResourceExhausted, "ffprobe took longer than it may"));
    let times = timeout(limit, read).await.map_err(|_| late())??;
    let timeline = Timeline::of(times.pictures, times.sound_end);
    timeline
        .promised(probe, times.longest_group)
        .ok_or_else(|| Error::invalid("the file has nothing in it that can be shown or heard"))
}

/// What the packets say. Ticks from the file's first moment.
#[derive(Debug, Default)]
struct Times {
    /// When each picture is shown, and how long if the file says so (else 0); in the file's order.
    pictures: Vec<(i64, i64)>,
    /// From a key frame to the next, at most.
    longest_group: Span,
    /// When the last sound ends, in samples of 48 kHz.
    sound_end: i64,
}

async fn read_times(stdout: ChildStdout, probe: &Probe) -> Result<Times> {
    let mut lines = BufReader::new(stdout).lines();
    let mut times = Times::default();
    let (mut latest, mut last_key, picture) = (i64::MIN, 0, probe.picture.as_ref());
    let sound = probe.sounds.first();
    while let Some(line) = lines.next_line().await.internal("read the times of a file")? {
        let Some(packet) = Packet::parse(&line) else { continue };
        if let Some(picture) = picture.filter(|p| p.index == packet.stream) {
            let at = ticks(packet.at, picture.time_base, probe.start, TICKS)?;
            if let Some(decoded) = packet.decoded {
                check_step(&mut latest, ticks(decoded, picture.time_base, probe.start, TICKS)?)?;
            }
            let since = Span::of_ticks(at - last_key, TICKS);
            times.longest_group = times.longest_group.max(since);
            if packet.key {
                last_key = at;
            }
            // Before the first moment nothing is shown, but for what the clock's own grain puts there.
            if at >= -1 {
                times.pictures.push((at.max(0), ticks(packet.duration, picture.time_base, Span::ZERO, TICKS)?));
            }
            if times.pictures.len() > MOST_FRAMES {
                return Err(Error::invalid(format!("the file has more than {MOST_FRAMES} pictures")));
            }
        } else if let Some(sound) = sound.filter(|s| s.index == packet.stream) {
            let end = ticks(packet.at.saturating_add(packet.duration), sound.time_base, probe.start, grid::RATE)?;
            times.sound_end = times.sound_end.max(end);
        }
    }
    Ok(times)
}

fn check_step(latest: &mut i64, decoded: i64) -> Result<()> {
    if decoded < latest.saturating_sub(LONGEST_STEP_BACK.to_ticks(TICKS)) {
        let seconds = *latest / i64::from(TICKS);
        return Err(Error::invalid(format!(
            "the file's clock jumps back after {seconds} s, as where recordings were put together byte by byte: join them with a tool \
             that writes new times, and send that"
        )));
    }
    *latest = decoded.max(*latest);
    Ok(())
}

/// A line of ffprobe's: stream, shown, decoded, duration, flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packet {
    stream: u32,
    at: i64,
    decoded: Option<i64>,
    duration: i64,
    key: bool,
}

impl Packet {
    /// None for what is never shown, has no time, or is no packet.
    fn parse(line: &str) -> Option<Packet> {
        let mut words = line.split(',');
        let stream = words.next()?.parse().ok()?;
        let (shown, decoded) = (words.next()?.parse().ok(), words.next()?.parse().ok());
        let duration = words.next()?.parse().unwrap_or(0);
        let flags = words.next().unwrap_or_default();
        let at = shown.or(decoded)?;
        (!flags.contains('D')).then_some(Packet { stream, at, decoded, duration, key: flags.contains('K') })
    }
}

/// A time of the file's in ticks of ours after `start`, to the nearest, as ffmpeg rounds. What lies beyond the longest file is an error.
fn ticks(time: i64, base: Ratio, start: Span, rate: u32) -> Result<i64> {
    let (num, den, rate) = (i128::from(base.num), i128::from(base.den), i128::from(rate));
    // The start is brought to the file's own clock first, as ffmpeg does.
    let start = nearest(i128::from(start.0) * den, num * 1_000_000);
    let ticks = nearest((i128::from(time) - start) * num * rate, den);
    if ticks.abs() > i128::from(LONGEST.0) * rate / 1_000_000 {
        return Err(Error::invalid("the file is longer than 48 hours, or its clock jumps"));
    }
    Ok(ticks as i64)
}

/// The first tick that counts to the second of `ticks`.
pub(crate) fn second_start(ticks: i64) -> i64 {
    second(ticks) * i64::from(TICKS) - 1
}

/// The quotient, halves away from zero.
fn nearest(value: i128, by: i128) -> i128 {
    let half = by / 2;
    if value >= 0 { (value + half) / by } else { (value - half) / by }
}

#[cfg(test)]
mod tests;
