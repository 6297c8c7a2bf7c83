//! The live edge: what a player reads again and again stays true while the window slides, every picture is in it once, and what the
//! playlist promises at its first reading it keeps.

use std::collections::BTreeMap;

use vitascope_media::codec::{Codec, Sample};
use vitascope_media::compile::{LivePlan, SegmentPart, is_gap, live, segments_in};
use vitascope_media::journal::Journal;
use vitascope_media::track::{Chunk, Place, TrackView, open_chunks, read_file};
use vitascope_model::rtstream::LivePlace;
use vitascope_model::{Span, WallTime};

use crate::film::{START, pictures, sound};
use crate::player::play_files;
use crate::recording::{append, later, sealed};

/// The rtstream is older than its first sample.
const ZERO: WallTime = WallTime(START.0 - 700_000);

/// A track whose owner counts segments and gaps as its chunks are sealed.
struct Recorder {
    dir: tempfile::TempDir,
    journal: Journal,
    sealed: Vec<(Chunk, LivePlace)>,
}

impl Recorder {
    fn new(codec: &Codec) -> Recorder {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::create(dir.path(), codec.clone()).unwrap();
        Recorder { dir, journal, sealed: Vec::new() }
    }

    fn record(&mut self, samples: &[Sample]) {
        let closed = append(&mut self.journal, samples);
        self.seal(closed.iter().map(sealed).collect());
    }

    /// The publisher is gone.
    fn pause(&mut self) {
        let closed = self.journal.finish(None).unwrap();
        self.seal(closed.iter().map(sealed).collect());
    }

    fn seal(&mut self, chunks: Vec<Chunk>) {
        for chunk in chunks {
            let place = self.place_of(chunk.start);
            self.sealed.push((chunk, place));
        }
    }

    fn place_of(&self, start: WallTime) -> LivePlace {
        self.sealed.last().map_or(LivePlace::default(), |(last, place)| LivePlace {
            first_segment: place.first_segment + segments_in(last) as i64,
            gaps: place.gaps + i64::from(is_gap(last, start)),
        })
    }

    /// As a reader finds the last `count` chunks, who knows nothing of the writer.
    fn plan(&self, count: usize, ended: bool) -> Option<LivePlan> {
        let open = open_chunks(self.dir.path()).unwrap();
        let known: Vec<Chunk> = self.sealed.iter().map(|(chunk, _)| chunk.clone()).collect();
        let mut chunks = TrackView::new([known, open].concat(), false).chunks;
        let chunks = chunks.split_off(chunks.len().saturating_sub(count));
        let first = chunks.first()?.start;
        let row = self.sealed.iter().find(|(chunk, _)| chunk.start == first);
        live(chunks, row.map_or_else(|| self.place_of(first), |(_, place)| *place), ZERO, ended)
    }
}

/// A playlist as its readers see it.
#[derive(Debug, Default)]
struct Read {
    target: i64,
    sequence: i64,
    gaps: i64,
    ended: bool,
    /// Name, length, and whether time jumps before it.
    segments: Vec<(String, f64, bool)>,
}

fn read(text: &str) -> Read {
    let mut out = Read::default();
    let (mut length, mut jumps, mut dated) = (0.0, false, false);
    for line in text.lines() {
        match line.split_once(':').map_or((line, ""), |(tag, value)| (tag, value)) {
            ("#EXT-X-TARGETDURATION", n) => out.target = n.parse().unwrap(),
            ("#EXT-X-MEDIA-SEQUENCE", n) => out.sequence = n.parse().unwrap(),
            ("#EXT-X-DISCONTINUITY-SEQUENCE", n) => out.gaps = n.parse().unwrap(),
            ("#EXT-X-DISCONTINUITY", _) => jumps = true,
            ("#EXT-X-PROGRAM-DATE-TIME", _) => dated = true,
            ("#EXT-X-ENDLIST", _) => out.ended = true,
            ("#EXTINF", n) => length = n.trim_end_matches(',').parse().unwrap(),
            (name, _) if name.ends_with(".m4s") => {
                assert!(dated, "a segment without its date: {text}");
                out.segments.push((name.to_owned(), length, std::mem::take(&mut jumps)));
                dated = false;
            }
            _ => {}
        }
    }
    out
}

fn bytes_of(plan: &LivePlan, name: &str) -> Vec<u8> {
    let wall = WallTime(name.trim_end_matches(".m4s").parse().unwrap());
    let layout = plan.segment_layout(wall).unwrap_or_else(|| panic!("{name} is listed and not there"));
    let part = |part: &SegmentPart| match part {
        SegmentPart::Bytes(bytes) => bytes.to_vec(),
        SegmentPart::Slice(slice) => {
            let Place::File(path) = &slice.place else { panic!("these tests keep chunks in files") };
            read_file(path, slice.offset, slice.length).unwrap()
        }
    };
    layout.parts().iter().flat_map(part).collect()
}

/// What a player has gathered by number, checked against each new reading.
#[derive(Default)]
struct Player {
    segments: BTreeMap<i64, (String, f64, i64, Vec<u8>)>,
    last: Option<(i64, i64)>,
    target: Option<i64>,
    readings: usize,
}

