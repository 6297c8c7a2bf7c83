//! Several inputs summed on one line of wall time, at 48 kHz stereo. An input's own count of samples is trusted, since it is exact;
//! only when the wall clock says that it is off by more than a listener would forgive is it placed anew.

use std::collections::{HashMap, VecDeque};

use vitascope_model::{Span, WallTime};

const RATE: u32 = 48_000;
const CHANNELS: usize = 2;
/// Off by more than this (40 ms), an input is placed anew.
const TOLERANCE: i64 = 1920;
/// What lies further ahead than this (60 s) is not believed.
const MOST_AHEAD: i64 = 60 * RATE as i64;
/// Above this the sum is bent softly towards 1.
const KNEE: f32 = 0.9;

pub struct Mixer {
    start: WallTime,
    /// Frames given out so far.
    pulled: i64,
    /// The sum, from frame `pulled` on.
    ahead: VecDeque<f32>,
    /// Where each input's next frame belongs.
    next: HashMap<usize, i64>,
}

impl Mixer {
    pub fn new(start: WallTime) -> Mixer {
        Mixer { start, pulled: 0, ahead: VecDeque::new(), next: HashMap::new() }
    }

    /// Adds interleaved sound of an input that was captured at `at`. What is too late is lost.
    pub fn push(&mut self, input: usize, at: WallTime, pcm: &[f32]) {
        let frames = (pcm.len() / CHANNELS) as i64;
        let told = (at - self.start).to_ticks(RATE);
        let expected = *self.next.get(&input).unwrap_or(&told);
        let off = told - expected;
        // Ahead of its place: silence between. Behind it: what was heard already is left out.
        let first = if off > TOLERANCE { told } else { expected };
        let repeated = if off < -TOLERANCE { (-off).min(frames) } else { 0 };
        self.next.insert(input, first + frames - repeated);
        let late = (self.pulled - first).clamp(0, frames - repeated);
        let from = first + late;
        // All of it heard before, or too late, or not to be believed.
        if from < self.pulled || from + frames > self.pulled + MOST_AHEAD {
            return;
        }
        let offset = (from - self.pulled) as usize * CHANNELS;
        let sound = &pcm[((repeated + late) as usize * CHANNELS).min(pcm.len())..];
        if self.ahead.len() < offset + sound.len() {
            self.ahead.resize(offset + sound.len(), 0.0);
        }
        for (sum, s) in self.ahead.range_mut(offset..).zip(sound) {
            *sum += s;
        }
    }

    /// Everything before `until` that was not given out yet; where no input had anything it is silence.
    pub fn pull(&mut self, until: WallTime) -> Vec<f32> {
        let frames = ((until - self.start).to_ticks(RATE) - self.pulled).max(0);
        let wanted = frames as usize * CHANNELS;
        let there = self.ahead.len().min(wanted);
        let mut out: Vec<f32> = self.ahead.drain(..there).map(soften).collect();
        out.resize(wanted, 0.0);
        self.pulled += frames;
        out
    }

    /// How much is given out so far.
    pub fn length(&self) -> Span {
        Span::of_ticks(self.pulled, RATE)
    }
}

fn soften(s: f32) -> f32 {
    let over = s.abs() - KNEE;
    if over <= 0.0 { s } else { s.signum() * (KNEE + (1.0 - KNEE) * (over / (1.0 - KNEE)).tanh()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: WallTime = WallTime(1_800_000_000_000_000);

    fn at(frames: i64) -> WallTime {
        // A little more than a frame's time, so that it does not fall below it.
        START + Span::of_ticks(frames, RATE) + Span(10)
    }

    fn block(value: f32, frames: usize) -> Vec<f32> {
        vec![value; frames * CHANNELS]
    }

    fn left(pcm: &[f32]) -> Vec<f32> {
        pcm.iter().step_by(CHANNELS).copied().collect()
    }

    #[test]
    fn inputs_are_summed_where_they_overlap_and_silent_elsewhere() {
        let mut mixer = Mixer::new(START);
        mixer.push(0, at(0), &block(0.25, 4));
        mixer.push(1, at(2), &block(0.5, 4));
        assert_eq!(left(&mixer.pull(at(8))), [0.25, 0.25, 0.75, 0.75, 0.5, 0.5, 0.0, 0.0]);
        assert_eq!(mixer.length(), Span::of_ticks(8, RATE));
    }

    #[test]
    fn jitter_does_not_move_an_input_and_a_gap_does() {
        let mut mixer = Mixer::new(START);
        mixer.push(0, at(0), &block(0.1, 1000));
        mixer.push(0, at(1000 + 900), &block(0.2, 1000));
        mixer.push(0, at(2000 + 5000), &block(0.3, 1000));
        let out = left(&mixer.pull(at(8000)));
        assert_eq!((out[999], out[1000], out[1999], out[2000]), (0.1, 0.2, 0.2, 0.0));
        assert_eq!((out[6999], out[7000], out[7999]), (0.0, 0.3, 0.3));
    }

    #[test]
    fn what_comes_twice_or_too_late_is_left_out() {
        let mut mixer = Mixer::new(START);
        mixer.push(0, at(0), &block(0.1, 4000));
        // 3000 of these frames were heard before.
        mixer.push(0, at(1000), &block(0.2, 4000));
        let out = left(&mixer.pull(at(5000)));
        assert_eq!((out[3999], out[4000], out[4999]), (0.1, 0.2, 0.2));
        mixer.push(1, at(4000), &block(0.5, 2000));
        assert_eq!(left(&mixer.pull(at(6000))), [0.5; 1000]);
    }

    #[test]
    fn what_lies_wholly_before_is_lost_and_what_follows_it_is_not() {
        let mut mixer = Mixer::new(START);
        mixer.push(0, START - Span::seconds(2), &block(0.5, 1000));
        mixer.pull(at(4800));
        mixer.push(1, at(0), &block(0.5, 1000));
        mixer.push(2, at(4800), &block(0.25, 100));
        assert_eq!(left(&mixer.pull(at(4900))), [0.25; 100]);
    }

    #[test]
    fn loud_sums_stay_below_one() {
        let mut mixer = Mixer::new(START);
        (0..4).for_each(|input| mixer.push(input, at(0), &block(0.8, 4)));
        assert!(mixer.pull(at(4)).iter().all(|s| *s > 0.9 && *s <= 1.0));
    }
}
