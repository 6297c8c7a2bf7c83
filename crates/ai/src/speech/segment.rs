//! Probabilities of speech to utterances: where one begins, pauses, ends, and where one that is too long is cut.
//! Lengths are in frames of 32 ms; frame numbers count from the start of the stream.

#[derive(Clone, Debug)]
pub struct SegmentConfig {
    /// The probability that counts as speech in silence, and in speech.
    pub on: f32,
    pub off: f32,
    /// Speech frames in a row that open an utterance, and frames kept from before them.
    pub open: usize,
    pub preroll: usize,
    /// Silence that closes an utterance; it falls to `hang_min` as the utterance grows from `soft` to `max`.
    pub hang: usize,
    pub hang_min: usize,
    pub soft: usize,
    pub max: usize,
    /// How far back from `max` the cut may lie: further back it is heard better, and its final comes later.
    pub split: usize,
    /// Silence after which a complete decode is worth a try: it is the final if nobody goes on.
    pub pause: usize,
    /// With fewer speech frames it was no utterance.
    pub min_speech: usize,
}

impl Default for SegmentConfig {
    /// Chosen on an hour's worth of runs over read speech and a telephone call: context makes up for the short hangover.
    fn default() -> Self {
        SegmentConfig {
            on: 0.5,
            off: 0.35,
            open: 3,
            preroll: 10,
            hang: 16,
            hang_min: 5,
            soft: 187,
            max: 312,
            split: 47,
            pause: 6,
            min_speech: 6,
        }
    }
}

/// Where an utterance ends. `forced`: it was too long and goes on in the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Close {
    pub(super) end: usize,
    pub(super) forced: bool,
}

#[derive(Default)]
pub(super) struct Segmenter {
    pub(super) config: SegmentConfig,
    pub(super) now: usize,
    pub(super) is_open: bool,
    /// Utterances so far.
    pub(super) count: u64,
    pub(super) start: usize,
    /// One past the last speech frame.
    pub(super) speech_end: usize,
    /// Probabilities from `start` on.
    pub(super) probabilities: Vec<f32>,
    run: usize,
}

impl Segmenter {
    pub(super) fn new(config: SegmentConfig) -> Segmenter {
        Segmenter { config, ..Segmenter::default() }
    }

    /// After a `Close`, call `close` before the next frame.
    pub(super) fn push(&mut self, probability: f32) -> Option<Close> {
        self.now += 1;
        self.probabilities.push(probability);
        if !self.is_open {
            self.listen(probability);
            return None;
        }
        if probability >= self.config.off {
            self.speech_end = self.now;
        }
        let (length, silence) = (self.now - self.start, self.now - self.speech_end);
        if silence >= self.hangover(length) {
            return Some(self.end());
        }
        (length >= self.config.max).then(|| Close { end: self.start + self.best_split(), forced: true })
    }

    /// The end of what is open, as if silence had come.
    pub(super) fn end(&self) -> Close {
        // A little of the silence helps the last consonant.
        Close { end: self.speech_end + (self.now - self.speech_end).min(6), forced: false }
    }

    pub(super) fn close(&mut self, close: Close) {
        self.probabilities.drain(..close.end - self.start);
        (self.start, self.run, self.is_open) = (close.end, 0, close.forced);
        self.count += u64::from(close.forced);
    }

    pub(super) fn speech_frames(&self) -> usize {
        self.probabilities.iter().filter(|p| **p >= self.config.off).count()
    }

    fn listen(&mut self, probability: f32) {
        let c = &self.config;
        self.run = if probability >= c.on { self.run + 1 } else { 0 };
        let keep = self.probabilities.len().min(c.preroll + c.open);
        self.probabilities.drain(..self.probabilities.len() - keep);
        self.start = self.now - keep;
        if self.run >= c.open {
            (self.is_open, self.speech_end) = (true, self.now);
            self.count += 1;
        }
    }

    fn hangover(&self, length: usize) -> usize {
        let c = &self.config;
        let over = length.saturating_sub(c.soft) as f32 / (c.max - c.soft) as f32;
        c.hang - (over.min(1.0) * (c.hang - c.hang_min) as f32) as usize
    }

    /// The frame with the least speech around it towards the end of the utterance. Not far from it: what is said after the cut has
    /// waited all that time for its final.
    fn best_split(&self) -> usize {
        let n = self.probabilities.len();
        let around = |i: usize| self.probabilities[i - 2..i + 3].iter().sum::<f32>();
        (n - self.config.split.min(n - 3)..n - 3).min_by(|a, b| around(*a).total_cmp(&around(*b))).unwrap_or(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds probabilities; returns (start, end, forced) of each utterance.
    fn utterances(probabilities: impl IntoIterator<Item = f32>) -> Vec<(usize, usize, bool)> {
        let mut segmenter = Segmenter::new(SegmentConfig::default());
        let mut found = Vec::new();
        for p in probabilities {
            if let Some(close) = segmenter.push(p) {
                found.push((segmenter.start, close.end, close.forced));
                segmenter.close(close);
            }
        }
        found
    }

    fn speech(pattern: &[(f32, usize)]) -> impl Iterator<Item = f32> + '_ {
        pattern.iter().flat_map(|(p, n)| std::iter::repeat_n(*p, *n))
    }

    #[test]
    fn an_utterance_has_a_preroll_and_ends_after_the_hangover() {
        let found = utterances(speech(&[(0.0, 50), (0.9, 60), (0.0, 40)]));
        assert_eq!(found, [(40, 116, false)]);
    }

    #[test]
    fn short_pauses_do_not_end_it_and_blips_do_not_begin_it() {
        assert_eq!(utterances(speech(&[(0.9, 30), (0.0, 10), (0.9, 30), (0.0, 20)])).len(), 1);
        assert_eq!(utterances(speech(&[(0.9, 2), (0.0, 30), (0.9, 2), (0.0, 30)])), []);
    }

    #[test]
    fn endless_speech_is_cut_where_it_is_least_and_goes_on() {
        let found = utterances(speech(&[(0.9, 280), (0.5, 3), (0.9, 300)]));
        let (start, end, forced) = found[0];
        assert!(start == 0 && forced && (279..=283).contains(&end), "{found:?}");
    }
}
