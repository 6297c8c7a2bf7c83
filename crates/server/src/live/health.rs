//! How each live channel is doing: a meter per rtstream, fed by its publications and by a tap on its sound, from its first publisher
//! to the end of its session. Channels that turn bad, or well again, are told once; what the states mean is `model::health`'s.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vitascope_media::codec::{Codec, Sample};
use vitascope_media::pcm::AacDecoder;
use vitascope_model::capture::CaptureSession;
use vitascope_model::health::{ChannelHealth, ChannelState, FLOOR_DB, SILENCE_DB, SILENT_AFTER, stalled_after};
use vitascope_model::id::{RtStreamId, TrackId};
use vitascope_model::rtstream::{RtStream, RtStreamState};
use vitascope_model::{Result, Span, WallTime};
use vitascope_store::track::{Extent, Holding};

use super::feed::{Ear, Feed, Heard, tap};
use crate::app::App;
use crate::app::capture::tell_channel_health;

/// How often channels are looked at.
const EACH: Duration = Duration::from_millis(500);
/// Sound is measured in pieces of this many to the second.
const PIECES: u32 = 2;
/// A publisher that says good-bye just before its session is stopped is no trouble, nor one that is back at once.
const GONE_AFTER: Span = Span::millis(2500);
/// A microphone that is silent between sentences is not told each time.
const SILENCE_TOLD_AFTER: Span = Span::seconds(60);

/// The meters of what is live.
#[derive(Default)]
pub struct Meters(Mutex<HashMap<RtStreamId, Arc<Meter>>>);

pub struct Meter {
    pub rtstream: RtStream,
    reading: Mutex<Reading>,
}

#[derive(Debug, Default)]
struct Reading {
    publishers: u32,
    left: Option<WallTime>,
    /// When the newest sample came in, and the moments of the first and the newest.
    arrived: WallTime,
    first: Option<WallTime>,
    last: WallTime,
    samples: u64,
    bytes: u64,
    dropped: u64,
    level_db: Option<f32>,
    /// The end of the sound that was measured, and of the last that was loud enough.
    heard: WallTime,
    loud: WallTime,
    listens: bool,
    /// The trouble that was told last, if it lasts; and when silence was.
    told: Option<ChannelState>,
    silence_told: Option<WallTime>,
}

impl Meters {
    fn all(&self) -> MutexGuard<'_, HashMap<RtStreamId, Arc<Meter>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn list(&self) -> Vec<Arc<Meter>> {
        self.all().values().cloned().collect()
    }

    fn find(&self, rtstream: &RtStreamId) -> Option<Arc<Meter>> {
        self.all().get(rtstream).cloned()
    }

    pub(super) fn remove(&self, rtstream: &RtStreamId) {
        self.all().remove(rtstream);
    }
}

/// The meter of an rtstream, made when its first publisher comes. It goes on from what is recorded already.
pub(super) async fn open(app: &App, rtstream: &RtStream, track: &TrackId) -> Result<Arc<Meter>> {
    if let Some(found) = app.ingest.meters.find(&rtstream.id) {
        return Ok(found);
    }
    let before = app.store.track_extent(track).await?;
    let reading = before.map(|e| Reading {
        first: Some(WallTime(e.start_us)),
        last: WallTime(e.end_us),
        samples: e.samples as u64,
        bytes: e.bytes as u64,
        ..Reading::default()
    });
    let made = Arc::new(Meter { rtstream: rtstream.clone(), reading: Mutex::new(reading.unwrap_or_default()) });
    Ok(app.ingest.meters.all().entry(rtstream.id.clone()).or_insert(made).clone())
}

/// Sees that the meter hears the feed's sound, until the feed closes.
pub(super) fn listen(app: &App, meter: &Arc<Meter>, feed: &Feed) {
    if std::mem::replace(&mut meter.reading().listens, true) {
        return;
    }
    let (tap, heard) = tap();
    feed.subscribe(0, tap);
    let (meter, id) = (meter.clone(), meter.rtstream.id.clone());
    app.spawn(async move {
        if let Err(error) = measure(&meter, heard).await {
            tracing::warn!(rtstream.id = %id, %error, "the level of a sound is not measured");
        }
    });
}

async fn measure(meter: &Meter, mut heard: Ear) -> Result<()> {
    let mut sound: Option<(AacDecoder, usize)> = None;
    let (mut power, mut samples) = (0.0_f64, 0);
    while let Some(said) = heard.recv().await {
        match said {
            Heard::Codec(_, codec) => {
                if let Codec::Aac { rate, channels, .. } = &codec {
                    let piece = (rate / PIECES) as usize * usize::from(*channels);
                    sound = Some((AacDecoder::new(&codec)?, piece));
                }
            }
            Heard::Sample(_, sample) => {
                let Some((decoder, piece)) = &mut sound else { continue };
                let pcm = decoder.decode(&sample.data);
                power += pcm.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>();
                samples += pcm.len();
                if samples >= *piece {
                    let level = (10.0 * (power / samples as f64).log10()) as f32;
                    meter.heard(sample.wall, level.max(FLOOR_DB));
                    (power, samples) = (0.0, 0);
                }
            }
        }
    }
    Ok(())
}

