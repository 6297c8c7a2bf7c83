//! A browser that records: the chunks of its recorder go through a supervised encoder, and the samples into the same publication that a
//! recorder of desktops has. A page may pause and go on: each stretch is a take with a header and an encoder of its own, on one track.
//! No sockets here: `http` has the conversation. Chunks that cannot be taken yet wait at the socket, and so in the browser.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use vitascope_media::codec::Sample;
use vitascope_media::encoder::{BrowserEncoder, BrowserFeed, BrowserPlan, Encoded, Output, Wanted};
use vitascope_model::capture::MediaKind;
use vitascope_model::{Error, ErrorKind, Result, Span, WallTime};

use super::ingest::{Claim, Publication, Refusal};
use super::take::TakeClock;
use crate::app::App;

/// What was sent before the end is encoded within so long.
const DRAIN_WITHIN: Duration = Duration::from_secs(6);
/// A recording whose first chunk says nothing that an encoder understands within so long is none: some garbage looks like a long box.
const UNDERSTOOD_WITHIN: Span = Span::seconds(8);
/// Headers are some hundred bytes.
const LONGEST_HEAD: usize = 1 << 20;
/// Samples wait for the beginning to be known; a page whose clock stands still does not make them wait for ever.
const MOST_WAITING: usize = 256;
/// A sample that lies so far from when it arrived has a time that somebody made up. A page keeps what it records for 15 s when it is cut off.
const BELIEVABLE: Span = Span::seconds(60);

/// One channel of a page, from its admission to its end.
pub struct Browser {
    app: App,
    kind: MediaKind,
    claim: Option<Claim>,
    publication: Option<Publication>,
    cancel: CancellationToken,
    take: Option<Take>,
    /// A chunk that the encoder has no room for yet.
    pending: Option<Bytes>,
    /// Where tick 0 lies on the wall clock, and the last ticks.
    zero: Option<WallTime>,
    last_ticks: i64,
}

/// What one recorder writes, from its header to its end.
struct Take {
    feed: Option<BrowserFeed>,
    output: Output,
    clock: TakeClock,
    /// When the first chunk came and the last.
    first: Option<WallTime>,
    arrival: WallTime,
    is_understood: bool,
    waiting: VecDeque<Sample>,
    /// What came before any picture or sound: a recorder that is stopped at once writes no more, and then there is nothing to encode.
    head: Vec<u8>,
    /// Ticks of the track where those of the take are 0.
    base: Option<i64>,
}

/// Something happened that `handle` looks at.
pub enum Step {
    /// The waiting chunk was taken.
    Took,
    Said(Option<Result<Encoded>>),
}

impl Browser {
    /// Takes the channel's path, before anything is encoded.
    pub async fn open(app: &App, path: &str) -> Result<Browser> {
        let admitted = async {
            let target = app.ingest.look_up(app, path).await?;
            let kind = target.rtstream.kind;
            Ok((kind, app.ingest.claim(app, path, target).await?))
        };
        let (kind, claim) = admitted.await.map_err(refused)?;
        Ok(Browser {
            app: app.clone(),
            kind,
            cancel: claim.cancelled(),
            claim: Some(claim),
            publication: None,
            take: None,
            pending: None,
            zero: None,
            last_ticks: -1,
        })
    }

    pub fn kind(&self) -> MediaKind {
        self.kind
    }

    /// Rung when the session ends.
    pub fn cancelled(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// A recorder starts; `begun` is when, by the page's clock. One that was at work has ended.
    pub async fn begin(&mut self, plan: &BrowserPlan, begun: WallTime) -> Result<()> {
        let is_sound = plan.wanted == Wanted::Sound;
        if is_sound != (self.kind == MediaKind::Audio) {
            return Err(Error::invalid(format!("this channel is {}", self.kind.as_str())));
        }
        self.end_take().await;
        let BrowserEncoder { feed, output } = BrowserEncoder::start(plan)?;
        let clock = TakeClock::new(plan.container, is_sound, begun);
        let (feed, arrival, waiting) = (Some(feed), self.app.now(), VecDeque::new());
        let (first, is_understood, head, base) = (None, false, Vec::new(), None);
        self.take = Some(Take { feed, output, clock, first, arrival, is_understood, waiting, head, base });
        Ok(())
    }

    /// Whether a chunk waits: no other may come before it is taken.
    pub fn is_full(&self) -> bool {
        self.pending.is_some()
    }

    /// A chunk that the page was handed at `at`.
    pub fn chunk(&mut self, at: WallTime, media: Bytes) -> Result<()> {
        let take = self.take.as_mut().ok_or_else(|| Error::invalid("media before a recording was begun"))?;
        take.clock.chunk(at, &media)?;
        take.arrival = self.app.now();
        take.head.extend_from_slice(&media);
        if !take.clock.has_begun() {
            let fits = take.head.len() <= LONGEST_HEAD;
            return if fits { Ok(()) } else { Err(Error::invalid("nothing in the recording can be read")) };
        }
        let media = Bytes::from(std::mem::take(&mut take.head));
        take.first.get_or_insert(take.arrival);
        self.pending = Some(media);
        self.release(false)
    }

    /// The next thing that happens; never, as long as nothing records. May be dropped at any moment.
    pub async fn next(&mut self) -> Step {
        let Some(take) = &mut self.take else { return std::future::pending().await };
        let (feed, pending) = (&take.feed, &mut self.pending);
        tokio::select! {
            room = room(feed), if pending.is_some() => {
                // An encoder that takes no more says why on its output.
                if let (Some(room), Some(chunk)) = (room, pending.take()) {
                    room.send(chunk);
                }
                Step::Took
            }
            said = take.output.recv() => Step::Said(said),
        }
    }

    pub async fn handle(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Took => Ok(()),
            Step::Said(Some(Ok(Encoded::Codec(codec)))) => {
                if let Some(take) = &mut self.take {
                    take.is_understood = true;
                }
                if let Some(claim) = self.claim.take() {
                    self.publication = Some(claim.admit(&[Some(codec)]).await.map_err(refused)?);
                }
                Ok(())
            }
            Step::Said(Some(Ok(Encoded::Sample(sample)))) => {
                if let Some(take) = &mut self.take {
                    take.waiting.push_back(sample);
                }
                self.release(false)
            }
            Step::Said(Some(Err(error))) => Err(unreadable(error)),
            Step::Said(None) => Err(unreadable(Error::internal("the encoder ended by itself"))),
        }
    }

