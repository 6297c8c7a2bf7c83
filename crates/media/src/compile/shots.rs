//! A list of spans worked out to segments: shots of several tracks, one behind the other on one timeline, exact to the picture.
//! A shot holds the pictures whose time is in its range, rounded to the nearest picture; where it does not begin with a key frame, the
//! pictures up to the next one are an edge, which is coded anew when it is asked for. Here is arithmetic only: no byte is read.

use vitascope_model::{Error, Result, Span, TimeRange, WallTime};

use super::convert::{common_form, is_alike};
use super::moment::{Reel, Shown};
use super::run::{At, Run, push};
use super::shot_sound::Score;
use super::{Part, Plan, PlanOptions, PlannedTrack, Segment};
use crate::codec::Codec;
use crate::track::{Chunk, TrackView};

/// An edge is coded in pieces of at most this, each a segment: the first picture is there sooner.
const PIECE: Span = Span::seconds(1);

/// A span of a list: what of which tracks it shows. The tracks' clocks agree.
#[derive(Clone, Debug)]
pub struct Shot {
    /// Index of a track of pictures.
    pub picture: Option<usize>,
    /// Index of a track of sound.
    pub sound: Option<usize>,
    pub range: TimeRange,
}

/// Plans a list of spans. Of each track only the chunks need be there that hold something of a shot, and the one before.
pub fn compile(tracks: Vec<TrackView>, shots: &[Shot], options: &PlanOptions) -> Result<Plan> {
    let mut store = Shelf::of(tracks);
    let pictured = shots.iter().any(|s| s.picture.is_some_and(|t| store.holds(t)));
    let sounding = shots.iter().any(|s| s.sound.is_some_and(|t| store.holds(t)));
    let nothing = || Error::not_found("a recording in these spans");
    let form = store.sound_form(shots);
    let mut segments = Vec::new();
    if pictured {
        let codec = shots.iter().find_map(|s| store.first_codec(s.picture)).ok_or_else(nothing)?;
        film(&store, shots, options, &form, sounding, &mut segments);
        let pictures = PlannedTrack { codec, chunks: std::mem::take(&mut store.pictures), delay: 0 };
        let sound = sounding.then(|| PlannedTrack { codec: form, chunks: std::mem::take(&mut store.sounds), delay: 0 });
        return finish(std::iter::once(pictures).chain(sound).collect(), segments);
    }
    if !sounding {
        return Err(nothing());
    }
    let mut score = Score::new(&store.sounds, &form);
    for shot in shots {
        let at = store.range_of(shot.sound);
        score.alone(at, shot.range, options.segment, &mut segments);
    }
    finish(vec![PlannedTrack { codec: form, chunks: std::mem::take(&mut store.sounds), delay: 0 }], segments)
}

fn finish(tracks: Vec<PlannedTrack>, segments: Vec<Segment>) -> Result<Plan> {
    if segments.is_empty() {
        return Err(Error::not_found("a picture in these spans: each of them is shorter than half a picture lasts"));
    }
    Ok(Plan { tracks, segments, complete: true, promise: 2, independent: true, dated: false })
}

/// The segments of all shots, with their sound where there is some.
fn film(
    store: &Shelf,
    shots: &[Shot],
    options: &PlanOptions,
    form: &Codec,
    sounding: bool,
    segments: &mut Vec<Segment>,
) {
    let mut score = Score::new(&store.sounds, form);
    let mut time = 0;
    for shot in shots {
        let begun = segments.len();
        let reel = Reel { chunks: &store.pictures, within: store.range_of(shot.picture) };
        let mut camera = Camera { options, time, from: time, segments };
        let from = match reel.within.is_empty() {
            true => camera.black(shot.range),
            false => camera.take(&reel, shot.range),
        };
        let start = time;
        time = camera.time;
        if let Some(from) = from.filter(|_| sounding) {
            let sound = store.range_of(shot.sound);
            score.beside(sound, from, (start, reel_rate()), &mut segments[begun..]);
        }
    }
}

fn reel_rate() -> u32 {
    90_000
}

/// The tracks of a list, taken apart into pictures and sound.
struct Shelf {
    pictures: Vec<Chunk>,
    sounds: Vec<Chunk>,
    /// Of each track: whether it is pictures, and its chunks in the list above.
    places: Vec<(bool, std::ops::Range<usize>)>,
}

