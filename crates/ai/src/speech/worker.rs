//! What workers do with a job: an interim or a pause is shown if it comes in time, a final is told once. Whatever goes wrong with a final,
//! its utterance ends: with words, or with an empty text if something of it was shown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rten::RunOptions;
use vitascope_model::{Error, MediaTime, Result, Span};

use super::channel::State;
use super::clip::{Clip, Decoded};
use super::live::{LiveConfig, SpokenWord, Utterance, one_thread};
use super::local::Local;
use super::moonshine::ClipWord;
use super::queue::{Channel, Job, Kind, Queue, Role};
use super::remote::Remote;
use super::seconds;
use super::segment::Close;
use super::vad::Silero;

/// What channels and workers share.
pub(super) struct Shared {
    pub(super) config: LiveConfig,
    pub(super) local: Option<Local>,
    pub(super) remote: Option<Remote>,
    pub(super) silero: Silero,
    pub(super) queue: Queue,
}

/// An utterance in words.
pub(super) struct Heard {
    pub(super) text: String,
    pub(super) words: Vec<ClipWord>,
    pub(super) confidence: f64,
}

impl Shared {
    pub(super) fn close(&self, channel: &Arc<Channel>, state: &mut State, close: Close) {
        if let Some((utterance, clip, done)) = state.close(close, &self.config) {
            self.ask(Kind::Final, channel, utterance, Some((clip, done)));
        }
    }

    pub(super) fn ask(
        &self,
        kind: Kind,
        channel: &Arc<Channel>,
        utterance: u64,
        closed: Option<(Clip, Option<Decoded>)>,
    ) {
        self.queue.push(Job { kind, channel: channel.clone(), utterance, asked: Instant::now(), closed });
    }

    /// A worker's life.
    pub(super) fn work(&self, role: Role) {
        let options = one_thread();
        while let Some(mut job) = self.queue.take(role) {
            let (channel, kind) = (job.channel.clone(), job.kind);
            match job.closed.take() {
                Some((clip, done)) => self.finish(&job, &clip, done, &options),
                None => {
                    if let Err(error) = self.show(&job, &options) {
                        tracing::error!(%error, "an interim could not be decoded");
                        channel.state().is_busy = false;
                    }
                }
            }
            self.queue.done(&channel, kind);
        }
    }

    /// An interim or a pause.
    fn show(&self, job: &Job, options: &RunOptions) -> Result<()> {
        let waited = job.asked.elapsed();
        let clip = {
            let mut state = job.channel.state();
            if !state.is_open(job.utterance) {
                self.queue.drop_interim();
                return Ok(()); // closed meanwhile: its final is in the queue
            }
            state.asked = state.segmenter.now;
            state.clip(state.segmenter.now, self.config.context)
        };
        let began = Instant::now();
        let local = self.local()?;
        let decoded = local.decode(&clip, job.kind, &self.config, options)?;
        let computed = began.elapsed();
        let keep = self.is_speech(&decoded, &clip);
        let mut utterance = blank(job.utterance, &clip, waited, computed);
        utterance.text = local.text(&decoded.hypothesis.tokens);
        utterance.confidence = decoded.confidence();
        let mut state = job.channel.state();
        if !state.is_open(job.utterance) {
            self.queue.drop_interim();
            return Ok(());
        }
        (state.is_busy, state.cost) = (false, computed.as_secs_f64());
        utterance.stable_words = settle(local, &mut state, &decoded);
        if job.kind == Kind::Pause {
            state.complete = Some(decoded);
        }
        if keep {
            state.shown = job.utterance;
        }
        drop(state);
        if keep {
            job.channel.tell(utterance);
        }
        Ok(())
    }

    fn finish(&self, job: &Job, clip: &Clip, done: Option<Decoded>, options: &RunOptions) {
        let (waited, began) = (job.asked.elapsed(), Instant::now());
        let heard = self.hear(job, clip, done, options).unwrap_or_else(|error| {
            let at = seconds(clip.start);
            tracing::error!(%error, at, "an utterance is missing from a transcript: it could not be decoded");
            None
        });
        let mut utterance = blank(job.utterance, clip, waited, began.elapsed());
        utterance.is_final = true;
        if let Some(heard) = heard {
            utterance.words = within(&heard.words, utterance.start, utterance.end);
            (utterance.text, utterance.confidence) = (heard.text, heard.confidence);
        }
        utterance.stable_words = utterance.words.len();
        let was_shown = job.channel.state().shown == job.utterance;
        if was_shown || !utterance.text.is_empty() {
            job.channel.tell(utterance);
        }
    }

