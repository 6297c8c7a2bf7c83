//! Reading an MP4 or QuickTime file without a process: what is in it, whether its samples can be taken as they lie, and if so, where.
//! Nothing is decoded and nothing copied; of the media itself only the first bytes of key frames are looked at. Files come from
//! strangers: every claim is checked against the file before memory or time is spent on it, and what does not hold is an error that
//! says so. What may be unusual but true is not an error: such a track says that it must be encoded.

mod boxes;
mod chunks;
mod entry;
mod fit;
mod fragments;
mod layout;
pub(crate) mod progress;
mod tables;
mod timeline;
mod trak;
pub(crate) mod written;

pub use chunks::PlacedChunk;
pub use fit::Fit;

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use vitascope_model::capture::MediaKind;
use vitascope_model::error::Context;
use vitascope_model::{Result, Span, WallTime};

use crate::codec::Codec;
use boxes::{boxes, broken, find, need};
use layout::Layout;
use tables::{MOST_SAMPLES, Sample};
use timeline::{LONGEST, Shown};
use trak::{Header, Trak};

/// Tracks of a file, of any kind.
const MOST_TRACKS: usize = 100;

/// What an MP4 file holds. Times count from the first moment of which anything is seen or heard.
#[derive(Debug)]
pub struct Movie {
    /// Until the last track ends.
    pub length: Span,
    /// Pictures and sound, in the order of the file.
    pub tracks: Vec<MovieTrack>,
}

#[derive(Debug)]
pub struct MovieTrack {
    /// Its place among all tracks of the file, from 0; other tools count alike.
    pub index: usize,
    pub kind: MediaKind,
    /// None: one that is not ours.
    pub codec: Option<Codec>,
    pub fit: Fit,
    /// When it begins.
    pub start: WallTime,
    /// From the film's first moment (not its own) until it ends. What must be encoded may be a little off.
    pub length: Span,
    /// Degrees by which its pictures are to be turned clockwise: 0, 90, 180 or 270.
    pub rotation: u16,
    /// Whether it is the one to play of its kind; there is one where there is any.
    pub is_default: bool,
    /// Empty unless it fits as it lies.
    shown: Shown,
}

/// Reads a file. None: it is no MP4; an error of the caller's: it is a broken one. Blocks while it reads.
pub fn read(path: &Path) -> Result<Option<Movie>> {
    let file = File::open(path).internal("open a file that may be MP4")?;
    let Some(layout) = layout::layout(&file)? else { return Ok(None) };
    movie(&file, &layout).map(Some)
}

fn movie(file: &File, layout: &Layout) -> Result<Movie> {
    if find(&layout.moov, b"cmov")?.is_some() {
        return Err(broken("its description is compressed, which nobody does any more"));
    }
    let header = Header::parse(need(&layout.moov, b"mvhd")?)?;
    let mut room = MOST_SAMPLES;
    let is_fragmented = find(&layout.moov, b"mvex")?.is_some();
    let mut fragmented = if is_fragmented { fragments::read(file, layout, &mut room)? } else { HashMap::new() };
    let mut traks = Vec::new();
    for (index, found) in boxes(&layout.moov).filter(|b| !b.as_ref().is_ok_and(|b| b.kind != *b"trak")).enumerate() {
        if index == MOST_TRACKS {
            return Err(broken(format!("more than {MOST_TRACKS} tracks")));
        }
        if let Some(mut trak) = Trak::parse(found?.body, header)? {
            if let Some(found) = fragmented.remove(&trak.id) {
                trak.add(found)?;
            }
            traks.push((index, trak));
        }
    }
    let zero = traks.iter().map(|(_, trak)| trak.times.start()).min().unwrap_or(0);
    let mut tracks = Vec::with_capacity(traks.len());
    for (index, trak) in traks {
        let track = MovieTrack::of(index, trak, zero, file, layout.size, &mut room)?;
        tracks.push(track);
    }
    for kind in [MediaKind::Video, MediaKind::Audio] {
        // Marked are those that are enabled; of them the first is the one, and where none is, the first of all.
        let of_kind = |t: &&mut MovieTrack| t.kind == kind;
        let chosen = tracks.iter().filter(|t| t.kind == kind).find(|t| t.is_default).map(|t| t.index);
        let chosen = chosen.or_else(|| tracks.iter().find(|t| t.kind == kind).map(|t| t.index));
        tracks.iter_mut().filter(of_kind).for_each(|t| t.is_default = Some(t.index) == chosen);
    }
    let length = tracks.iter().map(|t| t.length).max().unwrap_or_default();
    if length == Span::ZERO {
        return Err(broken("it has no picture and no sound that lasts"));
    }
    Ok(Movie { length, tracks })
}

impl MovieTrack {
    /// `room` is how many samples may still be unrolled.
    fn of(index: usize, mut trak: Trak<'_>, zero: i64, file: &File, size: u64, room: &mut usize) -> Result<MovieTrack> {
        let (shown, fit) = take(&mut trak, zero, file, size, room)?;
        let codec = trak.entry.codec;
        let (start, end) = match (&codec, shown.samples.first()) {
            (Some(codec), Some(first)) => (chunks::wall(shown.decoded(first), codec), chunks::wall(shown.end(), codec)),
            _ => (WallTime((trak.times.start() - zero).max(0)), WallTime((trak.times.end() - zero).max(0))),
        };
        if end.0 > Span::seconds(LONGEST as i64).0 {
            return Err(broken("it claims to last longer than a week"));
        }
        let (kind, rotation, is_default, length) = (trak.kind, trak.rotation, trak.is_enabled, end - WallTime(0));
        Ok(MovieTrack { index, kind, codec, fit, start, length, rotation, is_default, shown })
    }
}

/// The samples of a track, if it fits as it lies.
fn take(trak: &mut Trak<'_>, zero: i64, file: &File, size: u64, room: &mut usize) -> Result<(Shown, Fit)> {
    let no = |reason| Ok((Shown::default(), Fit::No(reason)));
    let (Some(codec), Some(tables)) = (&trak.entry.codec, &trak.tables) else { return no("another codec") };
    if let Some(obstacle) = trak.entry.obstacle {
        return no(obstacle);
    }
    if tables.count() > *room {
        return no("more samples than are kept in memory");
    }
    let mut samples: Vec<Sample> = tables.samples(size)?;
    *room -= samples.len();
    samples.append(&mut trak.fragments);
    let shown = match Shown::new(samples, &trak.times, codec, zero) {
        Ok(shown) => shown,
        Err(obstacle) => return no(obstacle),
    };
    if let Some(obstacle) = chunks::obstacle(&shown, codec) {
        return no(obstacle);
    }
    match fit::judge(codec, &shown, file)? {
        Fit::No(obstacle) => no(obstacle),
        fit => Ok((shown, fit)),
    }
}
