//! The live transcript: one analyser per rtstream, from its feed to finals in the store and frames on sockets.
//! Decoding and speech run on threads of their own; the speech models are loaded once, when the first session starts.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OnceCell, mpsc};
use tokio::task::JoinHandle;
use vitascope_ai::speech::{LiveChannel, LiveConfig, LiveTranscriber, Utterance};
use vitascope_media::codec::{Codec, Sample};
use vitascope_media::pcm::{AacDecoder, SpeechResampler};
use vitascope_model::error::Context;
use vitascope_model::id::{ConnectionId, RtStreamId};
use vitascope_model::rtstream::{RtStream, Transcription};
use vitascope_model::transcript::{TranscriptRecord, Word};
use vitascope_model::{MediaTime, Result, Span, WallTime};

use super::feed::{Ear, Heard, Tap, tap};
use crate::app::App;
use crate::app::transcript::record_final;

/// The rate that speech models hear.
const RATE: u32 = 16_000;
/// Samples may be so far off the line that those before them draw; further off, time is set anew.
const TOLERANCE: Span = Span::millis(60);
/// A gap is heard as silence, but no longer than it takes to end an utterance.
const MOST_SILENCE: Span = Span::seconds(2);
/// Sockets that may hear one rtstream.
const MOST_CONNECTIONS: usize = 16;
/// Places in time that are remembered; an utterance spans a few of them at the most.
const MOST_ANCHORS: usize = 64;

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

type Listeners = Arc<Mutex<Vec<ConnectionId>>>;

struct Running {
    listeners: Listeners,
    /// The tap that its feed has as well: to tell the feed which one goes.
    stop: Tap,
    teller: JoinHandle<()>,
}

/// The analysers at work, and the models they share.
pub struct Transcriber {
    models: PathBuf,
    workers: usize,
    loaded: OnceCell<LiveTranscriber>,
    running: Mutex<HashMap<RtStreamId, Running>>,
}

impl Transcriber {
    pub fn new(models: PathBuf, workers: usize) -> Transcriber {
        Transcriber { models, workers, loaded: OnceCell::new(), running: Mutex::default() }
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
            let (models, workers) = (self.models.clone(), self.workers);
            let load = move || LiveTranscriber::load(&models, LiveConfig::default(), workers);
            tokio::task::spawn_blocking(load).await.internal("load the speech models")?
        };
        self.loaded.get_or_try_init(load).await.cloned()
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
    if app.transcriber.join(&stream.id, connection.as_ref()) {
        return Ok(());
    }
    let speech = app.transcriber.speech().await?;
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
    app.ingest.feed(&stream.id).subscribe(0, stop.clone());
    let (said, utterances) = mpsc::unbounded_channel();
    let line = Arc::new(TimeLine::default());
    let channel = speech.open(Box::new({
        let line = line.clone();
        move |utterance| {
            // The teller ends only after this channel has.
            said.send(line.frame(utterance)).ok();
        }
    }));
    let analyser = Analyser { channel, line, sound: None, position: 0 };
    let id = stream.id.clone();
    app.tracker.spawn_blocking(move || {
        if let Err(error) = analyser.run(heard) {
            tracing::error!(rtstream.id = %id, %error, "a live transcript broke off");
        }
    });
    let teller = app.tracker.spawn(tell(app.clone(), stream.clone(), listeners.clone(), utterances));
    running.insert(stream.id.clone(), Running { listeners, stop, teller });
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

/// Stores finals, then tells listeners; interims are only told.
async fn tell(app: App, stream: RtStream, listeners: Listeners, mut frames: mpsc::UnboundedReceiver<TranscriptFrame>) {
    while let Some(frame) = frames.recv().await {
        if frame.is_final && !frame.text.is_empty() {
            app.metrics.transcript_final(app.now() - frame.end);
            let record = TranscriptRecord {
                rtstream_id: stream.id.clone(),
                start: frame.start,
                end: frame.end,
                text: frame.text.clone(),
                words: frame.words.clone(),
                confidence: frame.confidence,
            };
            if let Err(error) = record_final(&app, record).await {
                tracing::error!(rtstream.id = %stream.id, %error, "an utterance could not be stored");
                continue;
            }
        }
        let told = listeners.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for connection in &told {
            app.sockets.transcript(&stream, Some(connection), &frame, app.now());
        }
    }
}

/// Feed to speech, on a thread of its own.
struct Analyser {
    channel: LiveChannel,
    line: Arc<TimeLine>,
    sound: Option<(AacDecoder, SpeechResampler)>,
    /// Samples given to the channel.
    position: u64,
}

impl Analyser {
    fn run(mut self, mut heard: Ear) -> Result<()> {
        let mut pcm = Vec::with_capacity(1024);
        while let Some(said) = heard.blocking_recv() {
            match said {
                Heard::Codec(_, codec) => {
                    if let Codec::Aac { rate, channels, .. } = codec {
                        self.sound = Some((AacDecoder::new(&codec)?, SpeechResampler::new(rate, channels)));
                    }
                }
                Heard::Sample(_, sample) => self.hear(&sample, &mut pcm)?,
            }
        }
        self.channel.finish()
    }

