//! Who publishes what: admission of publishers, the publications at work, the feeds of what they send, and the draining of a session.
//! A path has one publisher at a time; the same one may come back, and its track goes on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use vitascope_media::codec::{Codec, Sample};
use vitascope_model::Result;
use vitascope_model::capture::{Failure, MediaKind};
use vitascope_model::id::{CaptureSessionId, RtStreamId};
use vitascope_model::rtstream::RtStream;

use super::feed::{Feed, Tap};
use super::health::{self, Meter, Meters};
use super::publisher::PublisherClock;
use super::recording::Recording;
use super::{indexing, mix, remix, transcribe};
use crate::app::App;
use crate::app::recording::{self, Admission, PublishTarget};

/// What is under way when a session is drained gets so long.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// Why a publisher is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such path.
    Unknown,
    /// Its session takes no media (any more).
    Closed,
    /// Its owner stopped the rtstream, and may start it again.
    Paused,
    /// Somebody else publishes there.
    Busy,
    /// There is no room to record.
    Full,
    /// Nothing in a codec that is recorded and fits the channel.
    Unsupported,
    /// Our fault.
    Broken,
}

struct Live {
    /// Taken back as soon as the publisher is gone, while the recording is still being sealed.
    path: Option<String>,
    rtstream_id: RtStreamId,
    session_id: Option<CaptureSessionId>,
    cancel: CancellationToken,
}

#[derive(Default)]
struct Registry {
    next: u64,
    live: HashMap<u64, Live>,
    feeds: HashMap<RtStreamId, Arc<Feed>>,
    publishers: HashMap<CaptureSessionId, Arc<Mutex<PublisherClock>>>,
}

#[derive(Default)]
pub struct Ingest {
    registry: Mutex<Registry>,
    /// Rung when a publication is sealed and gone.
    gone: Notify,
    pub(super) mixes: mix::Mixes,
    pub meters: Meters,
    /// What the feeds that are closed have missed.
    missed: AtomicU64,
}

/// The right of one publisher to a path. However it is lost (an error, a panic), the registry forgets it.
pub struct Claim {
    app: App,
    number: u64,
    rtstream: RtStream,
    session_id: Option<CaptureSessionId>,
    cancel: CancellationToken,
    publisher: Arc<Mutex<PublisherClock>>,
}

/// One publisher's sending, from its admission to its end.
pub struct Publication {
    claim: Claim,
    media: usize,
    recording: Recording,
    feed: Option<Arc<Feed>>,
    meter: Arc<Meter>,
    began: bool,
}

