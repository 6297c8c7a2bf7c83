//! One channel's state between frames and decode jobs: the sound that is still needed, the utterance under way, and what it was heard as.

use super::clip::{Clip, Decoded, samples};
use super::live::LiveConfig;
use super::moonshine::ClipWord;
use super::queue::Kind;
use super::segment::{Close, Segmenter};
use super::{FRAME, seconds};

/// Words kept as context for the next utterance.
const REMEMBERED: usize = 40;
/// Context reaches over a pause no longer than this, in seconds.
const WIDEST_PAUSE: f64 = 1.5;

/// Frames of sound that are let go at once.
const SWEEP: usize = 32;

#[derive(Default)]
pub(super) struct State {
    pub(super) segmenter: Segmenter,
    pcm: Vec<f32>,
    /// Frame number of the first sample in `pcm`.
    base: usize,
    /// A job on the open utterance is queued or running.
    pub(super) is_busy: bool,
    /// Frame of the last snapshot, and the end of speech at the last pause.
    pub(super) asked: usize,
    pub(super) paused: usize,
    /// Seconds that the last decode took.
    pub(super) cost: f64,
    pub(super) heard: Vec<u32>,
    pub(super) stable: usize,
    pub(super) complete: Option<Decoded>,
    /// The last utterance of which an interim was shown.
    pub(super) shown: u64,
    said: Vec<ClipWord>,
}

impl State {
    pub(super) fn new(config: &LiveConfig) -> State {
        State { segmenter: Segmenter::new(config.segment.clone()), ..State::default() }
    }

    pub(super) fn hear(&mut self, frame: &[f32; FRAME]) {
        self.pcm.extend_from_slice(frame);
    }

    /// Ends the open utterance; what is to be decoded of it, and the decode of its pause if that is the whole of it.
    pub(super) fn close(&mut self, close: Close, config: &LiveConfig) -> Option<(u64, Clip, Option<Decoded>)> {
        let clip = self.clip(close.end, config.context);
        let done = self.complete.take().filter(|d| !close.forced && d.speech_end == clip.speech_end);
        let spoken = clip.probabilities.iter().filter(|p| **p >= config.segment.off).count();
        let number = self.segmenter.count;
        self.segmenter.close(close);
        (self.is_busy, self.stable, self.asked) = (false, 0, close.end);
        self.heard.clear();
        (spoken >= config.segment.min_speech).then_some((number, clip, done))
    }

    /// What to decode now, if anything.
    pub(super) fn due(&self, config: &LiveConfig, wait: f64) -> Option<Kind> {
        let s = &self.segmenter;
        if !config.interims || !s.is_open || self.is_busy || s.speech_frames() < s.config.min_speech {
            return None;
        }
        if s.now - s.speech_end >= s.config.pause {
            let is_known = self.complete.as_ref().is_some_and(|d| d.speech_end == s.speech_end);
            return (!is_known && self.paused != s.speech_end).then_some(Kind::Pause);
        }
        // Under load interims come less often: finals never wait for them.
        let interval = config.interval.max(2.0 * wait + 1.5 * self.cost).min(config.slowest);
        let since = seconds(s.now - self.asked.max(s.start));
        (since >= interval && s.speech_end > self.asked).then_some(Kind::Interim)
    }

    pub(super) fn is_open(&self, utterance: u64) -> bool {
        self.segmenter.is_open && self.segmenter.count == utterance
    }

    /// The utterance up to frame `end`, with words before it if it is shorter than `context` seconds.
    pub(super) fn clip(&self, end: usize, context: f64) -> Clip {
        let start = self.segmenter.start;
        let mut first = seconds(start);
        let mut words = Vec::new();
        for word in self.said.iter().rev().skip_while(|w| w.start >= seconds(start)) {
            if word.start < seconds(end) - context || first - word.end > WIDEST_PAUSE {
                break;
            }
            first = word.start;
            words.push(&word.tokens);
        }
        let first = if words.is_empty() { start } else { ((first - 0.1).max(0.0) / seconds(1)) as usize };
        let first = first.clamp(self.base, start);
        let at = |frame: usize| samples(frame - self.base);
        Clip {
            start,
            speech_end: self.segmenter.speech_end.min(end),
            lead: samples(start - first),
            context: words.into_iter().rev().flatten().copied().collect(),
            pcm: self.pcm[at(first)..at(end)].to_vec(),
            probabilities: self.segmenter.probabilities[..end - start].to_vec(),
            draft: self.heard.clone(),
            stable: self.stable,
        }
    }

    /// Words that became final.
    pub(super) fn remember(&mut self, words: &[ClipWord]) {
        self.said.extend_from_slice(words);
        let old = self.said.len().saturating_sub(REMEMBERED);
        self.said.drain(..old);
    }

    /// Keeps the sound of the utterance (or the pre-roll), and of its possible context.
    pub(super) fn forget(&mut self, context: f64) {
        let keep = self.segmenter.start.saturating_sub((context / seconds(1)) as usize + 1);
        let gone = keep.saturating_sub(self.base);
        // Not frame by frame: what is kept moves each time.
        if gone < SWEEP {
            return;
        }
        self.pcm.drain(..samples(gone));
        self.base += gone;
    }
}
