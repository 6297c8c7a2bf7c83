//! Taps on a live input's sound: what is recorded is also heard, from memory, by the mix and the transcript. A feed lives as long as its
//! rtstream records, across publishers that come and go, and keeps the last half minute, so that a tap opened a moment late misses nothing.
//! A tap that cannot keep up loses samples; recording never waits for one.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;
use vitascope_media::codec::{Codec, Sample};
use vitascope_model::Span;

/// How much of the past a new tap hears.
const BACKLOG: Span = Span::seconds(30);
/// Samples that may wait for a tap: over five minutes of AAC.
pub const WAITING: usize = 16 << 10;

/// What a tap hears. The number tells feeds apart where one tap hears several.
#[derive(Clone, Debug)]
pub enum Heard {
    Codec(usize, Codec),
    Sample(usize, Sample),
}

#[derive(Debug, Default)]
pub struct Feed(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    codec: Option<Codec>,
    backlog: VecDeque<Sample>,
    taps: Vec<(usize, mpsc::Sender<Heard>)>,
    closed: bool,
    missed: u64,
}

impl Feed {
    /// A publisher begins, in this codec.
    pub fn begin(&self, codec: &Codec) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.codec.as_ref() != Some(codec) {
            // What was heard in another codec is of no use to a new tap.
            state.backlog.clear();
            state.codec = Some(codec.clone());
            state.taps.retain(|(n, tap)| tap.try_send(Heard::Codec(*n, codec.clone())).is_ok());
        }
    }

    pub fn push(&self, sample: &Sample) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { backlog, taps, missed, .. } = &mut *state;
        while backlog.front().is_some_and(|old| sample.wall - old.wall > BACKLOG) {
            backlog.pop_front();
        }
        backlog.push_back(sample.clone());
        taps.retain(|(n, tap)| match tap.try_send(Heard::Sample(*n, sample.clone())) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                *missed += 1;
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        });
    }

    /// Adds a tap, which hears the backlog first and then everything, without a gap or a repeat.
    pub fn subscribe(&self, number: usize, tap: mpsc::Sender<Heard>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let codec = state.codec.iter().map(|c| Heard::Codec(number, c.clone()));
        let past = state.backlog.iter().map(|s| Heard::Sample(number, s.clone()));
        if !codec.chain(past).all(|heard| tap.try_send(heard).is_ok()) {
            tracing::warn!("a new tap has no room for what it should hear first");
        }
        if !state.closed {
            state.taps.push((number, tap));
        }
    }

    /// A tap hears no more.
    pub fn unsubscribe(&self, gone: &mpsc::Sender<Heard>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.taps.retain(|(_, tap)| !tap.same_channel(gone));
    }

    /// The rtstream has stopped: its taps hear the end.
    pub fn close(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        state.taps.clear();
        state.backlog = VecDeque::new();
    }

    /// Samples that slow taps did not hear.
    pub fn missed(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vitascope_model::WallTime;

    fn sample(second: i64) -> Sample {
        Sample { ticks: second * 48_000, key: true, data: vec![1].into(), wall: WallTime(0) + Span::seconds(second) }
    }

    fn seconds(tap: &mut mpsc::Receiver<Heard>) -> Vec<i64> {
        let mut heard = Vec::new();
        while let Ok(said) = tap.try_recv() {
            if let Heard::Sample(7, s) = said {
                heard.push(s.wall.0 / 1_000_000);
            }
        }
        heard
    }

    #[test]
    fn a_late_tap_hears_the_last_half_minute_and_then_all() {
        let feed = Feed::default();
        feed.begin(&Codec::Aac { rate: 48_000, channels: 2, config: vec![0x11, 0x90] });
        (0..50).for_each(|s| feed.push(&sample(s)));
        let (tap, mut heard) = mpsc::channel(100);
        feed.subscribe(7, tap);
        feed.push(&sample(50));
        assert_eq!(seconds(&mut heard), (19..=50).collect::<Vec<_>>());
        feed.close();
        assert!(heard.is_closed());
    }

    #[test]
    fn a_slow_tap_misses_samples_and_holds_up_nobody() {
        let feed = Feed::default();
        let (slow, _kept) = mpsc::channel(2);
        let (quick, mut heard) = mpsc::channel(100);
        feed.subscribe(1, slow);
        feed.subscribe(7, quick);
        (0..10).for_each(|s| feed.push(&sample(s)));
        assert_eq!((seconds(&mut heard).len(), feed.missed()), (10, 8));
    }
}
