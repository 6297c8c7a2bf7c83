//! The live transcriber: channels that take sound as it comes, and a few workers that decode for all of them (`worker.rs`).
//! Interims show an utterance as it grows and give way under load; a final comes once, is never taken back, and never given up for speed.
//! Finals may come from a provider; then the local model, if it is there, shows interims and stands in when the provider fails.

use std::path::Path;
use std::sync::Arc;

use rten::{RunOptions, ThreadPool};
use vitascope_model::error::Context;
pub use vitascope_model::transcript::SpokenWord;
use vitascope_model::{Error, MediaTime, Result, Span};

use super::channel::State;
use super::gain::Gain;
use super::local::Local;
use super::queue::{Channel, Due, Queue, Role, Urgency};
use super::remote::Remote;
use super::segment::SegmentConfig;
use super::vad::{Silero, VadState};
use super::worker::Shared;
use super::{FRAME, RATE};

/// Finals of one channel that may wait. A channel that has more is not heard further until one is done: its sound waits where it is small.
const MOST_FINALS: usize = 8;

#[derive(Clone, Debug)]
pub struct LiveConfig {
    pub segment: SegmentConfig,
    pub interims: bool,
    /// Seconds between interims when idle; load stretches it up to `slowest`.
    pub interval: f64,
    pub slowest: f64,
    /// Results with a lower mean log probability, or a lower peak or mean of the VAD, are dropped. Speech had means from 0.92 on, through
    /// a telephone, in noise and 30 dB down too; what music and breath were taken for had 0.67 to 0.76.
    pub least_confidence: f32,
    pub least_peak: f32,
    pub least_voice: f32,
    /// Seconds of sound to decode at least, filled up with what was said just before.
    pub context: f64,
    /// Tokens allowed for a second of speech.
    pub token_rate: f64,
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
            least_voice: 0.8,
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

/// Ends the workers when the last transcriber and channel are gone.
struct Workers(Arc<Shared>);

impl Drop for Workers {
    fn drop(&mut self) {
        self.0.queue.stop();
    }
}

/// Work that waits for a worker, and interims that came too late to be shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pressure {
    pub jobs: usize,
    pub finals: usize,
    pub dropped_interims: u64,
}

/// How far one channel's finals are behind, for whoever watches it.
#[derive(Clone)]
pub struct ChannelWatch(Due);

impl ChannelWatch {
    /// How long the oldest final that is still to come has been due.
    pub fn oldest_final(&self) -> Span {
        self.0.oldest().map_or(Span::ZERO, |at| Span(at.elapsed().as_micros() as i64))
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
        LiveTranscriber::load_with(models, config, workers, None)
    }

    /// The same with finals from a provider. The voice activity detector must be there; without Moonshine there are no interims, and what
    /// the provider fails to hear is a gap.
    pub fn load_with(
        models: &Path,
        mut config: LiveConfig,
        workers: usize,
        remote: Option<Remote>,
    ) -> Result<LiveTranscriber> {
        crate::models::Installed::read(models)?;
        let local = if Local::is_in(models) { Some(Local::load(models)?) } else { None };
        if local.is_none() && remote.is_none() {
            return Err(Error::unavailable(format!(
                "no speech model in {}; ./run setup installs it",
                models.display()
            )));
        }
        config.interims &= local.is_some();
        let calls = remote.as_ref().map_or(0, Remote::at_once);
        let silero = Silero::load(models)?;
        let shared = Arc::new(Shared { config, local, remote, silero, queue: Queue::default() });
        let start = |name: String, role: Role| {
            let shared = shared.clone();
            std::thread::Builder::new().name(name).spawn(move || shared.work(role)).internal("start a speech worker")
        };
        for n in 0..workers.max(1) {
            start(format!("speech-{n}"), if calls == 0 { Role::All } else { Role::Drafts })?;
        }
        for n in 0..calls {
            start(format!("speech-remote-{n}"), Role::Finals)?;
        }
        Ok(LiveTranscriber { workers: Arc::new(Workers(shared.clone())), shared })
    }

    /// How busy the workers are.
    pub fn pressure(&self) -> Pressure {
        let (jobs, finals) = self.shared.queue.depth();
        Pressure { jobs, finals, dropped_interims: self.shared.queue.dropped() }
    }

    /// A new channel. Its utterances are given to `sink` in order, from a worker's thread.
    pub fn open(&self, sink: Box<dyn Fn(Utterance) + Send + Sync>) -> LiveChannel {
        self.open_as(Urgency::Live, sink)
    }

    /// A channel for what was recorded: it has no interims, is heard as fast as the workers are free, and gives way to all that is live.
    pub fn open_recording(&self, sink: Box<dyn Fn(Utterance) + Send + Sync>) -> LiveChannel {
        self.open_as(Urgency::Recorded, sink)
    }

    fn open_as(&self, urgency: Urgency, sink: Box<dyn Fn(Utterance) + Send + Sync>) -> LiveChannel {
        LiveChannel {
            channel: Arc::new(Channel::new(State::new(&self.shared.config), urgency, sink)),
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
pub(super) fn one_thread() -> RunOptions {
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

    pub fn watch(&self) -> ChannelWatch {
        ChannelWatch(self.channel.due())
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
        let close = state.segmenter.push(probability);
        if let Some(close) = close {
            if self.channel.urgency == Urgency::Recorded {
                // What was said before is the context of what follows: with all of it, a recording is heard the same each time.
                drop(state);
                shared.queue.wait_for(&self.channel);
                state = self.channel.state();
            }
            shared.close(&self.channel, &mut state, close);
        }
        state.forget(config.context);
        let due = if self.channel.urgency == Urgency::Live { state.due(config, wait) } else { None };
        if let Some(kind) = due {
            (state.is_busy, state.asked, state.paused) = (true, state.segmenter.now, state.segmenter.speech_end);
            let utterance = state.segmenter.count;
            shared.ask(kind, &self.channel, utterance, None);
        }
        drop(state);
        if close.is_some() {
            shared.queue.wait_below(&self.channel, MOST_FINALS);
        }
        Ok(())
    }
}
