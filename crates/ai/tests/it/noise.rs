//! Sound without words has no words: noise, hum, tones, clicks, claps and synthesised music, each loud and faint. A short form of what
//! `bench/speech/accuracy.py noise music` does with longer and with real ones.

use std::f32::consts::TAU;

use vitascope_ai::speech::RATE;

use crate::speech::{text, transcriber};

const SECONDS: usize = 12;

/// Numbers in -1..1, the same each time.
struct Random(u32);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
}

fn sound(mut at: impl FnMut(f32) -> f32) -> Vec<f32> {
    (0..SECONDS * RATE).map(|i| at(i as f32 / RATE as f32)).collect()
}

fn tone(t: f32, hertz: f32) -> f32 {
    (t * hertz * TAU).sin()
}

#[track_caller]
fn assert_wordless(name: &str, pcm: &[f32]) {
    let loudest = pcm.iter().fold(0.0_f32, |m, s| m.max(s.abs())).max(1e-9);
    for (how, peak) in [("loud", 0.8), ("faint", 0.01)] {
        let scaled: Vec<f32> = pcm.iter().map(|s| s * peak / loudest).collect();
        assert_eq!(text(&transcriber().transcribe(&scaled).unwrap()), "", "{name}, {how}");
    }
}

#[test]
fn silence_and_noise_have_no_words() {
    assert_wordless("silence", &sound(|_| 0.0));
    let mut random = Random(1);
    assert_wordless("white noise", &sound(|_| random.next()));
    let (mut rows, mut n) = ([0.0_f32; 8], 0_u32);
    let pink = sound(|_| {
        n = n.wrapping_add(1);
        rows[n.trailing_zeros().min(7) as usize] = random.next();
        rows.iter().sum()
    });
    assert_wordless("pink noise", &pink);
    let mut level = 0.0;
    let brown = sound(|_| {
        level = 0.998 * level + 0.05 * random.next();
        level
    });
    assert_wordless("brown noise", &brown);
}

#[test]
fn hum_and_tones_have_no_words() {
    assert_wordless("hum", &sound(|t| tone(t, 50.0) + 0.5 * tone(t, 100.0) + 0.3 * tone(t, 150.0)));
    assert_wordless("ringing", &sound(|t| if t % 6.0 < 2.0 { tone(t, 440.0) + tone(t, 480.0) } else { 0.0 }));
    assert_wordless("busy", &sound(|t| if t % 1.0 < 0.5 { tone(t, 480.0) + tone(t, 620.0) } else { 0.0 }));
    assert_wordless("beeps", &sound(|t| if t % 1.0 < 0.1 { tone(t, 1000.0) } else { 0.0 }));
    assert_wordless("siren", &sound(|t| (t * 700.0 * TAU + 60.0 * (t * 0.5 * TAU).sin()).sin()));
}

#[test]
fn clicks_and_claps_have_no_words() {
    let mut random = Random(7);
    assert_wordless("clicks", &sound(|t| random.next() * (-900.0 * (t % 0.31)).exp()));
    assert_wordless("claps", &sound(|t| random.next() * (-70.0 * (t % 0.47)).exp()));
}

#[test]
fn synthesised_music_has_no_words() {
    let chord = |t: f32, root: f32| tone(t, root) + tone(t, root * 1.26) + tone(t, root * 1.5);
    let steps = [1.0, 1.26, 1.5, 1.335];
    let chords = sound(|t| chord(t, 220.0 * steps[t as usize % 4]) * (0.3 + 0.7 * (-2.0 * (t % 1.0)).exp()));
    assert_wordless("chords", &chords);
    // A reed with overtones and vibrato: the nearest to a voice.
    let melody = sound(|t| {
        let note = 330.0 * 2.0_f32.powf([0.0, 2.0, 4.0, 5.0, 7.0, 5.0, 4.0][(t * 2.3) as usize % 7] / 12.0);
        let phase = t * note * TAU + 3.0 * (t * 5.5 * TAU).sin();
        phase.sin() + 0.5 * (2.0 * phase).sin() + 0.25 * (3.0 * phase).sin()
    });
    assert_wordless("melody", &melody);
}
