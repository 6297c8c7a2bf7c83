//! Taps on a live input's sound: what is recorded is also heard, from memory, by the mix and the transcript. A feed lives as long as its
//! rtstream records, across publishers that come and go, and keeps the last half minute, so that a tap opened a moment late misses nothing.
//! Recording never waits for a tap: what one cannot take yet waits in the tap, and what does not fit there is counted here.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use vitascope_media::codec::{Codec, Sample};
use vitascope_model::{Span, WallTime};

pub use super::tap::{Ear, Heard, Tap, tap};

/// How much of the past a new tap hears.
const BACKLOG: Span = Span::seconds(30);

#[derive(Debug, Default)]
pub struct Feed(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    codec: Option<Codec>,
    backlog: VecDeque<Sample>,
    taps: Vec<(usize, Tap)>,
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
            state.taps.retain(|(n, tap)| tap.say(Heard::Codec(*n, codec.clone())).is_some());
        }
    }

    pub fn push(&self, sample: &Sample) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { backlog, taps, missed, .. } = &mut *state;
        while backlog.front().is_some_and(|old| sample.wall - old.wall > BACKLOG) {
            backlog.pop_front();
        }
        backlog.push_back(sample.clone());
        taps.retain(|(n, tap)| {
            let lost = tap.say(Heard::Sample(*n, sample.clone()));
            *missed += lost.unwrap_or(0);
            lost.is_some()
        });
    }

    /// Adds a tap, which hears the backlog first and then everything, without a gap or a repeat.
    pub fn subscribe(&self, number: usize, tap: Tap) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let codec = state.codec.iter().map(|c| Heard::Codec(number, c.clone()));
        let past = state.backlog.iter().map(|s| Heard::Sample(number, s.clone()));
        let is_heard = codec.chain(past).all(|said| tap.say(said).is_some());
        if is_heard && !state.closed {
            state.taps.push((number, tap));
        }
    }

    /// A tap hears no more.
    pub fn unsubscribe(&self, gone: &Tap) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.taps.retain(|(_, tap)| !tap.is(gone));
    }

    /// The rtstream has stopped: its taps hear the end.
    pub fn close(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        state.taps.clear();
        state.backlog = VecDeque::new();
    }

    /// When the newest sample was.
    pub fn newest(&self) -> Option<WallTime> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).backlog.back().map(|s| s.wall)
    }

    /// Samples that slow taps never heard.
    pub fn missed(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::tap::tap_with_room;

    fn sample(second: i64) -> Sample {
        Sample { ticks: second * 48_000, key: true, data: vec![1].into(), wall: WallTime(0) + Span::seconds(second) }
    }

    fn seconds(ear: &mut Ear) -> Vec<i64> {
        let samples = std::iter::from_fn(|| ear.try_recv()).filter_map(|said| match said {
            Heard::Sample(7, s) => Some(s.wall.0 / 1_000_000),
            _ => None,
        });
        samples.collect()
    }

    #[test]
    fn a_late_tap_hears_the_last_half_minute_and_then_all() {
        let feed = Feed::default();
        feed.begin(&Codec::Aac { rate: 48_000, channels: 2, config: vec![0x11, 0x90] });
        (0..50).for_each(|s| feed.push(&sample(s)));
        let (tap, mut ear) = tap();
        feed.subscribe(7, tap);
        feed.push(&sample(50));
        assert_eq!(seconds(&mut ear), (19..=50).collect::<Vec<_>>());
        feed.close();
        assert!(ear.is_at_end());
    }

    #[test]
    fn a_slow_tap_misses_the_oldest_and_holds_up_nobody() {
        let feed = Feed::default();
        // Room for two samples.
        let ((slow, mut behind), (quick, mut ear)) = (tap_with_room(130), tap());
        feed.subscribe(7, slow);
        feed.subscribe(7, quick);
        (0..10).for_each(|s| feed.push(&sample(s)));
        assert_eq!((seconds(&mut ear).len(), feed.missed()), (10, 8));
        assert_eq!(seconds(&mut behind), [8, 9]);
        drop(behind);
        feed.push(&sample(11));
        assert_eq!((seconds(&mut ear).len(), feed.missed()), (1, 8), "who is gone misses nothing");
    }
}