impl Shelf {
    fn of(tracks: Vec<TrackView>) -> Shelf {
        let mut shelf = Shelf { pictures: Vec::new(), sounds: Vec::new(), places: Vec::with_capacity(tracks.len()) };
        for track in tracks {
            let is_video = track.chunks.first().is_some_and(|c| c.codec.is_video());
            let list = if is_video { &mut shelf.pictures } else { &mut shelf.sounds };
            let begin = list.len();
            list.extend(track.chunks.into_iter().filter(|c| !c.entries.is_empty()));
            shelf.places.push((is_video, begin..list.len()));
        }
        shelf
    }

    fn range_of(&self, track: Option<usize>) -> std::ops::Range<usize> {
        track.and_then(|t| self.places.get(t)).map_or(0..0, |(_, range)| range.clone())
    }

    fn holds(&self, track: usize) -> bool {
        !self.range_of(Some(track)).is_empty()
    }

    fn first_codec(&self, picture: Option<usize>) -> Option<Codec> {
        self.pictures[self.range_of(picture)].first().map(|c| c.codec.clone())
    }

    /// As the sources have it, if they agree.
    fn sound_form(&self, shots: &[Shot]) -> Codec {
        let used = || shots.iter().filter_map(|s| self.sounds[self.range_of(s.sound)].first());
        let agreed = used().next().map(|first| &first.codec);
        match agreed.filter(|first| self.sounds.iter().all(|c| is_alike(first, &c.codec))) {
            Some(codec) => codec.clone(),
            None => common_form(),
        }
    }
}

/// What films one shot: pictures come in order, and segments go out.
struct Camera<'a> {
    options: &'a PlanOptions,
    /// Ticks from the beginning of the stream to the next picture, and to the beginning of the shot.
    time: u64,
    from: u64,
    segments: &'a mut Vec<Segment>,
}

impl Camera<'_> {
    /// The pictures of a range; the moment of the track at which the shot begins, or None if it holds no picture.
    fn take(&mut self, reel: &Reel<'_>, range: TimeRange) -> Option<WallTime> {
        let (start, end) = (reel.nearest(range.start()), reel.nearest(range.end()));
        if start >= end {
            return None;
        }
        let mut is_edge = true;
        for Shown { at, late, length } in reel.shown(start, end) {
            // Until the first key frame.
            is_edge &= !at.key;
            self.picture(&at, late, length, is_edge, reel);
        }
        Some(start)
    }

    fn picture(&mut self, at: &At<'_>, late: i32, length: u32, is_edge: bool, reel: &Reel<'_>) {
        let ticks = |span: Span| span.to_ticks(reel_rate()).max(1) as u64;
        let (piece, target) = (ticks(PIECE), ticks(self.options.segment));
        let is_due = |s: &Segment| match is_edge {
            true => s.duration >= piece,
            false => at.key && s.duration >= target,
        };
        if self.time == self.from || self.segments.last().is_none_or(is_due) {
            self.begin(at.wall);
        }
        let Some(segment) = self.segments.last_mut() else { return };
        let runs = &mut segment.parts[0].runs;
        if is_edge {
            reel.push_edge(runs, at, length, late);
        } else {
            push(runs, at, length);
            if let (Some(Run::Samples { late: of_run, .. }), true) = (runs.last_mut(), late != 0) {
                *of_run = late;
            }
        }
        segment.duration += u64::from(length);
        self.time += u64::from(length);
    }

    fn begin(&mut self, wall: WallTime) {
        let part = Part { decode_time: self.time, runs: Vec::new() };
        self.segments.push(Segment { wall, duration: 0, parts: vec![part] });
    }

    /// A black picture while there is only sound.
    fn black(&mut self, range: TimeRange) -> Option<WallTime> {
        let (mut left, target) = (range.length().to_ticks(reel_rate()), self.options.segment.to_ticks(reel_rate()));
        while left > 0 {
            let ticks = left.min(target.max(1));
            self.begin(range.start());
            let segment = self.segments.last_mut()?;
            segment.parts[0].runs.push(Run::Black { ticks: ticks as u32 });
            segment.duration = ticks as u64;
            self.time += ticks as u64;
            left -= ticks;
        }
        Some(range.start())
    }
}