    /// Records the samples whose times are known; all of them, when the take is over.
    fn release(&mut self, all: bool) -> Result<()> {
        let (Some(take), Some(publication)) = (&mut self.take, &mut self.publication) else { return Ok(()) };
        if !(all || take.clock.is_settled() || take.waiting.len() > MOST_WAITING) {
            return Ok(());
        }
        let rate = if self.kind == MediaKind::Video { 90_000 } else { vitascope_media::encoder::RATE };
        let publisher = publication.publisher_clock();
        let mut publisher = publisher.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for sample in take.waiting.drain(..) {
            let captured = take.clock.captured(sample.wall - WallTime(0));
            let wall = publisher.map(captured, take.arrival);
            if (wall - take.arrival).0.abs() > BELIEVABLE.0 {
                return Err(Error::invalid("the time stamps of the recording make no sense"));
            }
            let zero = *self.zero.get_or_insert_with(|| wall - Span::of_ticks(sample.ticks, rate));
            let base = *take.base.get_or_insert_with(|| (wall - zero).to_ticks(rate) - sample.ticks);
            let ticks = (base + sample.ticks).max(self.last_ticks + 1);
            self.last_ticks = ticks;
            if publication.sample(Sample { ticks, wall, ..sample })? {
                publisher.correct(take.arrival);
            }
        }
        Ok(())
    }

    /// The recorder has stopped: what it sent is encoded and recorded before this returns. The track stays open for another take.
    pub async fn end_take(&mut self) {
        match timeout(DRAIN_WITHIN, self.drain()).await {
            Ok(Ok(())) => {}
            // A take of one moment holds nothing that can be shown, and what is no recording has been refused before.
            Ok(Err(error)) => tracing::info!(%error, "a recording in a browser ended badly"),
            Err(_) => tracing::error!("what a browser recorded could not be encoded in time"),
        }
        if let Err(error) = self.release(true) {
            tracing::info!(%error, "the end of a recording in a browser is lost");
        }
        (self.take, self.pending) = (None, None);
    }

    async fn drain(&mut self) -> Result<()> {
        while self.take.is_some() {
            if let (None, Some(take)) = (&self.pending, &mut self.take) {
                take.feed = None;
            }
            match self.next().await {
                Step::Said(None) => break,
                step => self.handle(step).await?,
            }
        }
        Ok(())
    }

    /// Called four times a second.
    pub fn tick(&mut self) -> Result<()> {
        let waits = self.take.as_ref().filter(|t| !t.is_understood).and_then(|t| t.first);
        if waits.is_some_and(|since| self.app.now() - since > UNDERSTOOD_WITHIN) {
            return Err(Error::invalid("nothing in the recording can be read"));
        }
        self.publication.as_mut().map_or(Ok(()), Publication::tick)
    }

    /// The page is gone; this returns when everything is sealed.
    pub async fn end(mut self, orderly: bool) {
        self.end_take().await;
        if let Some(publication) = self.publication.take() {
            publication.end(orderly).await;
        }
    }
}

async fn room(feed: &Option<BrowserFeed>) -> Option<tokio::sync::mpsc::Permit<'_, Bytes>> {
    match feed {
        Some(feed) => feed.room().await,
        None => None,
    }
}

fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Unknown => Error::not_found("the channel"),
        Refusal::Closed => Error::conflict("the capture session takes no media any more"),
        Refusal::Paused => Error::unavailable("the stream is stopped for now"),
        Refusal::Busy => Error::unavailable("somebody else records this channel"),
        Refusal::Full => Error::new(ErrorKind::StorageFull, "the disk is nearly full: nothing is recorded"),
        Refusal::Unsupported => Error::invalid("nothing in the recording fits this channel"),
        Refusal::Broken => Error::internal("a browser could not be admitted"),
    }
}

/// What an encoder dies of is what it was given, unless it could not even start.
fn unreadable(error: Error) -> Error {
    match error.kind {
        ErrorKind::Internal => Error::invalid("the recording cannot be read").because(error),
        _ => error,
    }
}
