//! Makes one unbroken timeline of the sound of a source: a count of samples from the start on that stays true to wall time, with
//! silence where nothing came, where there is no device, and while it is paused. A source that goes away is looked for again;
//! after a suspension of this program the timeline has a gap, since what waited meanwhile is stale.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use vitascope_media::encoder::{AudioFeed, RATE};
use vitascope_model::{Clock, Error, Result, Span, WallTime};

use crate::clock::{Pulse, STALLED};
use crate::config::Config;
use crate::health::{Health, Part};
use crate::pulse::{self, Hearing, PAIR, Piece, Source};

/// Where a channel's sound comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SoundSource {
    /// What is played, or what is spoken.
    pub monitor: bool,
    /// A source of PulseAudio by name; None for the default of its kind.
    pub name: Option<String>,
}

impl SoundSource {
    /// The one that is meant now. A channel of the default keeps to the source that it `heard` as long as there is that source.
    fn choose<'a>(&self, sources: &'a [Source], heard: Option<&str>) -> Option<&'a Source> {
        let mut fitting = sources.iter().filter(|s| s.monitor == self.monitor);
        match &self.name {
            Some(name) => fitting.find(|s| s.id == *name),
            None => fitting.clone().find(|s| Some(s.id.as_str()) == heard).or_else(|| fitting.next()),
        }
    }
}

/// This much off, and the timeline is put right.
const TOLERANCE: Span = Span::millis(40);
/// Pieces that are looked at together: the one that came with the least delay tells the time.
const FIRST_LOOK: usize = 5;
const LATER_LOOK: usize = 50;
/// Later looks also take so long: of pieces that come all at once, after a hitch, none came without delay.
const LOOK_FOR: Span = Span::millis(900);
/// A source that says nothing for so long is filled up with silence.
const OVERDUE: Span = Span::millis(500);
/// At the start sooner, so that publishing can begin.
const FIRST_OVERDUE: Span = Span::millis(150);
const SILENCE_EVERY: Span = Span::millis(100);
/// After a hitch of ours so long or longer, what was heard meanwhile is given as long to come before anything is filled up.
const HITCH: Span = Span::millis(300);
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Where the next sample belongs, and what to do about a piece that belongs elsewhere.
#[derive(Debug)]
struct Timeline {
    start: WallTime,
    /// Sample pairs so far.
    count: i64,
    /// How much later than counted pieces were captured, since the last look: the least of it, and of how many.
    least: Option<Span>,
    looked_at: usize,
    look_began: WallTime,
    placed: bool,
}

impl Timeline {
    fn new(start: WallTime) -> Self {
        Timeline { start, count: 0, least: None, looked_at: 0, look_began: start, placed: false }
    }

    fn end(&self) -> WallTime {
        self.start + Span::of_ticks(self.count, RATE)
    }

    /// Takes a look at a piece that is `ahead` pairs beyond the end; gives the correction in pairs once there is one to make:
    /// more than 0 for silence to put in, less for pairs to leave out.
    fn look(&mut self, captured: WallTime, ahead: i64) -> Option<i64> {
        let off = captured - (self.end() + Span::of_ticks(ahead, RATE));
        if self.looked_at == 0 {
            self.look_began = captured;
        }
        self.least = Some(self.least.map_or(off, |least| least.min(off)));
        self.looked_at += 1;
        let (pieces, time) = if self.placed { (LATER_LOOK, LOOK_FOR) } else { (FIRST_LOOK, Span::ZERO) };
        if self.looked_at < pieces || captured - self.look_began < time {
            return None;
        }
        self.looked_at = 0;
        let off = self.least.take()?;
        let wrong = !self.placed || off > TOLERANCE || off < Span::ZERO - TOLERANCE;
        self.placed = true;
        Some(if wrong { off.to_ticks(RATE) } else { 0 })
    }

    /// The next piece is a new beginning.
    fn lose_place(&mut self) {
        (self.least, self.looked_at, self.placed) = (None, 0, false);
    }
}

/// Feeds an encoder from a source.
pub(crate) struct Sound<C> {
    pub config: Arc<Config>,
    pub source: SoundSource,
    pub clock: Arc<C>,
    pub health: Arc<Health>,
    pub muted: Arc<AtomicBool>,
    pub stop: CancellationToken,
}

struct Writer<'a> {
    feed: AudioFeed,
    timeline: Timeline,
    muted: &'a AtomicBool,
    health: &'a Health,
    /// Pieces that wait until it is known where they belong.
    waiting: Vec<Piece>,
}

/// What the loop wakes up for.
enum Happened {
    Stop,
    Piece(Option<Piece>),
    Found(Result<Hearing>),
    Tick,
}

/// The device as it is now, or how it is looked for.
struct Ears {
    hearing: Option<Hearing>,
    search: Option<JoinHandle<Result<Hearing>>>,
    /// The source that is heard, or was last.
    source: Option<String>,
    searched_at: Instant,
}

