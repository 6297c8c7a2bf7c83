//! Lists of spans, counted: each picture of each span is shown, once, in order and at its time, and the sound keeps to them, however
//! many spans there are and whatever they are cut from.

use vitascope_media::compile::{Plan, PlanOptions, Shot, compile};
use vitascope_media::track::TrackView;
use vitascope_model::error::ErrorKind;
use vitascope_model::{Span, TimeRange};

use crate::film::{
    FPS, RATE, SECONDS, SLOW, SLOW_FIRST, START, narrow_sound, pictures, slower_pictures, sound, wider_pictures,
};
use crate::player::Served;
use crate::recording::{Recording, later, range};

/// One AAC frame, in seconds.
const FRAME: f64 = 1024.0 / RATE as f64;

/// Three films of different size, two of them at different rates, and the sound that belongs to all of them.
struct Sources(Vec<Recording>);

impl Sources {
    fn new() -> Sources {
        let films = [pictures(), wider_pictures(), slower_pictures(), sound()];
        Sources(films.into_iter().map(Recording::of).collect())
    }

    fn tracks(&self) -> Vec<TrackView> {
        self.0.iter().map(|r| r.view.clone()).collect()
    }

    fn plan(&self, shots: &[Shot]) -> Plan {
        compile(self.tracks(), shots, &PlanOptions::default()).unwrap()
    }
}

fn shot(film: usize, range: TimeRange) -> Shot {
    Shot { picture: Some(film), sound: Some(3), range }
}

/// Pictures a second, and the number of the first picture.
fn film(n: usize) -> (usize, usize) {
    if n == 2 { (SLOW, SLOW_FIRST) } else { (FPS, 0) }
}

/// A sequence that looks like chance and is the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// Pictures `from..to` of a film as somebody would ask for them: seconds that are up to a third of a picture off.
fn about(dice: &mut Dice, film_index: usize, from: usize, to: usize) -> Shot {
    let fps = film(film_index).0;
    let mut at = |n: usize| {
        let third = 1_000_000 / fps as i64 / 3;
        START + Span::of_ticks(n as i64, fps as u32) + Span(dice.below(2 * third as usize) as i64 - third)
    };
    shot(film_index, TimeRange::new(at(from), at(to)).unwrap())
}

#[test]
fn a_hundred_shots_of_three_films_show_each_picture_once() {
    let (sources, mut dice) = (Sources::new(), Dice(4));
    let (mut shots, mut expected, mut time) = (Vec::new(), Vec::new(), 0.0);
    for _ in 0..100 {
        let which = dice.below(3);
        let (fps, first) = film(which);
        let from = dice.below(SECONDS * fps - 70);
        let to = from + 1 + dice.below(69);
        shots.push(about(&mut dice, which, from, to));
        for n in from..to {
            expected.push((first + n, time));
            time += 1.0 / fps as f64;
        }
    }
    let served = Served::new(sources.plan(&shots));
    let played = served.watch();
    let numbers: Vec<usize> = played.iter().map(|p| p.number).collect();
    assert_eq!(numbers, expected.iter().map(|(n, _)| *n).collect::<Vec<_>>());
    for (played, (number, seconds)) in played.iter().zip(&expected) {
        assert!((played.seconds - seconds).abs() < 0.001, "{number} at {} s, not {seconds}", played.seconds);
    }
    let heard = served.listen().len() as f64 / 2.0 / f64::from(RATE);
    assert!((heard - time).abs() <= FRAME, "{heard} s of sound for {time} s of pictures");
    assert!(!served.plan.playlist().contains("DISCONTINUITY"));
    assert_eq!(served.plan.samples(), expected.len() as u64);
}

#[test]
fn sound_does_not_drift_in_a_thousand_shots() {
    let (sources, mut dice) = (Sources::new(), Dice(5));
    let mut shots = Vec::new();
    for _ in 0..1000 {
        let which = dice.below(3);
        let from = dice.below(SECONDS * film(which).0 - 40);
        let to = from + 1 + dice.below(39);
        shots.push(about(&mut dice, which, from, to));
    }
    let plan = sources.plan(&shots);
    let drift = plan.sound_drift().unwrap();
    assert!(drift.to_seconds().abs() <= FRAME / 2.0, "{drift:?}");
    assert!(plan.duration() > Span::seconds(600));
}

#[test]
fn overlaps_and_repeats_are_played_as_often_as_they_are_asked_for() {
    let sources = Sources::new();
    let played = Served::new(sources.plan(&[
        shot(0, range(1000, 2000)),
        shot(0, range(1500, 2500)),
        shot(0, range(1500, 2500)),
        shot(0, range(0, 10)),
        shot(0, range(500, 600)),
    ]));
    let numbers: Vec<usize> = played.watch().iter().map(|p| p.number).collect();
    // What is shorter than half a picture shows none.
    let expected = (30..60).chain(45..75).chain(45..75).chain(15..18);
    assert_eq!(numbers, expected.collect::<Vec<_>>());
}

