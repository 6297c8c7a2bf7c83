//! Automatic gain before anything listens: quiet speech is brought up to where the models know it. The gain falls at once and rises
//! slowly; silence does not move it, so it does not breathe.

use super::{FRAME, seconds};

/// Where the loudest samples are brought to.
const TARGET: f32 = 0.5;
const MOST: f32 = 20.0;
/// Below this (-60 dBFS) a frame is silence and says nothing about the level of speech.
const GATE: f32 = 0.001;
/// The remembered peak halves in so many seconds.
const HALF_LIFE: f32 = 8.0;

#[derive(Debug)]
pub(super) struct Gain {
    peak: f32,
    gain: f32,
}

impl Default for Gain {
    fn default() -> Self {
        Gain { peak: 0.0, gain: 1.0 }
    }
}

impl Gain {
    /// Applies the gain to one frame, moving to its new value within it.
    pub(super) fn apply(&mut self, frame: &mut [f32; FRAME]) {
        let loudest = frame.iter().fold(0.0_f32, |m, s| m.max(s.abs()));
        if loudest > GATE {
            self.peak = loudest.max(self.peak * 0.5_f32.powf(seconds(1) as f32 / HALF_LIFE));
        }
        let wanted = if self.peak > 0.0 { (TARGET / self.peak).clamp(1.0, MOST) } else { 1.0 };
        // Down at once, or the frame would clip; up across the frame, or it would click.
        let from = self.gain.min(wanted);
        for (i, sample) in frame.iter_mut().enumerate() {
            let gain = from + (wanted - from) * i as f32 / FRAME as f32;
            *sample = (*sample * gain).clamp(-1.0, 1.0);
        }
        self.gain = wanted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(gain: &mut Gain, level: f32, frames: usize) -> f32 {
        let mut loudest = 0.0;
        for _ in 0..frames {
            let mut frame = [level; FRAME];
            gain.apply(&mut frame);
            loudest = frame[FRAME - 1];
        }
        loudest
    }

    #[test]
    fn quiet_speech_comes_up_and_loud_speech_stays() {
        assert!((after(&mut Gain::default(), 0.03, 3) - 0.5).abs() < 0.05);
        assert!((after(&mut Gain::default(), 0.8, 3) - 0.8).abs() < 1e-6);
        assert!(after(&mut Gain::default(), 0.002, 3) < 0.05, "no more than twenty times");
    }

    #[test]
    fn silence_does_not_move_it_and_loudness_moves_it_at_once() {
        let mut gain = Gain::default();
        after(&mut gain, 0.2, 10);
        let before = gain.gain;
        after(&mut gain, 0.0005, 1000);
        assert_eq!(gain.gain, before);
        assert!(after(&mut gain, 0.9, 1) <= 0.9);
    }
}
