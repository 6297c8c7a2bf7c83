//! The live transcript: one analyser per rtstream (`hearing.rs`), from its feed to finals in the store and frames on sockets.
//! What was said stays: a final is told once, overlaps none before it, and what the store has is not heard again, not after a restart either.
//! Decoding and speech run on threads of their own; the speech models are loaded once, when the first session starts.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OnceCell, mpsc};
use tokio::task::JoinHandle;
use vitascope_ai::provider::ProviderConfig;
use vitascope_ai::speech::{ChannelWatch, LiveChannel, LiveConfig, LiveTranscriber, Pressure, Remote, Utterance};
use vitascope_model::error::Context;
use vitascope_model::id::{ConnectionId, EventId, RtStreamId};
use vitascope_model::rtstream::{RtStream, Transcription};
use vitascope_model::transcript::{TranscriptRecord, Word};
use vitascope_model::{Error, Result, Span, WallTime};

use super::feed::{Feed, Tap, tap};
use super::hearing::{Analyser, Progress, TimeLine};
use crate::app::transcript::record_final;
use crate::app::usage::Tally;
use crate::app::{App, mint};
use crate::config::Config;
use crate::events::{Place, frames};

/// Sockets that may hear one rtstream.
const MOST_CONNECTIONS: usize = 16;

/// What a socket is told.
#[derive(Clone, Debug)]
pub struct TranscriptFrame {
    pub text: String,
    pub is_final: bool,
    pub start: WallTime,
    pub end: WallTime,
    pub words: Vec<Word>,
    pub confidence: f64,
}

/// The lines of connections that listen.
type Listeners = Arc<Mutex<Vec<ConnectionId>>>;

struct Running {
    listeners: Listeners,
    /// The tap that its feed has as well: to tell the feed which one goes.
    stop: Tap,
    teller: JoinHandle<()>,
    feed: Arc<Feed>,
    progress: Progress,
    finals: ChannelWatch,
}

impl Running {
    /// How far words are behind the sound: what is not heard yet, and the oldest final that is due.
    fn lag(&self) -> Span {
        self.progress.behind(&self.feed) + self.finals.oldest_final()
    }
}

/// How one live transcript keeps up.
pub struct Keeping {
    pub rtstream_id: RtStreamId,
    pub lag: Span,
    /// Samples that it was too slow to hear.
    pub missed: u64,
}

/// The analysers at work, and the models they share.
pub struct Transcriber {
    models: PathBuf,
    workers: usize,
    provider: Option<ProviderConfig>,
    loaded: OnceCell<LiveTranscriber>,
    running: Mutex<HashMap<RtStreamId, Running>>,
}

impl Transcriber {
    pub fn new(config: &Config) -> Transcriber {
        Transcriber {
            models: config.models_dir.clone(),
            workers: config.speech_workers,
            provider: config.transcribe.clone(),
            loaded: OnceCell::new(),
            running: Mutex::default(),
        }
    }

    /// Loads the models in the background; an error is told to who asks for a transcript.
    pub fn warm(&self, app: &App) {
        let warming = app.clone();
        app.spawn(async move {
            if let Err(error) = warming.transcriber.speech().await {
                tracing::warn!(%error, "no live transcripts");
            }
        });
    }

    async fn speech(&self) -> Result<LiveTranscriber> {
        let load = async || {
            let (models, workers, provider) = (self.models.clone(), self.workers, self.provider.clone());
            let runtime = tokio::runtime::Handle::current();
            let load = move || {
                let remote = provider.map(|config| Remote::new(config, runtime)).transpose()?;
                LiveTranscriber::load_with(&models, LiveConfig::default(), workers, remote)
            };
            tokio::task::spawn_blocking(load).await.internal("load the speech models")?
        };
        self.loaded.get_or_try_init(load).await.cloned()
    }

    /// Hears what was recorded, when nothing live wants the models.
    pub async fn open_recording(&self, sink: Box<dyn Fn(Utterance) + Send + Sync>) -> Result<LiveChannel> {
        Ok(self.speech().await?.open_recording(sink))
    }

