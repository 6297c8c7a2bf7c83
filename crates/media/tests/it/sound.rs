//! Sound, measured: as long as the range, heard where the wall clock says, and silent where the publisher sent none.

use vitascope_media::codec::Sample;
use vitascope_media::compile::{PlanOptions, plan};
use vitascope_model::{Span, TimeRange};

use crate::film::{RATE, START, pictures, sound};
use crate::player::Served;
use crate::recording::{Recording, later, range};

/// One AAC frame, in seconds.
const FRAME: f64 = 1024.0 / RATE as f64;

fn with_pictures(sound: &Recording, range: TimeRange) -> Served {
    let pictures = Recording::of(pictures());
    let served = Served::new(plan(Some(&pictures.view), Some(&sound.view), range, &PlanOptions::default()).unwrap());
    // The pictures do not care for the sound.
    assert_eq!(served.watch().len() as u64, served.plan.samples());
    served
}

fn alone(sound: &Recording, range: TimeRange) -> Served {
    Served::new(plan(None, Some(&sound.view), range, &PlanOptions::default()).unwrap())
}

fn record(samples: &[Sample]) -> Recording {
    Recording::of_samples(&sound().codec, samples)
}

/// The film's sound without what lies between two seconds.
fn without(from: usize, to: usize) -> Vec<Sample> {
    let gone = from as i64 * i64::from(RATE)..to as i64 * i64::from(RATE);
    sound().samples.iter().filter(|s| !gone.contains(&s.ticks)).cloned().collect()
}

/// Plays the sound and checks how long it is, and that a tone is heard at these times (seconds) only, to within two frames.
fn assert_sounds(served: &Served, seconds: f64, heard: &[std::ops::Range<f64>]) {
    let pcm = served.listen();
    let length = pcm.len() as f64 / 2.0 / f64::from(RATE);
    assert!((length - seconds).abs() <= FRAME, "{length} s instead of {seconds}");
    for (n, piece) in pcm.chunks_exact(960).enumerate() {
        let (from, to) = (n as f64 * 0.01, (n + 1) as f64 * 0.01);
        let loud = piece.iter().any(|s| s.abs() > 0.1);
        let tolerance = 2.0 * FRAME;
        let near = |t: f64| (from - tolerance..to + tolerance).contains(&t);
        if !heard.iter().any(|h| near(h.start) || near(h.end)) {
            assert_eq!(loud, heard.iter().any(|h| h.contains(&from)), "at {from} s");
        }
    }
}

#[test]
fn sound_lasts_as_long_as_its_pictures() {
    let sound = Recording::of(sound());
    assert_sounds(&with_pictures(&sound, range(0, 20_000)), 20.0, &[0.0..20.0]);
    assert_sounds(&with_pictures(&sound, range(2500, 9920)), 7.92, &[0.0..7.92]);
}

#[test]
fn a_missing_second_is_silent_beside_pictures() {
    let served = with_pictures(&record(&without(5, 6)), range(0, 20_000));
    assert_sounds(&served, 20.0, &[0.0..5.0, 6.0..20.0]);
}

#[test]
fn a_missing_second_is_silent_where_sound_is_alone() {
    let served = alone(&record(&without(5, 6)), range(0, 20_000));
    assert_sounds(&served, 20.0, &[0.0..5.0, 6.0..20.0]);
    assert!((served.plan.duration() - Span::seconds(20)).0.abs() < 22_000);
}

#[test]
fn sound_alone_plays_any_range() {
    let sound = Recording::of(sound());
    assert_eq!(sound.view.chunks.len(), 3);
    assert_sounds(&alone(&sound, range(0, 20_000)), 20.0, &[0.0..20.0]);
    let served = alone(&sound, range(2500, 9920));
    assert_sounds(&served, 7.42, &[0.0..7.42]);
    assert_eq!(served.plan.segments(), 4);
}

#[test]
fn sound_that_comes_late_or_early_keeps_its_wall_time() {
    let shifted = |millis: i64| -> Vec<Sample> {
        let by = Span::millis(millis);
        sound().samples.iter().map(|s| Sample { wall: s.wall + by, ..s.clone() }).collect()
    };
    assert_sounds(&with_pictures(&record(&shifted(1500)), range(0, 20_000)), 20.0, &[1.5..20.0]);
    // What ends before the pictures do leaves the rest to them.
    let rest = sound().samples.len() as f64 * FRAME - 1.5;
    assert_sounds(&with_pictures(&record(&shifted(-1500)), range(0, 20_000)), rest, &[0.0..rest]);
}

#[test]
fn a_publication_that_begins_anew_keeps_its_wall_time() {
    let mut samples = sound().samples[..300].to_vec();
    let back = later(&sound().samples[300..600], Span::seconds(3), RATE);
    samples.extend(back.into_iter().map(|s| Sample { ticks: s.ticks - 400 * 1024, ..s }));
    let (gone, end) = (300.0 * FRAME, 600.0 * FRAME + 3.0);
    let heard = [0.0..gone, gone + 3.0..end];
    assert_sounds(&with_pictures(&record(&samples), range(0, 20_000)), end, &heard);
    assert_sounds(&alone(&record(&samples), range(0, 20_000)), end, &heard);
}

#[test]
fn a_clock_that_runs_wrong_does_not_drift_from_the_pictures() {
    let (third_chunk, end) = (16.0, 18.0);
    // 1 % off: each chunk begins at its wall time and runs by its own count, so that the sound ends 16 s · 1 % off.
    for off in [0.01, -0.01] {
        let drifting = |s: &Sample| Sample { wall: s.wall + scaled(s.wall - START, off), ..s.clone() };
        let samples: Vec<Sample> = sound().samples.iter().take(844).map(drifting).collect();
        let served = with_pictures(&record(&samples), range(0, 20_000));
        // Where chunks meet there is a little silence, or a few frames are left out.
        let heard =
            [0.0..8.0, 8.0 * (1.0 + off)..third_chunk + 8.0 * off, third_chunk * (1.0 + off)..end + third_chunk * off];
        assert_sounds(&served, end + third_chunk * off, &heard);
    }
}

fn scaled(span: Span, by: f64) -> Span {
    Span((span.0 as f64 * by) as i64)
}
