//! A clip: the sound of an utterance with the words just before it, which a short utterance needs to be heard right; and what was decoded.

use super::moonshine::{ClipWord, Hypothesis};
use super::{FRAME, RATE, seconds};

/// What to decode: the utterance from frame `start`, after `lead` samples of what was said just before, whose tokens are `context`.
#[derive(Clone)]
pub(super) struct Clip {
    pub(super) start: usize,
    pub(super) speech_end: usize,
    pub(super) lead: usize,
    pub(super) context: Vec<u32>,
    pub(super) pcm: Vec<f32>,
    pub(super) probabilities: Vec<f32>,
    /// The hypothesis so far, and how many of its tokens are stable.
    pub(super) draft: Vec<u32>,
    pub(super) stable: usize,
}

/// Words have times from the start of the stream, in seconds.
pub(super) struct Decoded {
    pub(super) speech_end: usize,
    pub(super) hypothesis: Hypothesis,
    pub(super) words: Vec<ClipWord>,
}

impl Decoded {
    /// Mean probability of the tokens, 0 to 1.
    pub(super) fn confidence(&self) -> f64 {
        f64::from(self.hypothesis.mean().exp())
    }
}

impl Clip {
    /// The clip without what was said before.
    pub(super) fn alone(&self) -> Clip {
        Clip { lead: 0, context: Vec::new(), pcm: self.pcm[self.lead..].to_vec(), ..self.clone() }
    }

    pub(super) fn spoken(&self, off: f32) -> f64 {
        seconds(self.probabilities.iter().filter(|p| **p >= off).count())
    }

    /// The most certain 96 ms: tones and noise that fool the VAD seldom get near 1.
    pub(super) fn peak(&self) -> f32 {
        self.probabilities.windows(3).map(|w| w.iter().sum::<f32>() / 3.0).fold(0.0, f32::max)
    }

    /// How certain the VAD was on average where it heard speech at all.
    pub(super) fn voice(&self, off: f32) -> f32 {
        let spoken = self.probabilities.iter().filter(|p| **p >= off);
        let (sum, count) = spoken.fold((0.0, 0.0), |(sum, count), p| (sum + p, count + 1.0));
        if count > 0.0 { sum / count } else { 0.0 }
    }

    /// Words from the clip's time to the stream's, and their edges out of silence, into which the alignment runs.
    pub(super) fn place(&self, words: &mut [ClipWord], off: f32) {
        let is_speech =
            |i: usize| (i.saturating_sub(1)..i + 2).any(|k| self.probabilities.get(k).is_some_and(|p| *p >= off));
        let lead = self.lead as f64 / RATE as f64;
        for word in words {
            (word.start, word.end) = ((word.start - lead).max(0.0), (word.end - lead).max(0.0));
            let from = (word.start / seconds(1)) as usize;
            let to = ((word.end / seconds(1)) as usize).max(from + 1);
            // The longest stretch of speech within the word is the word.
            let (mut best, mut run) = ((from, from), from);
            for i in from..to {
                if !is_speech(i) {
                    run = i + 1;
                } else if i + 1 - run > best.1 - best.0 {
                    best = (run, i + 1);
                }
            }
            if best.1 > best.0 {
                (word.start, word.end) = (word.start.max(seconds(best.0)), word.end.min(seconds(best.1)));
            }
            (word.start, word.end) = (word.start + seconds(self.start), word.end.max(word.start) + seconds(self.start));
        }
    }
}

/// Samples of so many frames.
pub(super) fn samples(frames: usize) -> usize {
    frames * FRAME
}