    /// Whether a language can be written down with what is configured.
    pub fn check_language(&self, language: &str) -> Result<()> {
        if language == "en" {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "language_code {language:?} cannot be transcribed here: the speech model writes English (en)"
        )))
    }

    /// What waits for the speech models.
    pub fn pressure(&self) -> Pressure {
        self.loaded.get().map(LiveTranscriber::pressure).unwrap_or_default()
    }

    pub fn keeping(&self) -> Vec<Keeping> {
        let running = self.running();
        let keeping = |(id, r): (&RtStreamId, &Running)| Keeping {
            rtstream_id: id.clone(),
            lag: r.lag(),
            missed: r.feed.missed(),
        };
        running.iter().map(keeping).collect()
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<RtStreamId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it runs already; then `connection` hears it too.
    fn join(&self, id: &RtStreamId, connection: Option<&ConnectionId>) -> bool {
        let running = self.running();
        let Some(found) = running.get(id) else { return false };
        if let Some(connection) = connection {
            listen(&found.listeners, connection);
        }
        true
    }
}

fn listen(listeners: &Listeners, connection: &ConnectionId) {
    let mut listeners = listeners.lock().unwrap_or_else(PoisonError::into_inner);
    listeners.retain(|c| c != connection);
    if listeners.len() == MOST_CONNECTIONS {
        listeners.remove(0);
    }
    listeners.push(connection.clone());
}

/// Writes down what an rtstream says, from the last half minute on. A second start adds a listener.
pub async fn start(app: &App, stream: &RtStream, connection: Option<ConnectionId>) -> Result<()> {
    let connection = match connection {
        Some(id) => Some(app.store.line_of(&id).await?),
        None => None,
    };
    if app.transcriber.join(&stream.id, connection.as_ref()) {
        return Ok(());
    }
    let speech = app.transcriber.speech().await?;
    let said = Said { until: app.store.last_transcript_end(&stream.id).await?.unwrap_or_default() };
    let listeners = Listeners::default();
    if let Some(connection) = &connection {
        listen(&listeners, connection);
    }
    // Nobody else may have begun while the models were loading.
    let mut running = app.transcriber.running();
    if running.contains_key(&stream.id) {
        drop(running);
        app.transcriber.join(&stream.id, connection.as_ref());
        return Ok(());
    }
    let (stop, heard) = tap();
    let feed = app.ingest.feed(&stream.id);
    feed.subscribe(0, stop.clone());
    let (saying, utterances) = mpsc::unbounded_channel();
    let line = Arc::new(TimeLine::default());
    let channel = speech.open(Box::new({
        let line = line.clone();
        move |utterance| {
            // The teller ends only after this channel has.
            saying.send(line.frame(utterance)).ok();
        }
    }));
    let (finals, progress) = (channel.watch(), Progress::default());
    let analyser =
        Analyser::new(channel, line, said.until, progress.clone(), feed.clone(), Tally::of(app, &stream.owner));
    let id = stream.id.clone();
    app.tracker.spawn_blocking(move || {
        if let Err(error) = analyser.run(heard) {
            tracing::error!(rtstream.id = %id, %error, "a live transcript broke off");
        }
    });
    let teller = app.tracker.spawn(tell(app.clone(), stream.clone(), listeners.clone(), said, utterances));
    running.insert(stream.id.clone(), Running { listeners, stop, teller, feed, progress, finals });
    Ok(())
}

/// After a restart: a transcript that was running goes on when its publisher comes back.
pub(super) async fn resume(app: &App, stream: &RtStream) {
    if !matches!(stream.transcription, Transcription::Running { .. }) || app.transcriber.join(&stream.id, None) {
        return;
    }
    let connection = app.store.transcription_connection(&stream.id).await.ok().flatten();
    if let Err(error) = start(app, stream, connection.and_then(|c| c.parse().ok())).await {
        tracing::warn!(rtstream.id = %stream.id, %error, "a live transcript could not go on");
    }
}

/// Ends a transcript; what was being said becomes final first.
pub async fn stop(app: &App, id: &RtStreamId) -> Result<()> {
    finish(app, id).await;
    Ok(())
}

