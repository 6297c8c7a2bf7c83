//! Who publishes what: admission of publishers, the publications at work, the feeds of what they send, and the draining of a session.
//! A path has one publisher at a time; the same one may come back, and its track goes on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use vitascope_media::codec::{Codec, Sample};
use vitascope_model::capture::MediaKind;
use vitascope_model::id::{CaptureSessionId, RtStreamId};
use vitascope_model::rtstream::RtStream;
use vitascope_model::{Result, WallTime};

use super::feed::{Feed, Tap};
use super::publisher::PublisherClock;
use super::recording::Recording;
use super::{mix, transcribe};
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
    /// Nothing in a codec that is recorded and fits the channel.
    Unsupported,
    /// Our fault.
    Broken,
}

/// How a publication is doing.
#[derive(Debug)]
pub struct Health {
    pub rtstream_id: RtStreamId,
    pub samples: u64,
    pub bytes: u64,
    pub dropped: u64,
    pub last_sample: Option<WallTime>,
}

#[derive(Debug, Default)]
struct Counters {
    samples: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
    last_sample: AtomicI64,
}

struct Live {
    /// Taken back as soon as the publisher is gone, while the recording is still being sealed.
    path: Option<String>,
    rtstream_id: RtStreamId,
    session_id: Option<CaptureSessionId>,
    cancel: CancellationToken,
    counters: Arc<Counters>,
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
}

/// The right of one publisher to a path. However it is lost (an error, a panic), the registry forgets it.
pub struct Claim {
    app: App,
    number: u64,
    rtstream: RtStream,
    session_id: Option<CaptureSessionId>,
    counters: Arc<Counters>,
    cancel: CancellationToken,
    publisher: Arc<Mutex<PublisherClock>>,
}

/// One publisher's sending, from its admission to its end.
pub struct Publication {
    claim: Claim,
    media: usize,
    recording: Recording,
    feed: Option<Arc<Feed>>,
    began: bool,
}

impl Ingest {
    fn registry(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a path means, before anything of an announcement is looked at.
    pub async fn look_up(&self, app: &App, path: &str) -> Result<PublishTarget, Refusal> {
        let target = recording::find_target(app, path).await.map_err(broken)?.ok_or(Refusal::Unknown)?;
        match target.admission {
            Admission::Open => Ok(target),
            Admission::Paused => Err(Refusal::Paused),
            Admission::Closed => Err(Refusal::Closed),
        }
    }

    /// Takes a path for one publisher.
    pub async fn claim(&self, app: &App, path: &str, target: PublishTarget) -> Result<Claim, Refusal> {
        let PublishTarget { rtstream, session_id, .. } = target;
        let (cancel, counters) = (CancellationToken::new(), Arc::new(Counters::default()));
        let live = Live {
            path: Some(path.to_owned()),
            rtstream_id: rtstream.id.clone(),
            session_id: session_id.clone(),
            cancel: cancel.clone(),
            counters: counters.clone(),
        };
        let (number, publisher) = self.register(live).ok_or(Refusal::Busy)?;
        let claim = Claim { app: app.clone(), number, rtstream, session_id, counters, cancel, publisher };
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

    pub fn health(&self) -> Vec<Health> {
        let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let health = |l: &Live| Health {
            rtstream_id: l.rtstream_id.clone(),
            samples: load(&l.counters.samples),
            bytes: load(&l.counters.bytes),
            dropped: load(&l.counters.dropped),
            last_sample: Some(WallTime(l.counters.last_sample.load(Ordering::Relaxed))).filter(|t| t.0 > 0),
        };
        self.registry().live.values().map(health).collect()
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
        };
        if tokio::time::timeout(DRAIN_WITHIN, drained).await.is_err() {
            tracing::error!(rtstream.id = %id, "an rtstream could not be drained in time");
        }
        if let Err(error) = recording::close_rtstream_track(app, id).await {
            tracing::error!(rtstream.id = %id, %error, "the track of an rtstream could not be closed");
        }
    }

    /// Ends everything that a session records: publishers are sent away, transcripts and the mix come to their end, all is sealed.
    pub async fn drain_session(&self, app: &App, id: &CaptureSessionId) {
        if tokio::time::timeout(DRAIN_WITHIN, self.drain(app, id)).await.is_err() {
            tracing::error!(session.id = %id, "a session could not be drained in time");
        }
        self.registry().publishers.remove(id);
        if let Err(error) = recording::close_session_tracks(app, id).await {
            tracing::error!(session.id = %id, %error, "the tracks of a session could not be closed");
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
                for stream in streams {
                    if let Some(feed) = self.registry().feeds.remove(&stream.id) {
                        feed.close();
                    }
                    transcribe::finish(app, &stream.id).await;
                }
            }
            Err(error) => tracing::error!(session.id = %id, %error, "the rtstreams of a session could not be read"),
        }
        self.mixes.finish(id).await;
    }

    /// Asks publishers to end; how many there are.
    fn cancel(&self, whom: impl Fn(&Live) -> bool) -> usize {
        let registry = self.registry();
        registry.live.values().filter(|l| whom(l)).inspect(|l| l.cancel.cancel()).count()
    }
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
        let feed = (rtstream.kind == MediaKind::Audio).then(|| app.ingest.feed(&rtstream.id));
        if let Some(feed) = &feed {
            feed.begin(codec);
            mix::ensure(app, self.session_id.as_ref()).await.map_err(broken)?;
            transcribe::resume(app, rtstream).await;
        }
        Ok(Publication { claim: self, media, recording, feed, began: false })
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
        let chunk_begins = self.recording.sample(&sample)?;
        let counters = &self.claim.counters;
        counters.samples.fetch_add(1, Ordering::Relaxed);
        counters.bytes.fetch_add(sample.data.len() as u64, Ordering::Relaxed);
        counters.last_sample.store(sample.wall.0, Ordering::Relaxed);
        if let Some(feed) = &self.feed {
            feed.push(&sample);
        }
        if !self.began && sample.key {
            self.began = true;
            self.recording.flush()?;
            if let Some(session) = &self.claim.session_id {
                self.claim.app.sessions.media_began(session, &self.claim.rtstream.id);
            }
        }
        Ok(chunk_begins)
    }

    pub fn dropped(&self, units: u32) {
        self.claim.counters.dropped.fetch_add(units.into(), Ordering::Relaxed);
    }

    pub fn tick(&mut self) -> Result<()> {
        self.recording.tick()
    }

    /// The publisher is gone. The path is free at once; this returns when everything is sealed.
    pub async fn end(self, orderly: bool) {
        let Publication { claim, recording, .. } = self;
        claim.app.ingest.free_path(claim.number);
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
