//! Finals from a provider: an utterance goes out as it was cut here, and comes back as words in the stream's time. A provider that fails
//! after all its tries is left alone for a while where a local model can stand in; nothing is ever lost for it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use vitascope_model::{Error, Result};

use super::RATE;
use super::clip::Clip;
use super::moonshine::{ClipWord, repeats};
use super::worker::Heard;
use crate::provider::{Habits, Provider, ProviderConfig, Transcript};

/// How long the local model stands in before the provider is asked again.
const REST: Duration = Duration::from_secs(15);

pub struct Remote {
    provider: Provider,
    habits: Habits,
    runtime: Handle,
    resting: Mutex<Option<Instant>>,
}

impl Remote {
    /// Calls run on `runtime`; the workers wait for them.
    pub fn new(config: ProviderConfig, runtime: Handle) -> Result<Remote> {
        Ok(Remote { provider: Provider::new(config)?, habits: Habits::default(), runtime, resting: Mutex::default() })
    }

    pub(super) fn at_once(&self) -> usize {
        self.provider.config().at_once.max(1)
    }

    /// What the provider hears in an utterance. With a stand-in it may refuse at once.
    pub(super) fn hear(&self, clip: &Clip, off: f32, has_stand_in: bool) -> Result<Heard> {
        if has_stand_in && self.rests() {
            return Err(Error::unavailable("the provider failed a moment ago"));
        }
        let alone = clip.alone();
        let heard = self.runtime.block_on(self.provider.transcribe(&alone.pcm, RATE, &self.habits));
        self.rest_after(heard.is_err());
        Ok(placed(heard?, &alone, off))
    }

    fn rests(&self) -> bool {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.is_some_and(|since| since.elapsed() < REST)
    }

    fn rest_after(&self, failed: bool) {
        *self.resting.lock().unwrap_or_else(PoisonError::into_inner) = failed.then(Instant::now);
    }
}

/// The provider's words in the stream's time, without the loops that models of this kind fall into.
fn placed(said: Transcript, clip: &Clip, off: f32) -> Heard {
    let word =
        |w: crate::provider::TranscriptWord| ClipWord { text: w.text, start: w.start, end: w.end, tokens: Vec::new() };
    let mut words: Vec<ClipWord> = said.words.into_iter().map(word).collect();
    let mut text = said.text;
    let mut known: Vec<&str> = Vec::new();
    let numbers: Vec<u32> = text
        .split_whitespace()
        .map(|w| {
            known.iter().position(|k| *k == w).unwrap_or_else(|| {
                known.push(w);
                known.len() - 1
            }) as u32
        })
        .collect();
    if let Some(kept) = (1..=numbers.len()).find_map(|n| repeats(&numbers[..n])) {
        text = text.split_whitespace().take(kept).collect::<Vec<_>>().join(" ");
        words.truncate(kept);
    }
    clip.place(&mut words, off);
    // No probabilities were told: how sure the VAD was that somebody spoke stands in.
    let confidence = said.confidence.unwrap_or(f64::from(clip.peak()));
    Heard { text, words, confidence }
}