    fn hear(&mut self, sample: &Sample, pcm: &mut Vec<f32>) -> Result<()> {
        let Some((decoder, resampler)) = &mut self.sound else { return Ok(()) };
        pcm.clear();
        if let Some(silence) = self.line.place(self.position, sample.wall) {
            pcm.resize(silence.to_ticks(RATE) as usize, 0.0);
            self.line.anchor(self.position + pcm.len() as u64, sample.wall);
        }
        resampler.push(decoder.decode(&sample.data), pcm);
        self.position += pcm.len() as u64;
        self.channel.push(pcm)
    }
}

/// From positions in what was heard to wall time: a line that is set anew where the sound has a gap.
#[derive(Default)]
struct TimeLine(Mutex<Vec<(u64, WallTime)>>);

impl TimeLine {
    fn anchor(&self, position: u64, wall: WallTime) {
        let mut anchors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if anchors.len() == MOST_ANCHORS {
            anchors.remove(0);
        }
        anchors.push((position, wall));
    }

    fn wall(&self, at: MediaTime) -> WallTime {
        let position = Span(at.0).to_ticks(RATE) as u64;
        let anchors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = anchors.iter().rev().find(|(from, _)| *from <= position).or(anchors.first());
        let (from, wall) = found.copied().unwrap_or_default();
        wall + Span::of_ticks(position as i64 - from as i64, RATE)
    }

    /// Where sound of `wall` does not follow at `position`: how much silence is to be heard before time is set anew.
    fn place(&self, position: u64, wall: WallTime) -> Option<Span> {
        let anchors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((from, at)) = anchors.last().copied() else { return Some(Span::ZERO) };
        let expected = at + Span::of_ticks(position as i64 - from as i64, RATE);
        let off = wall - expected;
        (off.0.abs() > TOLERANCE.0).then(|| off.clamp(Span::ZERO, MOST_SILENCE))
    }

    fn frame(&self, utterance: Utterance) -> TranscriptFrame {
        let word = |w: vitascope_ai::speech::SpokenWord| Word {
            text: w.text,
            start: self.wall(w.start),
            end: self.wall(w.end),
        };
        TranscriptFrame {
            is_final: utterance.is_final,
            start: self.wall(utterance.start),
            end: self.wall(utterance.end),
            words: utterance.words.into_iter().map(word).collect(),
            text: utterance.text,
            confidence: utterance.confidence,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_become_wall_times_across_a_gap() {
        let line = TimeLine::default();
        let at = |seconds| WallTime(1_800_000_000_000_000) + Span::seconds(seconds);
        assert_eq!(line.place(0, at(0)), Some(Span::ZERO), "the first sound sets the line");
        line.anchor(0, at(0));
        assert_eq!(line.place(16_000, at(1) + Span::millis(50)), None, "on the line");
        assert_eq!(line.place(16_000, at(10)), Some(MOST_SILENCE));
        line.anchor(48_000, at(10));
        assert_eq!(line.wall(MediaTime(500_000)), at(0) + Span::millis(500));
        assert_eq!(line.wall(MediaTime(4_000_000)), at(11));
    }
}
