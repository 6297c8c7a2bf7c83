//! The live transcriber: channels that take sound as it comes, and a few workers that decode for all of them.
//! Interims show an utterance as it grows and give way under load; a final comes once, is never taken back, and never given up for speed.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rten::{RunOptions, ThreadPool};
use vitascope_model::error::Context;
use vitascope_model::{MediaTime, Result, Span};

use super::channel::State;
use super::clip::{Clip, Decoded};
use super::gain::Gain;
use super::moonshine::{ClipWord, Limits, Moonshine};
use super::queue::{Channel, Job, Kind, Queue};
use super::score;
use super::segment::SegmentConfig;
use super::vad::{Silero, VadState};
use super::{FRAME, RATE, seconds};

#[derive(Clone, Debug)]
pub struct LiveConfig {
    pub segment: SegmentConfig,
    pub interims: bool,
    /// Seconds between interims when idle; load stretches it up to `slowest`.
    pub interval: f32,
    pub slowest: f32,
    /// Results with a lower mean log probability, or a lower peak of the VAD, are dropped.
    pub least_confidence: f32,
    pub least_peak: f32,
    /// Seconds of sound to decode at least, filled up with what was said just before.
    pub context: f32,
    /// Tokens allowed for a second of speech.
    pub token_rate: f32,
}

impl Default for LiveConfig {
    fn default() -> Self {
        LiveConfig {
            segment: SegmentConfig::default(),
            interims: true,
            interval: 0.5,
            slowest: 3.0,
            least_confidence: -1.0,
            least_peak: 0.8,
            context: 8.0,
            token_rate: 7.0,
        }
    }
}

/// What somebody said between two pauses, so far or as it stays. Times are from the first sample of the channel.
/// A final with an empty text takes back interims that turned out to be no speech.
#[derive(Clone, Debug)]
pub struct Utterance {
    pub number: u64,
    pub is_final: bool,
    pub start: MediaTime,
    pub end: MediaTime,
    pub text: String,
    /// With times; finals only.
    pub words: Vec<SpokenWord>,
    /// So many words will not change before the final.
    pub stable_words: usize,
    /// Mean probability of the tokens, 0 to 1.
    pub confidence: f64,
    /// In the queue, and in the model.
    pub waited: Span,
    pub computed: Span,
}

#[derive(Clone, Debug)]
pub struct SpokenWord {
    pub text: String,
    pub start: MediaTime,
    pub end: MediaTime,
}

struct Shared {
    config: LiveConfig,
    moonshine: Moonshine,
    silero: Silero,
    queue: Queue,
}

/// Ends the workers when the last transcriber and channel are gone.
struct Workers(Arc<Shared>);

impl Drop for Workers {
    fn drop(&mut self) {
        self.0.queue.stop();
    }
}

/// The models and the workers that run them; cheap to clone.
#[derive(Clone)]
pub struct LiveTranscriber {
    shared: Arc<Shared>,
    workers: Arc<Workers>,
}

impl LiveTranscriber {
    /// Loads the models and starts `workers` threads.
    pub fn load(models: &Path, config: LiveConfig, workers: usize) -> Result<LiveTranscriber> {
        crate::models::Installed::read(models)?;
        let (moonshine, silero) = (Moonshine::load(models)?, Silero::load(models)?);
        let shared = Arc::new(Shared { config, moonshine, silero, queue: Queue::default() });
        for n in 0..workers.max(1) {
            let shared = shared.clone();
            let thread = std::thread::Builder::new().name(format!("speech-{n}"));
            thread.spawn(move || shared.work()).internal("start a speech worker")?;
        }
        Ok(LiveTranscriber { workers: Arc::new(Workers(shared.clone())), shared })
    }

    /// A new channel. Its utterances are given to `sink` in order, from a worker's thread.
    pub fn open(&self, sink: Box<dyn Fn(Utterance) + Send + Sync>) -> LiveChannel {
        LiveChannel {
            channel: Arc::new(Channel::new(State::new(&self.shared.config), sink)),
            shared: self.shared.clone(),
            _workers: self.workers.clone(),
            gain: Gain::default(),
            vad: VadState::default(),
            options: one_thread(),
            frame: [0.0; FRAME],
            filled: 0,
            position: 0,
        }
    }

    /// The finals of a whole recording.
    pub fn transcribe(&self, pcm: &[f32]) -> Result<Vec<Utterance>> {
        let (sender, finals) = std::sync::mpsc::channel();
        let sender = std::sync::Mutex::new(sender);
        let mut channel = self.open(Box::new(move |u: Utterance| {
            if u.is_final && !u.text.is_empty() {
                // The receiver lives until the channel has finished.
                sender.lock().unwrap_or_else(std::sync::PoisonError::into_inner).send(u).ok();
            }
        }));
        // A little at a time, waiting for the workers: as live, but at their pace.
        for piece in pcm.chunks(RATE / 2) {
            channel.push(piece)?;
            channel.shared.queue.wait_for(&channel.channel);
        }
        channel.finish()?;
        Ok(finals.try_iter().collect())
    }
}

