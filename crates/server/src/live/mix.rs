//! The mix of a capture session's stored sound: a track of its own that grows during the session, so that an export has its sound ready.
//! Each stored audio channel is heard through its feed, decoded, placed by wall time, summed, and encoded again; pauses are silence.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use vitascope_media::codec::Codec;
use vitascope_media::encoder::{AudioEncoder, AudioFeed, AudioPlan, Encoded, PcmFormat};
use vitascope_media::pcm::{AacDecoder, Mixer, StereoResampler};
use vitascope_model::capture::MediaKind;
use vitascope_model::id::CaptureSessionId;
use vitascope_model::{Result, Span, WallTime};

use super::feed::{Ear, Heard, tap};
use super::recording::Recording;
use crate::app::App;
use crate::app::recording::open_mix_track;

/// How long the mix waits for a channel that is late.
const PATIENCE: Span = Span::millis(1500);
/// So near to what is mixed already, sound counts as late: the mixer may place it a little before its wall time.
const LATE: Span = Span::millis(40);
/// Of 1024 at 48 kHz.
const HALF_FRAME: Span = Span(10_667);
const TICK: Duration = Duration::from_millis(250);
pub(super) const KBPS: u32 = 128;

/// The mixes at work.
#[derive(Default)]
pub(super) struct Mixes(Mutex<HashMap<CaptureSessionId, JoinHandle<()>>>);

impl Mixes {
    /// Waits until the mix of a session has heard the end of its feeds and is sealed.
    pub(super) async fn finish(&self, id: &CaptureSessionId) {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        if let Some(task) = running
            && let Err(error) = task.await
        {
            tracing::error!(session.id = %id, %error, "a mix failed");
        }
    }
}

/// Sees that the session's stored sound is mixed from now on.
pub(super) async fn ensure(app: &App, session: Option<&CaptureSessionId>) -> Result<()> {
    let Some(id) = session else { return Ok(()) };
    let Some(session) = app.store.find_session(id).await? else { return Ok(()) };
    let stored = session.channels.into_iter().filter(|c| c.kind == MediaKind::Audio && c.store);
    let feeds: Vec<_> = stored.map(|c| app.ingest.feed(&c.rtstream_id)).collect();
    let mut mixes = app.ingest.mixes.0.lock().unwrap_or_else(PoisonError::into_inner);
    if feeds.is_empty() || mixes.contains_key(id) {
        return Ok(());
    }
    let (tap, heard) = tap();
    for (number, feed) in feeds.iter().enumerate() {
        feed.subscribe(number, tap.clone());
    }
    drop(tap);
    let (app, session_id) = (app.clone(), id.clone());
    let task = app.tracker.clone().spawn(async move {
        if let Err(error) = run(&app, &session_id, heard).await {
            tracing::error!(session.id = %session_id, %error, "the sound of a session could not be mixed");
        }
    });
    mixes.insert(id.clone(), task);
    Ok(())
}

async fn run(app: &App, id: &CaptureSessionId, mut heard: Ear) -> Result<()> {
    let mut inputs = Inputs::default();
    // The mix begins with the first sound of any channel.
    let Some(start) = inputs.first(&mut heard).await? else { return Ok(()) };
    let mut mixer = Mixer::new(start);
    inputs.start = start;
    inputs.mix_waiting(&mut mixer);
    let AudioEncoder { feed, output } = AudioEncoder::start(&AudioPlan { format: PcmFormat::F32, kbps: KBPS }, start)?;
    let track = open_mix_track(app, id).await?;
    let writer = app.tracker.spawn(record(app.clone(), track.id, output, WallTime(0)));
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            said = heard.recv() => match said {
                Some(said) => inputs.hear(said, &mut mixer)?,
                None => break,
            },
            _ = ticks.tick() => encode(&feed, &mixer.pull(app.now() - PATIENCE)),
        }
    }
    encode(&feed, &mixer.pull(inputs.end));
    if inputs.late > 0 {
        tracing::info!(session.id = %id, blocks = inputs.late, "some sound lay before the mix, or came too late for it");
    }
    drop(feed);
    use vitascope_model::error::Context;
    writer.await.internal("record a mix")?
}

/// Writes what the encoder gives to the mix track, until it ends. What lies before `from` is left out: the track has it.
pub(super) async fn record(
    app: App,
    track: vitascope_model::id::TrackId,
    mut output: vitascope_media::encoder::Output,
    from: WallTime,
) -> Result<()> {
    let mut recording = None;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let encoded = tokio::select! {
            encoded = output.recv() => encoded,
            _ = ticks.tick() => {
                recording.as_mut().map_or(Ok(()), Recording::tick)?;
                continue;
            }
        };
        match (encoded.transpose()?, &mut recording) {
            (Some(Encoded::Codec(codec)), None) => recording = Some(Recording::open(&app, &track, codec)?),
            (Some(Encoded::Sample(sample)), Some(open)) if sample.wall + HALF_FRAME >= from => {
                open.sample(&sample)?;
            }
            (Some(_), _) => {}
            (None, _) => break,
        }
    }
    match recording {
        Some(open) => open.finish(None).await,
        None => Ok(()),
    }
}