impl<C: Clock> Sound<C> {
    /// Runs until it is stopped; `start` is the wall time of the first sample that `feed` gets. The sound lasts until the stop.
    pub(crate) async fn run(self, hearing: Option<Hearing>, feed: AudioFeed, start: WallTime) {
        let (timeline, health) = (Timeline::new(start), &*self.health);
        let mut writer = Writer { feed, timeline, muted: &self.muted, health, waiting: Vec::new() };
        let source = hearing.as_ref().map(|h| h.source.clone());
        let mut ears = Ears { hearing, search: None, source, searched_at: Instant::now() };
        let mut ticks = interval(SILENCE_EVERY.to_duration());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pulse = Pulse::start(self.clock.now());
        let mut fill_from = start;
        loop {
            let happened = tokio::select! {
                biased;
                () = self.stop.cancelled() => Happened::Stop,
                piece = next(&mut ears.hearing) => Happened::Piece(piece),
                found = found(&mut ears.search) => Happened::Found(found),
                _ = ticks.tick() => Happened::Tick,
            };
            let now = self.clock.now();
            match pulse.beat(now) {
                length if length > STALLED => {
                    writer.skip(now);
                    self.health.gap(length);
                    // What the sound server has kept for us meanwhile would come as if it were new: a new stream begins now.
                    (ears.hearing, ears.search) = (None, Some(self.search(&ears.source)));
                    continue;
                }
                length if length > HITCH => fill_from = now + HITCH,
                _ => {}
            }
            match happened {
                Happened::Stop => break,
                Happened::Piece(Some(piece)) => writer.piece(piece),
                Happened::Piece(None) => {
                    self.health.ill(Part::Device, "the sound device is gone; silence is recorded until it is back");
                    (ears.hearing, ears.searched_at) = (None, Instant::now());
                }
                Happened::Found(found) => self.take(&mut ears, found),
                Happened::Tick => {
                    if now >= fill_from {
                        writer.fill(now, overdue(&writer.timeline, ears.hearing.is_some()));
                    }
                    let idle = ears.hearing.is_none() && ears.search.is_none();
                    if idle && ears.searched_at.elapsed() > LOOK_AGAIN {
                        ears.search = Some(self.search(&ears.source));
                    }
                }
            }
        }
        drop(ears);
        writer.fill(self.clock.now(), Span::ZERO);
    }

    fn take(&self, ears: &mut Ears, found: Result<Hearing>) {
        (ears.search, ears.searched_at) = (None, Instant::now());
        match found {
            Ok(hearing) => {
                self.health.well(Part::Device, format!("sound is heard from {}", hearing.source));
                ears.source = Some(hearing.source.clone());
                ears.hearing = Some(hearing);
            }
            Err(error) => self.health.ill(Part::Device, format!("no sound is heard ({error}); silence is recorded")),
        }
    }

    /// The first attempt; None if the source is not there now.
    pub(crate) async fn hear(&self) -> Option<Hearing> {
        let mut ears =
            Ears { hearing: None, search: Some(self.search(&None)), source: None, searched_at: Instant::now() };
        let found = found(&mut ears.search).await;
        self.take(&mut ears, found);
        ears.hearing
    }

    fn search(&self, heard: &Option<String>) -> JoinHandle<Result<Hearing>> {
        let (config, source, clock, heard) =
            (self.config.clone(), self.source.clone(), self.clock.clone(), heard.clone());
        tokio::task::spawn_blocking(move || {
            let sources = pulse::sources(&config)?;
            let chosen = source.choose(&sources, heard.as_deref());
            let chosen = chosen.ok_or_else(|| Error::unavailable("there is no such sound device"))?;
            pulse::hear(&config, &chosen.id, clock)
        })
    }
}

/// How late sound may be before it is silence.
fn overdue(timeline: &Timeline, heard: bool) -> Span {
    match (timeline.count, heard) {
        (0, _) => FIRST_OVERDUE,
        (_, true) => OVERDUE,
        (_, false) => SILENCE_EVERY,
    }
}

/// Waits for ever where nothing is looked for.
async fn found(search: &mut Option<JoinHandle<Result<Hearing>>>) -> Result<Hearing> {
    match search {
        Some(search) => {
            search.await.unwrap_or_else(|_| Err(Error::internal("the search for a sound device broke off")))
        }
        None => std::future::pending().await,
    }
}

/// Waits for ever where there is nothing to hear.
async fn next(hearing: &mut Option<Hearing>) -> Option<Piece> {
    match hearing {
        Some(hearing) => hearing.pieces.recv().await,
        None => std::future::pending().await,
    }
}

