//! The arithmetic of a promise: from the times of a file's pictures and the length of its sound to frames, key frames and chunks.
//! A second is the unit: the first frame of each is a key frame, and a chunk begins at the first frame of every fourth, the second
//! chunk already after two, so that the first is ready soon. Pure: no file is read here.

use vitascope_model::{Span, WallTime};

use super::{Pace, PictureRecipe, Promised, PromisedChunk, PromisedTrack, Recipe, SoundRecipe, TICKS};
use crate::codec::{AAC_FRAME, Codec};
use crate::index::{Encoder, Entry, Form};
use crate::probe::{Probe, Ratio};

/// Samples of sound a second.
pub(super) const RATE: u32 = 48_000;
const FRAME: i64 = AAC_FRAME as i64;
const TICK: i64 = TICKS as i64;
/// Seconds of a chunk, and of the first one.
const CHUNK: i64 = 4;
const FIRST_CHUNK: i64 = 2;
/// A picture that stands still for longer is made at a steady pace.
const LONGEST_STILL: i64 = CHUNK * TICK;
/// The paces that are chosen from, in frames a second.
const PACES: [(u32, u32); 11] =
    [(1, 1), (2, 1), (5, 1), (10, 1), (12, 1), (15, 1), (24_000, 1001), (24, 1), (25, 1), (30_000, 1001), (30, 1)];

/// The frames of a file.
pub(super) struct Timeline {
    /// When each picture is shown; the first at 0.
    pictures: Vec<i64>,
    pace: Pace,
    /// When all is over: the last picture stays as long as there is sound.
    end: i64,
    /// When the last picture's own time is over.
    own_end: i64,
    /// Frames of sound.
    frames: i64,
}

/// The second to which a frame counts; a tick before it is near enough.
pub(crate) fn second(ticks: i64) -> i64 {
    (ticks + 1).div_euclid(TICK)
}

impl Timeline {
    /// `pictures` with their times and lengths, `sound_end` in samples.
    pub(super) fn of(mut pictures: Vec<(i64, i64)>, sound_end: i64) -> Timeline {
        pictures.sort_unstable();
        let last_length = pictures.last().map_or(0, |p| p.1);
        let mut times: Vec<i64> = pictures.into_iter().map(|(at, _)| at).collect();
        times.dedup();
        let frames = (sound_end.max(0) + FRAME - 1) / FRAME;
        let sound_end = Span::of_ticks(sound_end.max(0), RATE).to_ticks(TICKS);
        let mut timeline = Timeline { pictures: times, pace: Pace::AsFilmed, end: 0, own_end: 0, frames };
        let Some(last) = timeline.pictures.last().copied() else { return timeline };
        let steps: Vec<i64> = timeline.pictures.windows(2).map(|w| w[1] - w[0]).collect();
        let usual = median(steps.clone()).unwrap_or(TICK);
        let own_end = last + if last_length > 0 { last_length } else { usual };
        let end = own_end.max(sound_end);
        let longest = steps.iter().copied().chain([timeline.pictures[0], end - last]).max().unwrap_or(0);
        (timeline.end, timeline.own_end) = (end, own_end);
        if longest > LONGEST_STILL {
            timeline.keep_pace(pace_of(usual));
        }
        // What comes later than the sound is shown from the beginning.
        timeline.pictures[0] = 0;
        timeline
    }

    fn keep_pace(&mut self, pace: Ratio) {
        let at = |n: i64| steady(n, pace);
        self.pictures = (0..).map(at).take_while(|t| *t < self.end).collect();
        self.pace = Pace::Steady(pace);
    }

    /// None if there is nothing in it.
    pub(super) fn promised(&self, probe: &Probe, group: Span) -> Option<Promised> {
        let picture = probe.picture.as_ref().filter(|_| !self.pictures.is_empty()).map(|picture| PromisedTrack {
            recipe: Recipe::Picture(PictureRecipe::new(picture, probe, self.pace, group)),
            chunks: self.picture_chunks(),
        });
        let sound = probe.sounds.first().filter(|_| self.frames > 0).map(|sound| PromisedTrack {
            recipe: Recipe::Sound(SoundRecipe::new(sound, probe)),
            chunks: self.sound_chunks(),
        });
        let picture_end = WallTime(0) + Span::of_ticks(self.own_end, TICKS);
        (picture.is_some() || sound.is_some()).then_some(Promised { picture, sound, picture_end })
    }

