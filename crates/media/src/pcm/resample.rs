//! Sampling rates changed by windowed-sinc filters, in pieces of any size and without a delay that adds up.
//! Output sample n is the input at exactly n · in / out; what lies above half the lower rate is taken out first.

use std::f64::consts::PI;

/// The filter reaches so many samples of the lower rate to either side: a transition of about a tenth of the band, 70 dB down.
const REACH: usize = 24;
/// How much of the band is kept; the rest is where the filter falls.
const BAND: f64 = 0.92;

const SPEECH_RATE: u32 = 16_000;
const MIX_RATE: u32 = 48_000;

/// One channel from one rate to another.
struct Polyphase {
    up: usize,
    down: usize,
    /// A filter for each place between two input samples.
    phases: Vec<Vec<f32>>,
    /// Input that is still needed, from the oldest sample that the next output reaches.
    input: Vec<f32>,
    /// Where the next output lies, in steps of 1 / `up` from the start of `input`.
    next: usize,
}

impl Polyphase {
    fn new(from: u32, to: u32) -> Polyphase {
        let common = gcd(from, to);
        let (up, down) = ((to / common) as usize, (from / common) as usize);
        let ratio = f64::from(to.min(from)) / f64::from(from);
        let half = (REACH as f64 / ratio).ceil() as usize;
        let phases = (0..up).map(|p| filter(half, p as f64 / up as f64, ratio * BAND)).collect();
        // As if silence had come before: the first output is the first input.
        Polyphase { up, down, phases, input: vec![0.0; half - 1], next: 0 }
    }

    fn push(&mut self, samples: impl Iterator<Item = f32>, mut out: impl FnMut(f32)) {
        self.input.extend(samples);
        let taps = self.phases[0].len();
        while self.next / self.up + taps <= self.input.len() {
            let (at, phase) = (self.next / self.up, self.next % self.up);
            let window = &self.input[at..at + taps];
            out(self.phases[phase].iter().zip(window).map(|(a, b)| a * b).sum());
            self.next += self.down;
        }
        let used = (self.next / self.up).min(self.input.len());
        self.input.drain(..used);
        self.next -= used * self.up;
    }
}

/// Taps around a place `offset` after the middle one, with a Blackman window; their sum is 1.
fn filter(half: usize, offset: f64, band: f64) -> Vec<f32> {
    let tap = |k: usize| {
        let x = k as f64 - (half as f64 - 1.0) - offset;
        let sinc = if x == 0.0 { 1.0 } else { (PI * band * x).sin() / (PI * band * x) };
        let w = (x / half as f64).clamp(-1.0, 1.0);
        sinc * (0.42 + 0.5 * (PI * w).cos() + 0.08 * (2.0 * PI * w).cos())
    };
    let taps: Vec<f64> = (0..2 * half).map(tap).collect();
    let sum: f64 = taps.iter().sum();
    taps.iter().map(|t| (t / sum) as f32).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Interleaved sound of any rate to what speech models hear: 16 kHz, one channel.
pub struct SpeechResampler {
    channels: usize,
    filter: Polyphase,
}

impl SpeechResampler {
    pub fn new(rate: u32, channels: u8) -> SpeechResampler {
        SpeechResampler { channels: usize::from(channels.max(1)), filter: Polyphase::new(rate, SPEECH_RATE) }
    }

    pub fn push(&mut self, pcm: &[f32], out: &mut Vec<f32>) {
        let mono = pcm.chunks_exact(self.channels).map(|frame| frame.iter().sum::<f32>() / frame.len() as f32);
        self.filter.push(mono, |s| out.push(s));
    }
}

/// Interleaved sound of any rate to what is mixed: 48 kHz, two channels.
pub struct StereoResampler {
    channels: usize,
    /// None where the rate is right as it is.
    filters: Option<[Polyphase; 2]>,
}

impl StereoResampler {
    pub fn new(rate: u32, channels: u8) -> StereoResampler {
        let filters = (rate != MIX_RATE).then(|| [Polyphase::new(rate, MIX_RATE), Polyphase::new(rate, MIX_RATE)]);
        StereoResampler { channels: usize::from(channels.max(1)), filters }
    }

    pub fn push(&mut self, pcm: &[f32], out: &mut Vec<f32>) {
        let frames = pcm.chunks_exact(self.channels);
        let Some([left, right]) = &mut self.filters else {
            out.extend(frames.flat_map(|f| [f[0], f[f.len() - 1]]));
            return;
        };
        let (mut l, mut r) = (Vec::new(), Vec::new());
        left.push(frames.clone().map(|f| f[0]), |s| l.push(s));
        right.push(frames.map(|f| f[f.len() - 1]), |s| r.push(s));
        out.extend(l.into_iter().zip(r).flat_map(|(l, r)| [l, r]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(hertz: f64, rate: u32, samples: usize) -> Vec<f32> {
        (0..samples).map(|n| (2.0 * PI * hertz * n as f64 / f64::from(rate)).sin() as f32).collect()
    }

    fn level(pcm: &[f32]) -> f64 {
        let middle = &pcm[pcm.len() / 4..pcm.len() * 3 / 4];
        let power: f64 = middle.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / middle.len() as f64;
        10.0 * (2.0 * power).log10()
    }

    fn speech(rate: u32, pcm: &[f32], block: usize) -> Vec<f32> {
        let (mut resampler, mut out) = (SpeechResampler::new(rate, 1), Vec::new());
        pcm.chunks(block).for_each(|b| resampler.push(b, &mut out));
        out
    }

    #[test]
    fn speech_keeps_its_level_and_what_would_alias_is_gone() {
        for rate in [48_000, 44_100, 32_000, 8_000] {
            let out = speech(rate, &sine(1000.0, rate, rate as usize), 1024);
            assert!(level(&out).abs() < 0.2, "{rate}: {}", level(&out));
            assert!((out.len() as i64 - 16_000).abs() < 60, "{rate}: {}", out.len());
        }
        for (hertz, rate) in [(10_000.0, 48_000), (9_000.0, 44_100), (15_000.0, 48_000)] {
            let out = speech(rate, &sine(hertz, rate, rate as usize), 1024);
            assert!(level(&out) < -50.0, "{hertz} at {rate}: {}", level(&out));
        }
    }

    #[test]
    fn the_size_of_the_pieces_does_not_matter_and_nothing_moves() {
        let pcm = sine(440.0, 48_000, 48_000);
        let whole = speech(48_000, &pcm, 48_000);
        assert_eq!(whole, speech(48_000, &pcm, 7));
        let wanted = sine(440.0, 16_000, 16_000);
        let worst = whole.iter().zip(&wanted).skip(100).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 0.01, "{worst}");
    }

    #[test]
    fn the_mix_hears_both_channels() {
        let mut out = Vec::new();
        StereoResampler::new(48_000, 1).push(&[0.5, -0.5], &mut out);
        assert_eq!(out, [0.5, 0.5, -0.5, -0.5]);
        out.clear();
        let stereo: Vec<f32> = sine(1000.0, 44_100, 44_100).into_iter().flat_map(|s| [s, 0.0]).collect();
        StereoResampler::new(44_100, 2).push(&stereo, &mut out);
        let side = |n: usize| out.iter().skip(n).step_by(2).copied().collect::<Vec<_>>();
        assert!(level(&side(0)).abs() < 0.2 && level(&side(1)) < -100.0);
        assert!((out.len() as i64 / 2 - 48_000).abs() < 60);
    }
}
