//! Pictures, counted: each one that a range promises is shown, once, in order and at its time, and none besides.

use vitascope_media::codec::Sample;
use vitascope_media::compile::{Plan, PlanOptions, plan};
use vitascope_media::track::{TrackView, open_chunks};
use vitascope_model::error::ErrorKind;
use vitascope_model::{Span, TimeRange};

use crate::film::{FPS, SECONDS, START, pictures, wider_pictures};
use crate::player::{Played, Served};
use crate::recording::{Recording, later, range, record};

fn serve(view: &TrackView, range: TimeRange) -> Served {
    Served::new(plan(Some(view), None, range, &PlanOptions::default()).unwrap())
}

/// Checks the numbers, and that picture n is shown at `(n - first) / 30` s.
fn assert_shows(played: &[Played], numbers: std::ops::Range<usize>) {
    assert_eq!(played.iter().map(|p| p.number).collect::<Vec<_>>(), numbers.clone().collect::<Vec<_>>());
    played.iter().for_each(|p| assert_shows_at(*p, p.number, (p.number - numbers.start) as f64 / FPS as f64));
}

fn assert_shows_at(played: Played, number: usize, seconds: f64) {
    assert_eq!(played.number, number);
    assert!((played.seconds - seconds).abs() < 0.001, "picture {number} at {} s, not {seconds}", played.seconds);
}

/// To within a tick of the pictures' clock, in whole microseconds.
fn assert_lasts(plan: &Plan, length: Span) {
    assert!((plan.duration() - length).0.abs() <= 12, "{:?}", plan.duration());
}

#[test]
fn the_whole_film_is_shown_across_the_seams_of_its_chunks() {
    let recording = Recording::of(pictures());
    assert_eq!(recording.view.chunks.len(), 3);
    let served = serve(&recording.view, range(0, 60_000));
    assert_eq!((served.plan.samples(), served.plan.segments()), ((SECONDS * FPS) as u64, SECONDS / 2));
    assert_shows(&served.watch(), 0..SECONDS * FPS);
}

#[test]
fn a_range_begins_at_the_key_frame_before_it_and_ends_exactly() {
    let recording = Recording::of(pictures());
    // From picture 75, in the middle of the third second, up to the middle of picture 297's time.
    let served = serve(&recording.view, range(2500, 9920));
    assert_eq!(served.plan.start(), Some(START + Span::seconds(2)));
    assert_lasts(&served.plan, Span::millis(7920));
    assert_shows(&served.watch(), 60..298);
    // The last picture of the recording is cut short as any other is.
    assert_lasts(&serve(&recording.view, range(18_000, 19_975)).plan, Span::millis(1975));
    // An end that is a picture's own time leaves that picture out.
    assert_shows(&serve(&recording.view, range(9000, 12_000)).watch(), 270..360);
}

#[test]
fn the_last_picture_of_an_asset_lasts_until_its_end() {
    let recording = Recording::of(pictures());
    // The recording ends after twenty seconds, and what an asset owns three later: that is how long its sound went on.
    let served = Served::new(plan(Some(&recording.view), None, range(18_000, 23_000), &PlanOptions::asset()).unwrap());
    assert_lasts(&served.plan, Span::seconds(5));
    assert_shows(&served.watch(), 540..600);
}

#[test]
fn nothing_to_show_is_said_and_not_played() {
    let recording = Recording::of(pictures());
    let plan = plan(Some(&recording.view), None, range(-5000, 0), &PlanOptions::default());
    assert_eq!(plan.unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn a_still_picture_lasts_as_long_as_nothing_moves() {
    let film = pictures();
    let mut samples = film.samples[..75].to_vec();
    // Nothing changes for 4 s, then the same group of pictures goes on.
    samples.extend(later(&film.samples[75..150], Span::seconds(4), 90_000));
    let recording = Recording::of_samples(&film.codec, &samples);
    let served = serve(&recording.view, range(0, 60_000));
    let played = served.watch();
    assert_shows(&played[..75], 0..75);
    assert_shows_at(played[75], 75, 6.5);
    assert_eq!(played.len(), 150);
    assert_lasts(&served.plan, Span::seconds(9));
}

#[test]
fn after_a_gap_pictures_are_shown_at_their_wall_time() {
    let film = pictures();
    let mut samples = film.samples[..200].to_vec();
    // The publisher comes back 3 s later: a new publication, whose ticks begin anew, and whose first pictures nothing can show.
    let back = film.samples[205..].iter();
    samples.extend(back.map(|s| Sample { ticks: s.ticks - 205 * 3000, wall: s.wall + Span::seconds(3), ..s.clone() }));
    let recording = Recording::of_samples(&film.codec, &samples);
    let served = serve(&recording.view, range(0, 60_000));
    let played = served.watch();
    assert_shows(&played[..200], 0..200);
    assert_shows_at(played[200], 210, 10.0);
    assert_eq!(played.len(), 590);
    assert_lasts(&served.plan, Span::seconds(23));
}

#[test]
fn clocks_that_jitter_lose_no_picture_and_do_not_add_up() {
    let film = pictures();
    // The wall time that each sample is said to have is up to 40 ms off, to either side.
    let off = |n: usize| Span::millis((n as i64 * 7919) % 81 - 40);
    let jittered = |(n, s): (usize, &Sample)| Sample { wall: s.wall + off(n), ..s.clone() };
    let samples: Vec<Sample> = film.samples.iter().enumerate().map(jittered).collect();
    let recording = Recording::of_samples(&film.codec, &samples);
    let played = serve(&recording.view, range(-1000, 60_000)).watch();
    assert_eq!(played.iter().map(|p| p.number).collect::<Vec<_>>(), (0..600).collect::<Vec<_>>());
    let late = played.iter().map(|p| (p.seconds - p.number as f64 / FPS as f64).abs()).fold(0.0, f64::max);
    assert!(late <= 0.080, "{late} s");
}

#[test]
fn a_publisher_that_comes_back_with_another_size_is_shown_in_it() {
    let mut samples = pictures().samples[..90].to_vec();
    samples.extend_from_slice(&wider_pictures().samples[90..180]);
    let recording = Recording::of_samples(&pictures().codec, &samples);
    assert_eq!(recording.view.chunks.len(), 2);
    assert_eq!(recording.view.chunks[1].codec, wider_pictures().codec);
    assert_shows(&serve(&recording.view, range(0, 60_000)).watch(), 0..180);
}

#[test]
fn what_is_read_between_sealing_and_removal_is_shown_once() {
    let dir = tempfile::tempdir().unwrap();
    let film = pictures();
    let chunks = record(dir.path(), &film.codec, &film.samples);
    let open = open_chunks(dir.path()).unwrap();
    assert_eq!(open.len(), chunks.len());
    let view = TrackView::new([open, chunks].concat(), false);
    assert_shows(&serve(&view, range(0, 60_000)).watch(), 0..600);
}