impl Ingest {
    fn registry(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a path means, before anything of an announcement is looked at.
    pub async fn look_up(&self, app: &App, path: &str) -> Result<PublishTarget, Refusal> {
        let target = recording::find_target(app, path).await.map_err(broken)?.ok_or(Refusal::Unknown)?;
        if app.space.is_full() {
            return Err(Refusal::Full);
        }
        match target.admission {
            Admission::Open => Ok(target),
            Admission::Paused => Err(Refusal::Paused),
            Admission::Closed => Err(Refusal::Closed),
        }
    }

    /// Takes a path for one publisher.
    pub async fn claim(&self, app: &App, path: &str, target: PublishTarget) -> Result<Claim, Refusal> {
        let PublishTarget { rtstream, session_id, .. } = target;
        let cancel = CancellationToken::new();
        let live = Live {
            path: Some(path.to_owned()),
            rtstream_id: rtstream.id.clone(),
            session_id: session_id.clone(),
            cancel: cancel.clone(),
        };
        let (number, publisher) = self.register(live).ok_or(Refusal::Busy)?;
        let claim = Claim { app: app.clone(), number, rtstream, session_id, cancel, publisher };
        // Its session may have been drained since the path was looked up; from here on a drain finds this claim.
        self.look_up(app, path).await.map(|_| claim)
    }

    fn register(&self, live: Live) -> Option<(u64, Arc<Mutex<PublisherClock>>)> {
        let mut registry = self.registry();
        if registry.live.values().any(|l| l.path == live.path) {
            return None;
        }
        // The connections of one recorder share its clock.
        let publisher = match &live.session_id {
            Some(id) => registry.publishers.entry(id.clone()).or_default().clone(),
            None => Arc::default(),
        };
        registry.next += 1;
        let number = registry.next;
        registry.live.insert(number, live);
        Some((number, publisher))
    }

    fn free_path(&self, number: u64) {
        if let Some(live) = self.registry().live.get_mut(&number) {
            live.path = None;
        }
    }

    fn forget(&self, number: u64) {
        self.registry().live.remove(&number);
        self.gone.notify_waiters();
    }

    /// The feed of a live sound, made when it is first asked for.
    pub fn feed(&self, rtstream: &RtStreamId) -> Arc<Feed> {
        self.registry().feeds.entry(rtstream.clone()).or_default().clone()
    }

    pub(super) fn unsubscribe(&self, rtstream: &RtStreamId, tap: &Tap) {
        // After a drain the feed is closed and forgotten, and has no taps.
        if let Some(feed) = self.registry().feeds.get(rtstream) {
            feed.unsubscribe(tap);
        }
    }

    /// Whether anybody publishes.
    pub fn is_idle(&self) -> bool {
        self.registry().live.is_empty()
    }

    /// Ends what one rtstream records, while its session goes on: its publisher is sent away, its transcript comes to its end, all is
    /// sealed. Its feed stays, since the mix listens to it and a publisher may be let in again.
    pub async fn drain_rtstream(&self, app: &App, id: &RtStreamId) {
        let drained = async {
            loop {
                let gone = self.gone.notified();
                if self.cancel(|l| l.rtstream_id == *id) == 0 {
                    break;
                }
                gone.await;
            }
            transcribe::finish(app, id).await;
            indexing::finish(app, id).await;
        };
        if tokio::time::timeout(DRAIN_WITHIN, drained).await.is_err() {
            tracing::error!(rtstream.id = %id, "an rtstream could not be drained in time");
        }
        if let Err(error) = recording::close_rtstream_track(app, id).await {
            tracing::error!(rtstream.id = %id, %error, "the track of an rtstream could not be closed");
        }
    }

    /// Ends everything that a session records: publishers are sent away, transcripts and the mix come to their end, all is sealed.
    pub async fn drain_session(&self, app: &App, id: &CaptureSessionId) -> Result<()> {
        if tokio::time::timeout(DRAIN_WITHIN, self.drain(app, id)).await.is_err() {
            tracing::error!(session.id = %id, "a session could not be drained in time");
        }
        self.registry().publishers.remove(id);
        recording::close_session_tracks(app, id).await?;
        remix::complete_session(app, id).await
    }

    /// Ends what records for no session; the same for sessions is their supervisors' business.
    pub fn cancel_without_session(&self) {
        self.registry().live.values().filter(|l| l.session_id.is_none()).for_each(|l| l.cancel.cancel());
    }

    /// At the end of the process, once the publishers are gone: taps hear the end, so that mixes and transcripts are brought to theirs.
    pub async fn shut_down(&self) {
        loop {
            let gone = self.gone.notified();
            if self.registry().live.is_empty() {
                break;
            }
            gone.await;
        }
        for feed in std::mem::take(&mut self.registry().feeds).into_values() {
            feed.close();
        }
    }

    async fn drain(&self, app: &App, id: &CaptureSessionId) {
        loop {
            let gone = self.gone.notified();
            if self.cancel(|l| l.session_id.as_ref() == Some(id)) == 0 {
                break;
            }
            gone.await;
        }
        match app.store.list_session_rtstreams(id).await {
            Ok(streams) => {
                for stream in &streams {
                    self.close_feed(&stream.id);
                    self.meters.remove(&stream.id);
                    transcribe::finish(app, &stream.id).await;
                }
                self.mixes.finish(id).await;
                futures_util::future::join_all(streams.iter().map(|s| indexing::finish(app, &s.id))).await;
            }
            Err(error) => {
                tracing::error!(session.id = %id, %error, "the rtstreams of a session could not be read");
                self.mixes.finish(id).await;
            }
        }
    }

    fn close_feed(&self, rtstream: &RtStreamId) {
        let Some(feed) = self.registry().feeds.remove(rtstream) else { return };
        feed.close();
        self.missed.fetch_add(feed.missed(), Ordering::Relaxed);
    }

    /// Samples that taps never heard since they were too slow, since the start.
    pub fn missed(&self) -> u64 {
        let now: u64 = self.registry().feeds.values().map(|f| f.missed()).sum();
        self.missed.load(Ordering::Relaxed) + now
    }

    /// Asks publishers to end; how many there are.
    fn cancel(&self, whom: impl Fn(&Live) -> bool) -> usize {
        let registry = self.registry();
        registry.live.values().filter(|l| whom(l)).inspect(|l| l.cancel.cancel()).count()
    }
}

fn is_disk_full(error: &vitascope_model::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(found) = cause {
        if let Some(io) = found.downcast_ref::<std::io::Error>() {
            return matches!(io.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
        }
        cause = found.source();
    }
    false
}

fn broken(error: vitascope_model::Error) -> Refusal {
    tracing::error!(%error, "a publisher could not be admitted");
    Refusal::Broken
}

impl Claim {
    /// Rung when the session ends.
    pub fn cancelled(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Lets the publisher in. `codecs` are those of the announced media, `None` where we know no such codec.
    pub async fn admit(self, codecs: &[Option<Codec>]) -> Result<Publication, Refusal> {
        let Claim { app, rtstream, .. } = &self;
        let fits = |c: &&Codec| c.is_video() == (rtstream.kind == MediaKind::Video);
        let mut known = codecs.iter().enumerate().filter_map(|(i, c)| Some((i, c.as_ref().filter(fits)?)));
        let (media, codec) = known.next().ok_or(Refusal::Unsupported)?;
        let track = recording::open_track(app, rtstream).await.map_err(broken)?;
        let recording = Recording::open(app, &track.id, codec.clone()).map_err(broken)?;
        let meter = health::open(app, rtstream, &track.id).await.map_err(broken)?;
        let feed = (rtstream.kind == MediaKind::Audio).then(|| app.ingest.feed(&rtstream.id));
        if let Some(feed) = &feed {
            feed.begin(codec);
            health::listen(app, &meter, feed);
            mix::ensure(app, self.session_id.as_ref()).await.map_err(broken)?;
            transcribe::resume(app, rtstream).await;
        }
        meter.publishes();
        Ok(Publication { claim: self, media, recording, feed, meter, began: false })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.app.ingest.forget(self.number);
    }
}

impl Publication {
    /// Which of the announced media is recorded.
    pub fn media(&self) -> usize {
        self.media
    }

    pub fn cancelled(&self) -> CancellationToken {
        self.claim.cancel.clone()
    }

    pub fn publisher_clock(&self) -> Arc<Mutex<PublisherClock>> {
        self.claim.publisher.clone()
    }

    /// Records a sample and lets the taps hear it; tells whether a chunk began.
    pub fn sample(&mut self, sample: Sample) -> Result<bool> {
        let written = self.recording.sample(&sample);
        let chunk_begins = self.written(written)?;
        self.meter.sample(&sample, self.claim.app.now());
        if let Some(feed) = &self.feed {
            feed.push(&sample);
        }
        if !self.began && sample.key {
            self.began = true;
            let flushed = self.recording.flush();
            self.written(flushed)?;
            if let Some(session) = &self.claim.session_id {
                self.claim.app.sessions.media_began(session, &self.claim.rtstream.id);
            }
        }
        Ok(chunk_begins)
    }

    pub fn dropped(&self, units: u32) {
        self.meter.dropped(units);
    }

    pub fn tick(&mut self) -> Result<()> {
        let written = self.recording.tick();
        self.written(written)
    }

    /// A disk that takes no more ends the session: each publisher that came back would only lose more.
    fn written<T>(&self, outcome: Result<T>) -> Result<T> {
        if let (Err(error), Some(session)) = (&outcome, &self.claim.session_id) {
            tracing::error!(session.id = %session, %error, "a recording cannot be written");
            let why = if is_disk_full(error) { Failure::disk_full() } else { Failure::storage_failed() };
            self.claim.app.sessions.storage_failed(session, why);
        }
        outcome
    }

    /// The publisher is gone. The path is free at once; this returns when everything is sealed.
    pub async fn end(self, orderly: bool) {
        let Publication { claim, recording, meter, .. } = self;
        claim.app.ingest.free_path(claim.number);
        meter.is_left(claim.app.now());
        if let Err(error) = recording.finish(None).await {
            tracing::error!(rtstream.id = %claim.rtstream.id, %error, "a recording could not be finished");
        }
        let (app, rtstream, session) = (claim.app.clone(), claim.rtstream.id.clone(), claim.session_id.clone());
        drop(claim);
        if let Some(session) = &session {
            app.sessions.media_ended(session, &rtstream, orderly);
        }
    }
}