    /// Where chunks begin in `pictures`.
    fn starts(&self) -> Vec<usize> {
        let mut starts = vec![0];
        let mut next = FIRST_CHUNK;
        for (n, at) in self.pictures.iter().enumerate() {
            if second(*at) >= next {
                starts.push(n);
                next = next_boundary(second(*at));
            }
        }
        starts
    }

    fn picture_chunks(&self) -> Vec<PromisedChunk> {
        let codec = Codec::H264 { sps: Vec::new(), pps: Vec::new() };
        let starts = self.starts();
        let ends = starts.iter().skip(1).copied().chain([self.pictures.len()]);
        let mut key_second = -1;
        let chunk = |(first, last): (usize, usize)| {
            let times = &self.pictures[first..last];
            let end = self.pictures.get(last).copied().unwrap_or(self.end);
            let mut is_key = |at: i64| std::mem::replace(&mut key_second, second(at)) != second(at);
            let entries = times.iter().enumerate().map(|(n, at)| Entry {
                delta: if n == 0 { 0 } else { (at - times[n - 1]) as u32 },
                key: is_key(*at),
                ..Entry::default()
            });
            PromisedChunk {
                start: WallTime(0) + Span::of_ticks(times[0], TICKS),
                end: WallTime(0) + Span::of_ticks(end, TICKS),
                samples: times.len() as i64,
                index: index(&codec, entries),
            }
        };
        starts.iter().copied().zip(ends).map(chunk).collect()
    }

    fn sound_chunks(&self) -> Vec<PromisedChunk> {
        let to_frame = |ticks: i64| (ticks * i64::from(RATE) / TICK + FRAME / 2) / FRAME;
        let starts: Vec<i64> = if self.pictures.is_empty() {
            let seconds = std::iter::successors(Some(0), |s| Some(next_boundary(*s)));
            seconds.map(|s| to_frame(s * TICK)).take_while(|f| *f < self.frames).collect()
        } else {
            let starts = self.starts().into_iter().map(|n| to_frame(self.pictures[n]));
            starts.take_while(|f| *f < self.frames).collect()
        };
        let ends = starts.iter().skip(1).copied().chain([self.frames]);
        let wall = |frame: i64| WallTime(0) + Span::of_ticks(frame * FRAME, RATE);
        let chunk = |(first, last): (i64, i64)| {
            let entry = |n: i64| Entry { delta: if n == first { 0 } else { AAC_FRAME }, key: true, ..Entry::default() };
            PromisedChunk {
                start: wall(first),
                end: wall(last),
                samples: last - first,
                index: index(&sound_codec(), (first..last).map(entry)),
            }
        };
        starts.iter().copied().zip(ends).map(chunk).collect()
    }
}

/// What all encoded sound is: AAC-LC, 48 kHz, stereo.
pub(crate) fn sound_codec() -> Codec {
    Codec::Aac { rate: RATE, channels: 2, config: vec![0x11, 0x90] }
}

/// When frame `n` of a steady pace is shown, to the nearest tick.
fn steady(n: i64, pace: Ratio) -> i64 {
    super::nearest(i128::from(n) * i128::from(TICK) * i128::from(pace.den), i128::from(pace.num)) as i64
}

/// The second at which the chunk after one that begins in `second` begins, at the earliest.
fn next_boundary(second: i64) -> i64 {
    if second < FIRST_CHUNK { FIRST_CHUNK } else { (second - FIRST_CHUNK) / CHUNK * CHUNK + FIRST_CHUNK + CHUNK }
}

fn median(mut steps: Vec<i64>) -> Option<i64> {
    let middle = steps.len() / 2;
    (!steps.is_empty()).then(|| *steps.select_nth_unstable(middle).1)
}

/// The pace that is nearest to a frame each `step` ticks.
fn pace_of(step: i64) -> Ratio {
    let wanted = TICK as f64 / step.max(1) as f64;
    let off = |(num, den): &(u32, u32)| (f64::from(*num) / f64::from(*den) / wanted).ln().abs();
    let nearest = PACES.iter().min_by(|a, b| off(a).total_cmp(&off(b))).copied();
    let (num, den) = nearest.unwrap_or((1, 1));
    Ratio { num, den }
}