    /// The words of a finished utterance, from the provider or else from the local model; none if nobody spoke.
    fn hear(&self, job: &Job, clip: &Clip, done: Option<Decoded>, options: &RunOptions) -> Result<Option<Heard>> {
        if !self.has_voice(clip) {
            return Ok(None);
        }
        if let Some(remote) = &self.remote {
            match remote.hear(clip, self.config.segment.off, self.local.is_some()) {
                Ok(heard) => {
                    // The next utterance's interims want its sound and tokens, which only a local decode has.
                    if let Some(done) = done.filter(|d| !d.hypothesis.looped) {
                        job.channel.state().remember(&done.words);
                    }
                    return Ok((!heard.text.is_empty()).then_some(heard));
                }
                Err(error) if self.local.is_some() => {
                    tracing::warn!(%error, "the local model stands in for the provider");
                }
                Err(error) => return Err(error),
            }
        }
        let local = self.local()?;
        let decoded = match done {
            Some(decoded) => decoded,
            None => local.decode(clip, Kind::Final, &self.config, options)?,
        };
        if !self.is_speech(&decoded, clip) {
            return Ok(None);
        }
        if !decoded.hypothesis.looped {
            job.channel.state().remember(&decoded.words);
        }
        let text = local.text(&decoded.hypothesis.tokens);
        Ok(Some(Heard { text, confidence: decoded.confidence(), words: decoded.words }))
    }

    fn local(&self) -> Result<&Local> {
        self.local.as_ref().ok_or_else(|| Error::unavailable("there is no local speech model"))
    }

    fn has_voice(&self, clip: &Clip) -> bool {
        clip.peak() >= self.config.least_peak && clip.voice(self.config.segment.off) >= self.config.least_voice
    }

    fn is_speech(&self, decoded: &Decoded, clip: &Clip) -> bool {
        !decoded.hypothesis.tokens.is_empty()
            && self.has_voice(clip)
            && decoded.hypothesis.mean() >= self.config.least_confidence
    }
}

/// Takes over a new hypothesis; how many of its words two in a row agree on.
fn settle(local: &Local, state: &mut State, decoded: &Decoded) -> usize {
    let new = &decoded.hypothesis.tokens;
    state.stable = local.agree(&state.heard, new).max(state.stable.min(new.len()));
    state.heard.clone_from(new);
    local.words(&new[..state.stable])
}

/// An utterance that says nothing yet.
fn blank(number: u64, clip: &Clip, waited: Duration, computed: Duration) -> Utterance {
    Utterance {
        number,
        is_final: false,
        start: media(seconds(clip.start)),
        end: media(seconds(clip.speech_end)),
        text: String::new(),
        words: Vec::new(),
        stable_words: 0,
        confidence: 0.0,
        waited: span(waited),
        computed: span(computed),
    }
}

/// Words inside of their utterance, none before the one it follows.
fn within(words: &[ClipWord], start: MediaTime, end: MediaTime) -> Vec<SpokenWord> {
    let mut from = start;
    let place = |w: &ClipWord| {
        from = media(w.start).clamp(from, end.max(from));
        SpokenWord { text: w.text.clone(), start: from, end: media(w.end).clamp(from, end.max(from)) }
    };
    words.iter().map(place).collect()
}

fn media(seconds: f64) -> MediaTime {
    MediaTime((seconds * 1e6) as i64)
}

fn span(duration: Duration) -> Span {
    Span(duration.as_micros() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_inside_their_utterance_and_in_order() {
        let word = |start: f64, end: f64| ClipWord { text: "a".into(), start, end, tokens: Vec::new() };
        let words = [word(0.5, 1.2), word(1.1, 1.0), word(1.5, 9.0), word(1.4, 1.6)];
        let placed: Vec<(i64, i64)> = within(&words, MediaTime(1_000_000), MediaTime(2_000_000))
            .iter()
            .map(|w| (w.start.0 / 1000, w.end.0 / 1000))
            .collect();
        assert_eq!(placed, [(1000, 1200), (1100, 1100), (1500, 2000), (1500, 1600)]);
    }
}