impl Writer<'_> {
    fn piece(&mut self, piece: Piece) {
        let ahead = self.waiting.iter().map(|p| p.pcm.len() / PAIR).sum::<usize>() as i64;
        let correction = self.timeline.look(piece.captured, ahead);
        self.waiting.push(piece);
        match correction {
            Some(correction) => self.place_waiting(correction),
            // Once its place is known, a piece does not wait for the next look.
            None if self.timeline.placed => self.place_waiting(0),
            None => {}
        }
    }

    fn place_waiting(&mut self, correction: i64) {
        if correction > 0 {
            self.silence(correction);
        }
        let mut skip = (-correction).max(0) as usize * PAIR;
        for piece in std::mem::take(&mut self.waiting) {
            let left_out = skip.min(piece.pcm.len());
            skip -= left_out;
            self.write(piece.pcm.slice(left_out..));
        }
    }

    /// Silence up to `now` if nothing has come for `overdue`.
    fn fill(&mut self, now: WallTime, overdue: Span) {
        if now - self.timeline.end() <= overdue {
            return;
        }
        if !self.waiting.is_empty() {
            // Too few to be sure, but no more have come: the best guess then.
            let off = self.timeline.least.take().unwrap_or_default();
            self.place_waiting(off.to_ticks(RATE));
        }
        self.silence((now - self.timeline.end()).to_ticks(RATE));
        self.timeline.lose_place();
    }

    /// Nothing at all up to `now`.
    fn skip(&mut self, now: WallTime) {
        self.waiting.clear();
        let pairs = (now - self.timeline.end()).to_ticks(RATE).max(0);
        self.feed.gap(pairs);
        self.timeline.count += pairs;
        self.timeline.lose_place();
    }

    fn silence(&mut self, pairs: i64) {
        self.write(Bytes::from(vec![0; pairs.max(0) as usize * PAIR]));
    }

    fn write(&mut self, pcm: Bytes) {
        self.timeline.count += (pcm.len() / PAIR) as i64;
        let muted = self.muted.load(Ordering::Relaxed);
        let pcm = if muted { Bytes::from(vec![0; pcm.len()]) } else { pcm };
        self.health.heard(&pcm);
        self.feed.pcm(pcm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: WallTime = WallTime(1_764_000_000_000_000);

    #[test]
    fn the_first_pieces_are_placed_by_the_one_that_came_quickest() {
        let mut timeline = Timeline::new(START);
        // Captured from 100 ms on, each 20 ms, and seen with delays of their own.
        let delays = [35, 12, 3, 18, 9];
        let looks: Vec<_> =
            (0..5).map(|n| timeline.look(START + Span::millis(100 + 20 * n + delays[n as usize]), 960 * n)).collect();
        assert_eq!(looks, [None, None, None, None, Some(103 * 48)]);
    }

    #[test]
    fn a_source_that_runs_fast_is_put_right_only_beyond_the_tolerance() {
        for (off, correction) in [(30, 0), (-30, 0), (50, 50 * 48), (-60, -60 * 48)] {
            let mut timeline = Timeline::new(START);
            timeline.placed = true;
            let look = |n: i64| timeline.look(START + Span::millis(20 * n + off), 960 * n);
            assert_eq!((0..50).filter_map(look).collect::<Vec<_>>(), [correction], "{off}");
        }
    }

    #[test]
    fn pieces_before_the_start_are_left_out() {
        let mut timeline = Timeline::new(START);
        let looks: Vec<_> = (0..5).filter_map(|n| timeline.look(START + Span::millis(20 * n - 30), 960 * n)).collect();
        assert_eq!(looks, [-30 * 48]);
    }

    #[test]
    fn what_comes_all_at_once_after_a_hitch_moves_nothing() {
        let mut timeline = Timeline::new(START);
        timeline.placed = true;
        // 1.5 s of sound that waited comes within 15 ms, then each piece in its time again.
        let captured = |n: i64| START + Span::millis(if n < 75 { 1480 + n / 5 } else { 20 * n });
        let looks: Vec<_> = (0..120).filter_map(|n| timeline.look(captured(n), 960 * n)).collect();
        assert_eq!(looks, [0]);
    }

    #[test]
    fn the_default_stays_with_its_source_and_a_name_means_that_name() {
        let source =
            |id: &str, monitor| Source { id: id.to_owned(), description: String::new(), monitor, default: false };
        let sources = [source("spk.monitor", true), source("new", false), source("usb", false)];
        let choose = |name: Option<&str>, heard| {
            let wanted = SoundSource { monitor: false, name: name.map(str::to_owned) };
            wanted.choose(&sources, heard).map(|s| s.id.clone())
        };
        assert_eq!(choose(None, None).as_deref(), Some("new"));
        assert_eq!(choose(None, Some("usb")).as_deref(), Some("usb"));
        assert_eq!(choose(None, Some("unplugged")).as_deref(), Some("new"));
        assert_eq!(choose(Some("unplugged"), Some("unplugged")), None);
    }
}