/// A private pool of one thread: parallel work comes from many workers, not from many threads for one clip.
fn one_thread() -> RunOptions {
    RunOptions::default().with_thread_pool(Some(Arc::new(ThreadPool::with_num_threads(1))))
}

/// One stream of sound on its way to words.
pub struct LiveChannel {
    channel: Arc<Channel>,
    shared: Arc<Shared>,
    _workers: Arc<Workers>,
    gain: Gain,
    vad: VadState,
    options: RunOptions,
    frame: [f32; FRAME],
    filled: usize,
    position: u64,
}

impl LiveChannel {
    /// 16 kHz, one channel, in pieces of any size. Runs the VAD; decoding is left to the workers.
    pub fn push(&mut self, pcm: &[f32]) -> Result<()> {
        self.position += pcm.len() as u64;
        for sample in pcm {
            self.frame[self.filled] = *sample;
            self.filled += 1;
            if self.filled == FRAME {
                self.filled = 0;
                self.hear()?;
            }
        }
        Ok(())
    }

    /// Samples pushed so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// No more sound: what is being said becomes final. Returns when the sink has had everything.
    pub fn finish(mut self) -> Result<()> {
        if self.filled > 0 {
            self.frame[self.filled..].fill(0.0);
            self.hear()?;
        }
        let mut state = self.channel.state();
        if state.segmenter.is_open {
            let close = state.segmenter.end();
            self.shared.close(&self.channel, &mut state, close);
        }
        drop(state);
        self.shared.queue.wait_for(&self.channel);
        Ok(())
    }

    /// One whole frame.
    fn hear(&mut self) -> Result<()> {
        self.gain.apply(&mut self.frame);
        let probability = self.shared.silero.run(&self.frame, &mut self.vad, &self.options)?;
        let (shared, config) = (&self.shared, &self.shared.config);
        let wait = shared.queue.wait_time();
        let mut state = self.channel.state();
        state.hear(&self.frame);
        if let Some(close) = state.segmenter.push(probability) {
            shared.close(&self.channel, &mut state, close);
        }
        state.forget(config.context);
        if let Some(kind) = state.due(config, wait) {
            (state.is_busy, state.asked, state.paused) = (true, state.segmenter.now, state.segmenter.speech_end);
            let utterance = state.segmenter.count;
            shared.ask(kind, &self.channel, utterance, None);
        }
        Ok(())
    }
}

impl Shared {
    fn close(&self, channel: &Arc<Channel>, state: &mut State, close: super::segment::Close) {
        if let Some((utterance, clip, done)) = state.close(close, &self.config) {
            self.ask(Kind::Final, channel, utterance, Some((clip, done)));
        }
    }

    fn ask(&self, kind: Kind, channel: &Arc<Channel>, utterance: u64, closed: Option<(Clip, Option<Decoded>)>) {
        self.queue.push(Job { kind, channel: channel.clone(), utterance, asked: Instant::now(), closed });
    }

    /// A worker's life.
    fn work(&self) {
        let options = one_thread();
        while let Some(job) = self.queue.take() {
            let (channel, kind) = (job.channel.clone(), job.kind);
            if let Err(error) = self.run(job, &options) {
                tracing::error!(%error, "an utterance could not be decoded");
                channel.state().is_busy = false;
            }
            self.queue.done(&channel, kind);
        }
    }

    fn run(&self, job: Job, options: &RunOptions) -> Result<()> {
        let waited = job.asked.elapsed();
        let (clip, done) = match job.closed {
            Some(closed) => closed,
            None => {
                let mut state = job.channel.state();
                if !state.is_open(job.utterance) {
                    return Ok(()); // closed meanwhile: its final is in the queue
                }
                state.asked = state.segmenter.now;
                (state.clip(state.segmenter.now, self.config.context), None)
            }
        };
        let began = Instant::now();
        let decoded = match done {
            Some(decoded) => decoded,
            None => self.decode(&clip, job.kind, options)?,
        };
        let computed = began.elapsed();
        let keep = self.is_speech(&decoded, &clip);
        let mut utterance = self.utterance(job.utterance, job.kind, &clip, &decoded);
        (utterance.waited, utterance.computed) = (span(waited), span(computed));
        let mut state = job.channel.state();
        let told = if job.kind == Kind::Final {
            if keep && !decoded.hypothesis.looped {
                state.remember(&decoded.words);
            }
            if !keep {
                utterance.text.clear();
                utterance.words.clear();
            }
            keep || state.shown == job.utterance
        } else {
            if !state.is_open(job.utterance) {
                return Ok(());
            }
            (state.is_busy, state.cost) = (false, computed.as_secs_f32());
            utterance.stable_words = self.settle(&mut state, &decoded);
            if job.kind == Kind::Pause {
                state.complete = Some(decoded);
            }
            if keep {
                state.shown = job.utterance;
            }
            keep
        };
        drop(state);
        if told {
            job.channel.tell(utterance);
        }
        Ok(())
    }