pub(super) fn encode(feed: &AudioFeed, pcm: &[f32]) {
    if !pcm.is_empty() {
        feed.pcm(pcm.iter().flat_map(|s| s.to_le_bytes()).collect::<Bytes>());
    }
}

/// The channels that are mixed, each with its decoder.
#[derive(Default)]
struct Inputs {
    decoders: HashMap<usize, (AacDecoder, StereoResampler)>,
    /// Sound decoded before the mixer was there.
    waiting: Vec<(usize, WallTime, Vec<f32>)>,
    /// Where the mix begins, and the end of the last sound of any channel.
    start: WallTime,
    end: WallTime,
    /// Blocks of sound that came too late.
    late: u64,
}

impl Inputs {
    async fn first(&mut self, heard: &mut Ear) -> Result<Option<WallTime>> {
        while let Some(said) = heard.recv().await {
            if let Some((input, at, pcm)) = self.decode(said)? {
                self.waiting.push((input, at, pcm));
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    fn mix_waiting(&mut self, mixer: &mut Mixer) {
        for (input, at, pcm) in std::mem::take(&mut self.waiting) {
            self.mix(mixer, input, at, &pcm);
        }
    }

    fn hear(&mut self, said: Heard, mixer: &mut Mixer) -> Result<()> {
        if let Some((input, at, pcm)) = self.decode(said)? {
            self.mix(mixer, input, at, &pcm);
        }
        Ok(())
    }

    /// What comes later than the mix waits is left out, as is what lies before its beginning: their time is given away.
    fn mix(&mut self, mixer: &mut Mixer, input: usize, at: WallTime, pcm: &[f32]) {
        let given = mixer.length();
        let closed = if given == Span::ZERO { self.start } else { self.start + given + LATE };
        if at + length(pcm) <= closed {
            self.late += 1;
        } else {
            mixer.push(input, at, pcm);
        }
    }

    /// A sample as 48 kHz stereo.
    fn decode(&mut self, said: Heard) -> Result<Option<(usize, WallTime, Vec<f32>)>> {
        match said {
            Heard::Codec(input, codec) => {
                let Codec::Aac { rate, channels, .. } = &codec else { return Ok(None) };
                let resampler = StereoResampler::new(*rate, *channels);
                self.decoders.insert(input, (AacDecoder::new(&codec)?, resampler));
                Ok(None)
            }
            Heard::Sample(input, sample) => {
                let Some((decoder, resampler)) = self.decoders.get_mut(&input) else { return Ok(None) };
                let mut pcm = Vec::with_capacity(2048);
                resampler.push(decoder.decode(&sample.data), &mut pcm);
                self.end = self.end.max(sample.wall + length(&pcm));
                Ok(Some((input, sample.wall, pcm)))
            }
        }
    }
}

/// Of 48 kHz stereo.
fn length(pcm: &[f32]) -> Span {
    Span::of_ticks(pcm.len() as i64 / 2, 48_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_too_late_is_left_out_and_the_mix_goes_on() {
        let start = WallTime(1_800_000_000_000_000);
        let (mut mixer, mut inputs) = (Mixer::new(start), Inputs { start, ..Inputs::default() });
        let block = [0.5; 2 * 4800];
        let at = |tenth: i64| start + Span::millis(100 * tenth);
        inputs.mix(&mut mixer, 0, at(0), &block);
        (-5..0).for_each(|tenth| inputs.mix(&mut mixer, 1, at(tenth), &block));
        assert_eq!(std::mem::take(&mut inputs.late), 5, "before the first sound that was heard");
        assert_eq!(mixer.pull(at(10)).len(), 10 * block.len());
        // One stalled for a second, another one was never heard before.
        (1..9).for_each(|tenth| inputs.mix(&mut mixer, 0, at(tenth), &block));
        inputs.mix(&mut mixer, 1, at(2), &block);
        assert_eq!(inputs.late, 9);
        inputs.mix(&mut mixer, 0, at(11), &block);
        let mixed = mixer.pull(at(12));
        assert_eq!(mixed.len(), 2 * block.len());
        assert_eq!((mixed[block.len() / 2], mixed[block.len() * 3 / 2]), (0.0, 0.5), "in its place");
    }
}
