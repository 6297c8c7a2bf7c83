//! Makes one unbroken timeline of the sound of a source: a count of samples from the start on that stays true to wall time, with
//! silence where nothing came, where there is no device, and while it is paused. A source that goes away is looked for again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use vitascope_media::encoder::{AudioFeed, RATE};
use vitascope_model::{Clock, Span, WallTime};

use crate::config::Config;
use crate::pulse::{self, Hearing, PAIR, Piece};

/// Where a channel's sound comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SoundSource {
    /// A source of PulseAudio by name.
    Pulse(String),
    /// No device: silence at the pace of time.
    Silence,
}

/// This much off, and the timeline is put right.
const TOLERANCE: Span = Span::millis(40);
/// Pieces that are looked at together: the one that came with the least delay tells the time.
const FIRST_LOOK: usize = 5;
const LATER_LOOK: usize = 50;
/// A source that says nothing for so long is filled up with silence.
const OVERDUE: Span = Span::millis(500);
/// At the start sooner, so that publishing can begin.
const FIRST_OVERDUE: Span = Span::millis(150);
const SILENCE_EVERY: Span = Span::millis(100);
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
    placed: bool,
}

impl Timeline {
    fn new(start: WallTime) -> Self {
        Timeline { start, count: 0, least: None, looked_at: 0, placed: false }
    }

    fn end(&self) -> WallTime {
        self.start + Span::of_ticks(self.count, RATE)
    }

    /// Takes a look at a piece that is `ahead` pairs beyond the end; gives the correction in pairs once there is one to make:
    /// more than 0 for silence to put in, less for pairs to leave out.
    fn look(&mut self, captured: WallTime, ahead: i64) -> Option<i64> {
        let off = captured - (self.end() + Span::of_ticks(ahead, RATE));
        self.least = Some(self.least.map_or(off, |least| least.min(off)));
        self.looked_at += 1;
        if self.looked_at < if self.placed { LATER_LOOK } else { FIRST_LOOK } {
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
    pub muted: Arc<AtomicBool>,
    pub stop: CancellationToken,
}

struct Writer<'a> {
    feed: AudioFeed,
    timeline: Timeline,
    muted: &'a AtomicBool,
    /// Pieces that wait until it is known where they belong.
    waiting: Vec<Piece>,
}

impl<C: Clock> Sound<C> {
    /// Runs until it is stopped; `start` is the wall time of the first sample that `feed` gets. The sound lasts until the stop.
    pub(crate) async fn run(self, hearing: Option<Hearing>, feed: AudioFeed, start: WallTime) {
        let mut writer = Writer { feed, timeline: Timeline::new(start), muted: &self.muted, waiting: Vec::new() };
        let overdue = if self.source == SoundSource::Silence { SILENCE_EVERY } else { OVERDUE };
        let mut hearing = hearing;
        let mut lost_at = Instant::now();
        let mut ticks = interval(SILENCE_EVERY.to_duration());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // After a stall of ours, what was heard meanwhile comes before any silence.
                biased;
                () = self.stop.cancelled() => break,
                piece = next(&mut hearing) => match piece {
                    Some(piece) => writer.piece(piece),
                    None => {
                        tracing::warn!(source = ?self.source, "the source is gone");
                        (hearing, lost_at) = (None, Instant::now());
                    }
                },
                _ = ticks.tick() => {
                    let overdue = if writer.timeline.count == 0 { FIRST_OVERDUE } else { overdue };
                    writer.fill(self.clock.now(), overdue);
                    if hearing.is_none() && lost_at.elapsed() > LOOK_AGAIN {
                        (hearing, lost_at) = (self.hear().await, Instant::now());
                    }
                }
            }
        }
        drop(hearing);
        writer.fill(self.clock.now(), Span::ZERO);
    }

    /// None if the source is not there now.
    pub(crate) async fn hear(&self) -> Option<Hearing> {
        let SoundSource::Pulse(source) = &self.source else { return None };
        let (config, source, clock) = (self.config.clone(), source.clone(), self.clock.clone());
        let hear = tokio::task::spawn_blocking(move || pulse::hear(&config, &source, clock));
        match hear.await {
            Ok(Ok(hearing)) => Some(hearing),
            Ok(Err(error)) => {
                tracing::warn!(source = ?self.source, "not heard: {error}");
                None
            }
            Err(_) => None,
        }
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

    fn silence(&mut self, pairs: i64) {
        // After a night's sleep this is a lot: in pieces.
        let (mut left, second) = (pairs, i64::from(RATE));
        while left > 0 {
            self.write(Bytes::from(vec![0; left.min(second) as usize * PAIR]));
            left -= second;
        }
    }

    fn write(&mut self, pcm: Bytes) {
        self.timeline.count += (pcm.len() / PAIR) as i64;
        let muted = self.muted.load(Ordering::Relaxed);
        self.feed.pcm(if muted { Bytes::from(vec![0; pcm.len()]) } else { pcm });
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
            let looks: Vec<_> = (0..50).filter_map(|_| timeline.look(START + Span::millis(off), 0)).collect();
            assert_eq!(looks, [correction], "{off}");
        }
    }

    #[test]
    fn pieces_before_the_start_are_left_out() {
        let mut timeline = Timeline::new(START);
        let looks: Vec<_> = (0..5).filter_map(|n| timeline.look(START + Span::millis(20 * n - 30), 960 * n)).collect();
        assert_eq!(looks, [-30 * 48]);
    }
}