    /// Takes over a new hypothesis; how many of its words two in a row agree on.
    fn settle(&self, state: &mut State, decoded: &Decoded) -> usize {
        let new = &decoded.hypothesis.tokens;
        state.stable = self.agree(&state.heard, new).max(state.stable.min(new.len()));
        state.heard.clone_from(new);
        self.moonshine.vocabulary.words(&new[..state.stable]).len()
    }

    fn decode(&self, clip: &Clip, kind: Kind, options: &RunOptions) -> Result<Decoded> {
        let known = clip.context.len();
        // Speech earns tokens, silence does not.
        let tokens = known + (clip.spoken(self.config.segment.off) * self.config.token_rate) as usize + 6;
        let is_interim = kind == Kind::Interim;
        // Only interims owe the reader their stable words; a pause may become the final and may correct them.
        let force = known + if is_interim { clip.stable } else { 0 };
        // A draft saves most of an interim's work, but batched logits differ a little from single steps: finals go without.
        let draft = [&clip.context[..], if is_interim { &clip.draft[..] } else { &[] }].concat();
        let encoded = self.moonshine.encode(&clip.pcm, options)?;
        let mut hypothesis = self.moonshine.decode(&encoded, &Limits { draft: &draft, force, tokens }, options)?;
        if known > 0 && hypothesis.tokens.len() <= known {
            // The context talked the decoder into stopping: once more without it.
            return self.decode(&clip.alone(), kind, options);
        }
        let mut words =
            if is_interim { Vec::new() } else { self.moonshine.align(&encoded, &hypothesis.tokens, options)? };
        hypothesis.tokens.drain(..known);
        hypothesis.log_probabilities.drain(..known);
        let own = self.moonshine.vocabulary.words(&hypothesis.tokens).len().min(words.len());
        words.drain(..words.len() - own);
        clip.place(&mut words, self.config.segment.off);
        Ok(Decoded { speech_end: clip.speech_end, hypothesis, words })
    }

    /// Tokens at the front that two hypotheses in a row agree on: whole words, compared without case and punctuation, and not the
    /// newest one, which may be half a word.
    fn agree(&self, old: &[u32], new: &[u32]) -> usize {
        let vocabulary = &self.moonshine.vocabulary;
        let (a, b) = (vocabulary.words(old), vocabulary.words(new));
        let last = a.len().min(b.len()).saturating_sub(1);
        let same = |(a, b): &(&&[u32], &&[u32])| score::words(&vocabulary.text(a)) == score::words(&vocabulary.text(b));
        a.iter().zip(&b).take(last).take_while(same).map(|(_, b)| b.len()).sum()
    }

    fn is_speech(&self, decoded: &Decoded, clip: &Clip) -> bool {
        !decoded.hypothesis.tokens.is_empty()
            && clip.peak() >= self.config.least_peak
            && decoded.hypothesis.mean() >= self.config.least_confidence
    }

    fn utterance(&self, number: u64, kind: Kind, clip: &Clip, decoded: &Decoded) -> Utterance {
        let is_final = kind == Kind::Final;
        let spoken = |w: &ClipWord| SpokenWord { text: w.text.clone(), start: media(w.start), end: media(w.end) };
        let words: Vec<SpokenWord> = if is_final { decoded.words.iter().map(spoken).collect() } else { Vec::new() };
        Utterance {
            number,
            is_final,
            start: media(seconds(clip.start)),
            end: media(seconds(clip.speech_end)),
            text: self.moonshine.vocabulary.text(&decoded.hypothesis.tokens),
            stable_words: words.len(),
            words,
            confidence: f64::from(decoded.hypothesis.mean().exp()),
            waited: Span::ZERO,
            computed: Span::ZERO,
        }
    }
}

fn media(seconds: f32) -> MediaTime {
    MediaTime((f64::from(seconds) * 1e6) as i64)
}

fn span(duration: std::time::Duration) -> Span {
    Span(duration.as_micros() as i64)
}