impl Player {
    fn reads(&mut self, plan: &LivePlan) -> Read {
        let text = plan.playlist();
        let found = read(&text);
        assert_eq!(*self.target.get_or_insert(found.target), found.target, "the target duration is a promise");
        let mut gaps = found.gaps;
        for (n, (name, length, jumps)) in found.segments.iter().enumerate() {
            gaps += i64::from(*jumps);
            assert!(length.round() as i64 <= found.target, "{name} is longer than promised: {text}");
            let bytes = bytes_of(plan, name);
            let number = found.sequence + n as i64;
            let new = (name.clone(), *length, gaps, bytes);
            let known = self.segments.entry(number).or_insert_with(|| new.clone());
            assert_eq!((&known.0, known.1, known.2), (&new.0, new.1, new.2), "segment {number} of {text}");
            assert_eq!(known.3, new.3, "the bytes of {name} changed");
        }
        if let Some((sequence, gaps)) = self.last {
            assert!(found.sequence >= sequence && found.gaps >= gaps, "{text}");
        }
        self.last = Some((found.sequence, found.gaps));
        self.readings += 1;
        found
    }

    /// Segments are numbered without a hole, from 0.
    fn in_order(&self) -> Vec<&(String, f64, i64, Vec<u8>)> {
        assert_eq!(
            self.segments.keys().copied().collect::<Vec<_>>(),
            (0..self.segments.len() as i64).collect::<Vec<_>>()
        );
        self.segments.values().collect()
    }
}

/// Records in steps, and reads after each.
fn record_and_read(recorder: &mut Recorder, player: &mut Player, samples: &[Sample], step: usize, window: usize) {
    for part in samples.chunks(step) {
        recorder.record(part);
        if let Some(plan) = recorder.plan(window, false).filter(|plan| !plan.is_empty()) {
            assert!(!player.reads(&plan).ended);
        }
    }
}

#[test]
fn the_window_slides_over_a_minute_and_what_was_told_stays_true() {
    // Six times the film: two minutes, of which a reader finds the last eight chunks.
    let film = pictures();
    let long: Vec<Sample> = (0..6).flat_map(|n| later(&film.samples, Span::seconds(20 * n), 90_000)).collect();
    let (mut recorder, mut player) = (Recorder::new(&film.codec), Player::default());
    record_and_read(&mut recorder, &mut player, &long, 41, 8);
    assert!(player.readings > 50);
    let last = player.reads(&recorder.plan(8, false).unwrap());
    let listed: f64 = last.segments.iter().map(|(_, length, _)| length).sum();
    assert!((59.0..66.0).contains(&listed), "{listed} s are listed");
    assert!(last.sequence > 20 && last.target == 5 && last.gaps == 0, "{last:?}");
    recorder.pause();
    assert!(player.reads(&recorder.plan(8, true).unwrap()).ended);

    let all = player.in_order();
    let init = recorder.plan(8, true).unwrap().init().unwrap();
    let shown = play_files(&init, &all.iter().map(|s| (s.1, s.3.clone())).collect::<Vec<_>>());
    let numbers: Vec<usize> = shown.iter().map(|p| p.number).collect();
    assert_eq!(numbers, (0..6).flat_map(|_| 0..600).collect::<Vec<usize>>(), "every picture once, in order");
    let length: f64 = all.iter().map(|s| s.1).sum();
    assert!((length - 120.0).abs() < 0.1, "{length}");
}

#[test]
fn a_long_group_of_pictures_is_cut_and_the_promise_kept() {
    // One key frame in ten seconds.
    let film = pictures();
    let rare: Vec<Sample> =
        film.samples.iter().enumerate().map(|(n, s)| Sample { key: n % 300 == 0, ..s.clone() }).collect();
    let (mut recorder, mut player) = (Recorder::new(&film.codec), Player::default());
    record_and_read(&mut recorder, &mut player, &rare, 17, 100);
    recorder.pause();
    let last = player.reads(&recorder.plan(100, true).unwrap());
    assert_eq!(last.target, 5);
    let lengths: Vec<f64> = last.segments.iter().map(|s| (s.1 * 10.0).round() / 10.0).collect();
    assert_eq!(lengths, [4.4, 4.4, 1.2, 4.4, 4.4, 1.2]);
}

#[test]
fn a_publisher_that_was_away_leaves_a_gap_and_a_picture_is_not_held_for_it() {
    let film = pictures();
    let (mut recorder, mut player) = (Recorder::new(&film.codec), Player::default());
    record_and_read(&mut recorder, &mut player, &film.samples, 30, 4);
    recorder.pause();
    // Away for a quarter of an hour, back with a clock of its own; then for half a second, which nobody notices.
    let back = later(&film.samples, Span::seconds(20 + 900), 0);
    record_and_read(&mut recorder, &mut player, &back, 30, 4);
    recorder.pause();
    let again = later(&back, Span::millis(20_500), 0);
    record_and_read(&mut recorder, &mut player, &again, 30, 4);
    recorder.pause();
    player.reads(&recorder.plan(4, true).unwrap());
    let all = player.in_order();
    let gaps: Vec<i64> = all.iter().map(|s| s.2).collect();
    assert_eq!((gaps[0], gaps[gaps.len() - 1]), (0, 1), "{gaps:?}");
    let length: f64 = all.iter().map(|s| s.1).sum();
    assert!((length - 60.5).abs() < 0.3, "{length}: what was not recorded takes no time");
}

#[test]
fn sound_slides_as_well() {
    let film = sound();
    let (mut recorder, mut player) = (Recorder::new(&film.codec), Player::default());
    let long: Vec<Sample> =
        (0..5).flat_map(|n| later(&film.samples, Span::seconds(20 * n) + Span::millis(3 * n), 48_000)).collect();
    record_and_read(&mut recorder, &mut player, &long, 37, 8);
    recorder.pause();
    let last = player.reads(&recorder.plan(8, true).unwrap());
    assert!(last.sequence > 10 && last.gaps == 0, "{last:?}");
    let length: f64 = player.in_order().iter().map(|s| s.1).sum();
    assert!((length - 100.0).abs() < 0.2, "{length}");
}