fn index(codec: &Codec, entries: impl Iterator<Item = Entry>) -> Vec<u8> {
    let mut out = Form::Packed.line(codec).into_bytes();
    let mut encoder = Encoder::default();
    entries.for_each(|entry| encoder.push(entry, &mut out));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Index;

    fn film(count: i64, step: impl Fn(i64) -> i64, sound_seconds: i64) -> Timeline {
        Timeline::of((0..count).map(|n| (step(n), 0)).collect(), sound_seconds * i64::from(RATE))
    }

    /// Of each chunk: start and end in ms, samples, and which of them are key frames.
    fn seen(chunks: &[PromisedChunk]) -> Vec<(i64, i64, i64, Vec<usize>)> {
        let keys = |chunk: &PromisedChunk| {
            let index = Index::decode(&chunk.index, u64::MAX).unwrap();
            assert_eq!(index.entries.len() as i64, chunk.samples);
            assert!(index.entries.iter().all(|e| e.size == 0));
            let keys = index.entries.iter().enumerate().filter(|(_, e)| e.key).map(|(n, _)| n);
            if index.codec.is_video() { keys.collect() } else { Vec::new() }
        };
        chunks.iter().map(|c| (c.start.0 / 1000, c.end.0 / 1000, c.samples, keys(c))).collect()
    }

    #[test]
    fn chunks_begin_at_the_first_frame_of_a_second() {
        let film = film(300, |n| n * 3003, 10);
        assert_eq!(film.pace, Pace::AsFilmed);
        let chunks = seen(&film.picture_chunks());
        assert_eq!(chunks[0], (0, 2002, 60, vec![0, 30]));
        assert_eq!(chunks[1], (2002, 6006, 120, vec![0, 30, 60, 90]));
        assert_eq!(chunks[2], (6006, 10_010, 120, vec![0, 30, 60, 90]));
        let sound = film.sound_chunks();
        assert_eq!(sound.iter().map(|c| c.samples).collect::<Vec<_>>(), [94, 188, 187]);
        for (picture, sound) in film.picture_chunks().iter().zip(&sound) {
            assert!((picture.start - sound.start).0.abs() < 10_700);
        }
        assert!(sound.windows(2).all(|w| w[0].end == w[1].start));
    }

    #[test]
    fn frames_that_come_as_they_like_keep_their_times() {
        let at = [0, 40, 90, 1500, 1501, 3900, 4000, 7990, 8000].map(|ms| ms * 90);
        let film = Timeline::of(at.iter().rev().map(|t| (*t, 900)).collect(), 0);
        assert_eq!(film.pace, Pace::AsFilmed);
        let chunks = seen(&film.picture_chunks());
        assert_eq!(chunks, [(0, 3900, 5, vec![0, 3]), (3900, 7990, 2, vec![0, 1]), (7990, 8010, 2, vec![0, 1])]);
    }

    #[test]
    fn where_a_picture_stands_still_for_long_it_is_given_a_pace() {
        // One picture and 9 seconds of sound.
        let film = film(1, |_| 12_345, 9);
        assert_eq!(film.pace, Pace::Steady(Ratio { num: 1, den: 1 }));
        let chunks = seen(&film.picture_chunks());
        assert_eq!(
            chunks.iter().map(|c| (c.0, c.1, c.2)).collect::<Vec<_>>(),
            [(0, 2000, 2), (2000, 6000, 4), (6000, 9000, 3)]
        );
        // 24 frames a second, and sound for 10 more.
        let film = super::tests::film(48, |n| n * 15_015 / 4, 12);
        assert_eq!(film.pace, Pace::Steady(Ratio { num: 24_000, den: 1001 }));
        assert_eq!(film.pictures.len(), 288);
    }

    #[test]
    fn sound_alone_has_chunks_of_its_own() {
        let film = Timeline::of(Vec::new(), 11 * i64::from(RATE) + 1);
        assert_eq!(
            seen(&film.sound_chunks()).iter().map(|c| (c.0, c.1)).collect::<Vec<_>>(),
            [(0, 2005), (2005, 5994), (5994, 10_005), (10_005, 11_008)]
        );
    }

    #[test]
    fn pictures_that_last_a_little_longer_than_sound_or_shorter() {
        assert_eq!(film(50, |n| n * 3600, 1).end, 180_000);
        let longer = film(50, |n| n * 3600, 4);
        assert_eq!((longer.end, longer.pace), (360_000, Pace::AsFilmed));
    }
}
