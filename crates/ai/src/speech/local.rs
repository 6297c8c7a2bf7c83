//! The local model on a clip: how much of it may be drafted, forced and said, and what of the answer belongs to the utterance and not to
//! what was said before it.

use std::path::Path;

use rten::RunOptions;
use vitascope_model::Result;

use super::clip::{Clip, Decoded};
use super::live::LiveConfig;
use super::moonshine::{Limits, Moonshine};
use super::queue::Kind;
use super::score;

pub(super) struct Local(Moonshine);

impl Local {
    pub(super) fn is_in(models: &Path) -> bool {
        models.join(Moonshine::FOLDER).is_dir()
    }

    pub(super) fn load(models: &Path) -> Result<Local> {
        Moonshine::load(models).map(Local)
    }

    pub(super) fn decode(&self, clip: &Clip, kind: Kind, config: &LiveConfig, options: &RunOptions) -> Result<Decoded> {
        let known = clip.context.len();
        // Speech earns tokens, silence does not.
        let tokens = known + (clip.spoken(config.segment.off) * config.token_rate) as usize + 6;
        let is_interim = kind == Kind::Interim;
        // Only interims owe the reader their stable words; a pause may become the final and may correct them.
        let force = known + if is_interim { clip.stable } else { 0 };
        // A draft saves most of an interim's work, but batched logits differ a little from single steps: finals go without.
        let draft = [&clip.context[..], if is_interim { &clip.draft[..] } else { &[] }].concat();
        let encoded = self.0.encode(&clip.pcm, options)?;
        let mut hypothesis = self.0.decode(&encoded, &Limits { draft: &draft, force, tokens }, options)?;
        if known > 0 && hypothesis.tokens.len() <= known {
            // The context talked the decoder into stopping: once more without it.
            return self.decode(&clip.alone(), kind, config, options);
        }
        let mut words = if is_interim { Vec::new() } else { self.0.align(&encoded, &hypothesis.tokens, options)? };
        hypothesis.tokens.drain(..known);
        hypothesis.log_probabilities.drain(..known);
        let own = self.words(&hypothesis.tokens).min(words.len());
        words.drain(..words.len() - own);
        clip.place(&mut words, config.segment.off);
        Ok(Decoded { speech_end: clip.speech_end, hypothesis, words })
    }

    pub(super) fn text(&self, tokens: &[u32]) -> String {
        self.0.vocabulary.text(tokens)
    }

    /// How many words they are.
    pub(super) fn words(&self, tokens: &[u32]) -> usize {
        self.0.vocabulary.words(tokens).len()
    }

    /// Tokens at the front that two hypotheses in a row agree on: whole words, compared without case and punctuation, and not the
    /// newest one, which may be half a word.
    pub(super) fn agree(&self, old: &[u32], new: &[u32]) -> usize {
        let vocabulary = &self.0.vocabulary;
        let (a, b) = (vocabulary.words(old), vocabulary.words(new));
        let last = a.len().min(b.len()).saturating_sub(1);
        let same = |(a, b): &(&&[u32], &&[u32])| score::words(&vocabulary.text(a)) == score::words(&vocabulary.text(b));
        a.iter().zip(&b).take(last).take_while(same).map(|(_, b)| b.len()).sum()
    }
}