impl Meter {
    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn publishes(&self) {
        let mut reading = self.reading();
        reading.publishers += 1;
        reading.left = None;
    }

    pub(super) fn is_left(&self, now: WallTime) {
        let mut reading = self.reading();
        reading.publishers = reading.publishers.saturating_sub(1);
        reading.left = (reading.publishers == 0).then_some(now);
    }

    pub(super) fn sample(&self, sample: &Sample, now: WallTime) {
        let mut reading = self.reading();
        reading.arrived = now;
        reading.first.get_or_insert(sample.wall);
        reading.last = reading.last.max(sample.wall);
        reading.samples += 1;
        reading.bytes += sample.data.len() as u64;
    }

    pub(super) fn dropped(&self, units: u32) {
        self.reading().dropped += u64::from(units);
    }

    fn heard(&self, at: WallTime, level_db: f32) {
        let mut reading = self.reading();
        // Silence begins with the first sound, and anew after a gap: what was not heard was not silent.
        let is_gap = at - reading.heard > Span::seconds(2);
        if level_db > SILENCE_DB || is_gap {
            reading.loud = at;
        }
        reading.heard = at;
        reading.level_db = Some(level_db);
    }

    pub fn health(&self, now: WallTime) -> ChannelHealth {
        self.reading().health(&self.rtstream, now)
    }
}

impl Reading {
    fn state(&self, rtstream: &RtStream, now: WallTime) -> ChannelState {
        let has_sample = self.arrived > WallTime(0);
        if self.publishers == 0 && self.first.is_some() {
            ChannelState::Gone
        } else if !has_sample {
            ChannelState::Waiting
        } else if now - self.arrived > stalled_after(rtstream.kind) {
            ChannelState::Stalled
        } else if self.heard - self.loud >= SILENT_AFTER {
            ChannelState::Silent
        } else {
            ChannelState::Ok
        }
    }

    fn health(&self, rtstream: &RtStream, now: WallTime) -> ChannelHealth {
        ChannelHealth {
            state: self.state(rtstream, now),
            last_sample: self.first.map(|_| self.last),
            since_last: (self.arrived > WallTime(0)).then(|| now - self.arrived),
            samples: self.samples,
            bytes: self.bytes,
            dropped: Some(self.dropped),
            level_db: self.level_db,
            recorded: self.first.map_or(Span::ZERO, |first| self.last - first),
        }
    }

    /// What is to be told now, if anything: a trouble that has begun, or that all is well again.
    fn news(&mut self, rtstream: &RtStream, now: WallTime) -> Option<ChannelState> {
        let state = self.state(rtstream, now);
        let is_trouble = match state {
            ChannelState::Gone => self.left.is_some_and(|left| now - left > GONE_AFTER),
            ChannelState::Silent => self.silence_told.is_none_or(|told| now - told > SILENCE_TOLD_AFTER),
            _ => true,
        } && state.is_trouble(rtstream.category);
        if is_trouble && self.told != Some(state) {
            self.told = Some(state);
            if state == ChannelState::Silent {
                self.silence_told = Some(now);
            }
            return Some(state);
        }
        (state == ChannelState::Ok && self.told.take().is_some()).then_some(state)
    }
}

/// The channels of a session in their order. Once it is over, and after a restart, rows tell what there is.
pub async fn of_session(app: &App, session: &CaptureSession) -> Result<Vec<ChannelHealth>> {
    let streams = app.store.list_session_rtstreams(&session.id).await?;
    let mut found = Vec::with_capacity(streams.len());
    for stream in &streams {
        found.push(of_rtstream(app, stream).await?);
    }
    Ok(found)
}

pub async fn of_rtstream(app: &App, stream: &RtStream) -> Result<ChannelHealth> {
    if let Some(meter) = app.ingest.meters.find(&stream.id) {
        return Ok(meter.health(app.now()));
    }
    let extent = match app.store.find_rtstream_track(&stream.id).await? {
        Some(track) => app.store.track_extent(&track.id).await?,
        None => None,
    };
    let state = match (stream.state, extent) {
        (RtStreamState::Stopped, _) => ChannelState::Ended,
        (RtStreamState::Connected, Some(_)) => ChannelState::Gone,
        (RtStreamState::Connected, None) => ChannelState::Waiting,
    };
    Ok(of_rows(state, extent))
}

/// What an hour of an rtstream takes: as its meter has it while it is live, else by what is stored of it.
pub fn bytes_per_hour(app: &App, rtstream: &RtStreamId, stored: &Holding) -> Option<u64> {
    if let Some(meter) = app.ingest.meters.find(rtstream) {
        return meter.health(app.now()).bytes_per_hour();
    }
    let (start_us, end_us) = (stored.start_us?, stored.end_us?);
    let extent = Extent { start_us, end_us, bytes: stored.bytes, samples: 0 };
    of_rows(ChannelState::Ended, Some(extent)).bytes_per_hour()
}