#[test]
fn a_list_of_nothing_is_said() {
    let nothing = compile(Sources::new().tracks(), &[shot(0, range(1000, 1010))], &PlanOptions::default());
    assert_eq!(nothing.unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn a_held_picture_is_cut_where_it_is_asked_for() {
    let film = pictures();
    let mut samples = film.samples[..75].to_vec();
    // Nothing changes for 4 s, then the same group of pictures goes on.
    samples.extend(later(&film.samples[75..150], Span::seconds(4), 90_000));
    let recording = Recording::of_samples(&film.codec, &samples);
    let one = |range| Shot { picture: Some(0), sound: None, range };
    let shots = [one(range(4000, 5000)), one(range(3500, 6567)), one(range(5000, 5200))];
    let served = Served::new(compile(vec![recording.view.clone()], &shots, &PlanOptions::default()).unwrap());
    let played = served.watch();
    let times: Vec<(usize, i64)> = played.iter().map(|p| (p.number, (p.seconds * 1000.0).round() as i64)).collect();
    assert_eq!(times, [(74, 0), (74, 1000), (75, 4000), (76, 4033), (74, 4067)]);
    assert!((served.plan.duration() - Span::millis(4267)).0.abs() < 1000, "{:?}", served.plan.duration());
}

#[test]
fn spans_without_pictures_are_black_and_without_sound_silent() {
    let sources = Sources::new();
    let shots = [
        Shot { picture: Some(0), sound: None, range: range(1100, 2000) },
        Shot { picture: None, sound: Some(3), range: range(3000, 6000) },
        Shot { picture: Some(0), sound: Some(3), range: range(1100, 2000) },
    ];
    let served = Served::new(sources.plan(&shots));
    let pcm = served.listen();
    assert!((pcm.len() as f64 / 2.0 / f64::from(RATE) - 4.8).abs() < FRAME);
    for (n, piece) in pcm.chunks_exact(9600).enumerate() {
        let is_loud = piece.iter().any(|s| s.abs() > 0.1);
        assert_eq!(is_loud, n >= 9, "at {} s", n as f64 / 10.0);
    }
    assert_eq!(served.count_pictures(), 27 + 2 + 27);
}

#[test]
fn sound_alone_is_a_list_too() {
    let sources = Sources::new();
    let one = |range| Shot { picture: None, sound: Some(3), range };
    let served = Served::new(sources.plan(&[one(range(1000, 2500)), one(range(500, 1000)), one(range(0, 5000))]));
    let heard = served.listen().len() as f64 / 2.0 / f64::from(RATE);
    assert!((heard - 7.0).abs() <= FRAME, "{heard}");
}

/// The largest step from one sample of a channel to the next.
fn largest_step(pcm: &[f32]) -> f32 {
    pcm.chunks_exact(2).zip(pcm.chunks_exact(2).skip(1)).map(|(a, b)| (a[0] - b[0]).abs()).fold(0.0, f32::max)
}

#[test]
fn splices_do_not_click() {
    let (sources, mut dice) = (Sources::new(), Dice(6));
    let one = |from: i64, to: i64| Shot { picture: None, sound: Some(3), range: range(from, to) };
    let mut moment = || dice.below(18_000) as i64;
    let shots: Vec<Shot> = (0..60).map(|_| moment()).map(|from| one(from, from + 333)).collect();
    let within = largest_step(&Served::new(sources.plan(&[one(1000, 19_000)])).listen());
    let spliced = largest_step(&Served::new(sources.plan(&shots)).listen());
    // Where the tone goes on in another phase, the coder's windows fade the one into the other: at most twice the tone's own steps, and not
    // the full swing of a click, which is thirty times as much.
    assert!(spliced <= 2.0 * within && within < 0.04, "{spliced} at splices, {within} within");
}

#[test]
fn sound_in_another_form_is_converted_and_keeps_its_place() {
    let mut recordings = Sources::new();
    recordings.0.push(Recording::of(narrow_sound()));
    let with = |sound, from, to| Shot { picture: Some(0), sound: Some(sound), range: range(from, to) };
    let shots = [with(3, 1000, 2000), with(4, 2000, 4500), with(3, 4500, 5000), with(4, 0, 1200)];
    let served = Served::new(recordings.plan(&shots));
    let pcm = served.listen();
    assert!((pcm.len() as f64 / 2.0 / f64::from(RATE) - 5.2).abs() <= FRAME, "{}", pcm.len());
    for (n, piece) in pcm.chunks_exact(1920).enumerate().skip(3).take(250) {
        let loudest = piece.iter().fold(0.0, |most: f32, s| most.max(s.abs()));
        assert!((0.3..0.8).contains(&loudest), "{loudest} at {} s", n as f64 / 50.0);
        let is_even = piece.chunks_exact(2).all(|both| (both[0] - both[1]).abs() < 0.05);
        assert!(is_even, "both sides are alike at {} s", n as f64 / 50.0);
    }
    assert_eq!(served.watch().len(), 156);
}

#[test]
fn the_layout_for_apple_has_a_map_for_each_stretch_of_one_source() {
    let plan = Sources::new().plan(&[shot(0, range(0, 3000)), shot(1, range(500, 2000)), shot(0, range(0, 1000))]);
    let list = plan.apple_playlist().unwrap();
    let lines: Vec<&str> = list.lines().filter(|l| !l.starts_with("#EXTINF")).collect();
    let expected = "#EXTM3U|#EXT-X-VERSION:7|#EXT-X-TARGETDURATION:2|#EXT-X-PLAYLIST-TYPE:VOD|#EXT-X-MAP:URI=\"init-0.mp4\"|0.m4s|1.m4s|\
        #EXT-X-DISCONTINUITY|#EXT-X-MAP:URI=\"init-1.mp4\"|2.m4s|#EXT-X-DISCONTINUITY|#EXT-X-MAP:URI=\"init-2.mp4\"|3.m4s|#EXT-X-ENDLIST";
    assert_eq!(lines.join("|"), expected);
    let width = |stretch| {
        let init = plan.apple_init(stretch).unwrap();
        let at = init.windows(4).position(|w| w == b"avc3").unwrap() + 28;
        u16::from_be_bytes([init[at], init[at + 1]])
    };
    assert_eq!([width(0), width(1), width(2)], [432, 640, 432]);
    assert!(plan.apple_init(3).is_err());
}