pub(super) async fn finish(app: &App, id: &RtStreamId) {
    let found = app.transcriber.running().remove(id);
    let Some(Running { stop, teller, .. }) = found else { return };
    // The analyser hears the end when the last sender is gone: the feed's, and ours.
    app.ingest.unsubscribe(id, &stop);
    drop(stop);
    if let Err(error) = teller.await {
        tracing::error!(rtstream.id = %id, %error, "a live transcript failed");
    }
}

/// Stores finals with their events, which the outbox tells; interims are only told.
async fn tell(
    app: App,
    stream: RtStream,
    listeners: Listeners,
    mut said: Said,
    mut frames: mpsc::UnboundedReceiver<TranscriptFrame>,
) {
    while let Some(mut frame) = frames.recv().await {
        said.place(&mut frame);
        let listening = listeners.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !frame.is_final || frame.text.is_empty() {
            let at = Place { owner: &stream.owner, collection: Some(&stream.collection_id) };
            app.sockets.tell_interim(at, &listening, frames::interim(&stream, &frame, app.now()));
        } else if let Err(error) = tell_final(&app, &stream, &frame, listening).await {
            tracing::error!(rtstream.id = %stream.id, %error, "an utterance could not be stored");
        }
    }
}

async fn tell_final(app: &App, stream: &RtStream, frame: &TranscriptFrame, to: Vec<ConnectionId>) -> Result<()> {
    let now = app.now();
    app.metrics.transcript_final(now - frame.end);
    let record = TranscriptRecord {
        rtstream_id: stream.id.clone(),
        start: frame.start,
        end: frame.end,
        text: frame.text.clone(),
        words: frame.words.clone(),
        confidence: frame.confidence,
    };
    let event = frames::final_event(stream, frame, to, mint!(app, EventId), now);
    let seq = record_final(app, record, event).await?;
    // The interims of the next utterance come after it.
    app.sockets.wait_told(app, seq).await;
    Ok(())
}

/// Up to where an rtstream's transcript stands.
struct Said {
    until: WallTime,
}

impl Said {
    /// Nothing that follows a final begins before it ends: a publisher's clock may step back, what was said does not.
    fn place(&mut self, frame: &mut TranscriptFrame) {
        frame.start = frame.start.max(self.until);
        frame.end = frame.end.max(frame.start);
        let mut from = frame.start;
        for word in &mut frame.words {
            word.start = word.start.clamp(from, frame.end);
            word.end = word.end.clamp(word.start, frame.end);
            from = word.start;
        }
        if frame.is_final && !frame.text.is_empty() {
            // The store tells finals apart by where they begin.
            frame.end = frame.end.max(frame.start + Span(1));
            self.until = frame.end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finals_never_overlap_though_the_clock_steps_back() {
        let at = |millis| WallTime(1_800_000_000_000_000) + Span::millis(millis);
        let frame = |start, end, is_final| TranscriptFrame {
            text: "no".into(),
            is_final,
            start: at(start),
            end: at(end),
            words: vec![Word { text: "no".into(), start: at(start), end: at(end) }],
            confidence: 1.0,
        };
        let mut said = Said { until: at(500) };
        let mut spans = Vec::new();
        for (start, end) in [(400, 900), (1000, 2000), (1500, 1800), (1400, 2600)] {
            for is_final in [false, true] {
                let mut frame = frame(start, end, is_final);
                said.place(&mut frame);
                assert!(frame.words[0].start >= frame.start && frame.words[0].end <= frame.end);
                spans.push((frame.start, frame.end, is_final));
            }
        }
        let finals: Vec<_> = spans.iter().filter(|s| s.2).collect();
        assert_eq!(
            (finals[0].0, finals[1].0, finals[1].1),
            (at(500), at(1000), at(2000)),
            "only what overlaps is moved"
        );
        assert!(finals.windows(2).all(|f| f[0].1 <= f[1].0 && f[0].0 < f[1].0), "{finals:?}");
        assert!(spans.windows(2).all(|f| !f[0].2 || f[0].1 <= f[1].0), "interims too: {spans:?}");
    }
}