fn of_rows(state: ChannelState, extent: Option<Extent>) -> ChannelHealth {
    let (samples, bytes) = extent.map_or((0, 0), |e| (e.samples as u64, e.bytes as u64));
    ChannelHealth {
        state,
        last_sample: extent.map(|e| WallTime(e.end_us)),
        since_last: None,
        samples,
        bytes,
        dropped: None,
        level_db: None,
        recorded: extent.map_or(Span::ZERO, |e| WallTime(e.end_us) - WallTime(e.start_us)),
    }
}

/// Looks at every live channel until shutdown, and tells what changed.
pub async fn watch(app: App) {
    loop {
        for meter in app.ingest.meters.list() {
            let now = app.now();
            let news = meter.reading().news(&meter.rtstream, now);
            if let Some(state) = news {
                tracing::info!(rtstream.id = %meter.rtstream.id, state = state.as_str(), "a channel changed its state");
                if let Err(error) = tell(&app, &meter, now).await {
                    tracing::error!(rtstream.id = %meter.rtstream.id, %error, "the state of a channel could not be told");
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EACH) => {}
            () = app.shutdown.cancelled() => return,
        }
    }
}

async fn tell(app: &App, meter: &Meter, now: WallTime) -> Result<()> {
    let Some(id) = &meter.rtstream.session_id else { return Ok(()) };
    let Some(session) = app.store.find_session(id).await? else { return Ok(()) };
    // Between the end of its publishers and the end of the session there is nothing to look after.
    if session.state.takes_media() {
        return tell_channel_health(app, &session, &meter.rtstream, &meter.health(now)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vitascope_model::capture::{Category, MediaKind};
    use vitascope_model::id::{CollectionId, UserId};
    use vitascope_model::rtstream::Transcription;

    const START: WallTime = WallTime(1_800_000_000_000_000);

    fn at(millis: i64) -> WallTime {
        START + Span::millis(millis)
    }

    fn meter(category: Category, kind: MediaKind) -> Meter {
        let rtstream = RtStream {
            id: RtStreamId::mint(START, [1; 10]),
            owner: UserId::mint(START, [1; 10]),
            collection_id: CollectionId::mint(START, [1; 10]),
            session_id: None,
            name: "device".to_owned(),
            category: Some(category),
            kind,
            state: RtStreamState::Connected,
            store: true,
            created_at: START,
            transcription: Transcription::NotConfigured,
            sample_rate: 30,
            keep: false,
            exported: None,
        };
        Meter { rtstream, reading: Mutex::default() }
    }

    fn sample(millis: i64) -> Sample {
        Sample { ticks: millis * 48, key: true, data: vec![0; 100].into(), wall: at(millis) }
    }

    fn news(meter: &Meter, millis: i64) -> Option<&'static str> {
        meter.reading().news(&meter.rtstream, at(millis)).map(ChannelState::as_str)
    }

    #[test]
    fn a_still_screen_is_well_and_one_that_stops_is_told_within_five_seconds() {
        let screen = meter(Category::Screen, MediaKind::Video);
        assert_eq!(screen.health(at(0)).state, ChannelState::Waiting);
        screen.publishes();
        (0..3).for_each(|n| screen.sample(&sample(3800 * n), at(3800 * n)));
        assert_eq!(news(&screen, 7600 + 3900), None);
        assert_eq!(news(&screen, 7600 + 4600), Some("stalled"));
        assert_eq!(news(&screen, 7600 + 9000), None, "told once");
        screen.sample(&sample(17_000), at(17_000));
        assert_eq!(news(&screen, 17_100), Some("ok"));
        let health = screen.health(at(17_200));
        assert_eq!((health.samples, health.bytes, health.recorded), (4, 400, Span::seconds(17)));
    }

    #[test]
    fn a_silent_microphone_is_told_and_silent_loudspeakers_are_only_shown() {
        for (category, told) in [(Category::Mic, Some("silent")), (Category::SystemAudio, None)] {
            let sound = meter(category, MediaKind::Audio);
            sound.publishes();
            for half in 0..8 {
                sound.sample(&sample(500 * half), at(500 * half));
                sound.heard(at(500 * half), FLOOR_DB);
            }
            assert_eq!(sound.health(at(3600)).state, ChannelState::Silent);
            assert_eq!(news(&sound, 3600), told);
            sound.sample(&sample(4000), at(4000));
            sound.heard(at(4000), -30.0);
            assert_eq!(sound.health(at(4000)).level_db, Some(-30.0));
            assert_eq!(news(&sound, 4000), told.map(|_| "ok"));
        }
    }

    #[test]
    fn a_publisher_that_is_back_at_once_is_no_news() {
        let screen = meter(Category::Screen, MediaKind::Video);
        screen.publishes();
        screen.sample(&sample(0), at(0));
        screen.is_left(at(100));
        assert_eq!(screen.health(at(200)).state, ChannelState::Gone);
        assert_eq!(news(&screen, 2000), None);
        assert_eq!(news(&screen, 3000), Some("gone"));
        screen.publishes();
        screen.sample(&sample(4000), at(4000));
        assert_eq!(news(&screen, 4100), Some("ok"));
    }
}
