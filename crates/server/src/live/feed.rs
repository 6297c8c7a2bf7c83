//! Taps on a live input's sound: what is recorded is also heard, from memory, by the mix and the transcript. A feed lives as long as its
//! rtstream records, across publishers that come and go, and keeps the last half minute, so that a tap opened a moment late misses nothing.
//! What a tap cannot take yet waits in memory, up to a limit beyond which it loses samples; recording never waits for one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use vitascope_media::codec::{Codec, Sample};
use vitascope_model::{Span, WallTime};

/// How much of the past a new tap hears.
const BACKLOG: Span = Span::seconds(30);
/// Bytes that may wait for one tap: an hour of AAC at 128 kbit/s.
const SPILL: usize = 64 << 20;
/// What a waiting sample takes besides its data.
const OVERHEAD: usize = 64;

/// What a tap hears. The number tells feeds apart where one tap hears several.
#[derive(Clone, Debug)]
pub enum Heard {
    Codec(usize, Codec),
    Sample(usize, Sample),
}

impl Heard {
    fn size(&self) -> usize {
        match self {
            Heard::Codec(..) => OVERHEAD,
            Heard::Sample(_, sample) => OVERHEAD + sample.data.len(),
        }
    }
}

/// The side of a tap that feeds have: one tap may be on several of them.
#[derive(Clone, Debug)]
pub struct Tap {
    heard: mpsc::UnboundedSender<Heard>,
    waiting: Arc<AtomicUsize>,
}

/// The side of a tap that listens. It ends when the last feed has closed or let go of the tap.
#[derive(Debug)]
pub struct Ear {
    heard: mpsc::UnboundedReceiver<Heard>,
    waiting: Arc<AtomicUsize>,
}

pub fn tap() -> (Tap, Ear) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    (Tap { heard: sender, waiting: waiting.clone() }, Ear { heard: receiver, waiting })
}

impl Tap {
    /// Whether there was room for it; none if nobody listens any more.
    fn say(&self, said: Heard) -> Option<bool> {
        let size = said.size();
        // A codec always gets through: without it nothing after it can be understood.
        if self.waiting.load(Ordering::Relaxed) + size > SPILL && matches!(said, Heard::Sample(..)) {
            return (!self.heard.is_closed()).then_some(false);
        }
        self.waiting.fetch_add(size, Ordering::Relaxed);
        self.heard.send(said).is_ok().then_some(true)
    }
}

impl Ear {
    pub async fn recv(&mut self) -> Option<Heard> {
        let said = self.heard.recv().await;
        self.took(said)
    }

    /// For threads of their own.
    pub fn blocking_recv(&mut self) -> Option<Heard> {
        let said = self.heard.blocking_recv();
        self.took(said)
    }

    fn took(&self, said: Option<Heard>) -> Option<Heard> {
        said.inspect(|s| {
            self.waiting.fetch_sub(s.size(), Ordering::Relaxed);
        })
    }
}

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
            let taken = tap.say(Heard::Sample(*n, sample.clone()));
            *missed += u64::from(taken == Some(false));
            taken.is_some()
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
        state.taps.retain(|(_, tap)| !tap.heard.same_channel(&gone.heard));
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

    /// Samples that slow taps did not hear.
    pub fn missed(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: i64) -> Sample {
        Sample { ticks: second * 48_000, key: true, data: vec![1].into(), wall: WallTime(0) + Span::seconds(second) }
    }

    fn seconds(ear: &mut Ear) -> Vec<i64> {
        let mut heard = Vec::new();
        while let Ok(said) = ear.heard.try_recv() {
            ear.took(Some(said.clone()));
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
        let (tap, mut ear) = tap();
        feed.subscribe(7, tap);
        feed.push(&sample(50));
        assert_eq!(seconds(&mut ear), (19..=50).collect::<Vec<_>>());
        feed.close();
        assert!(ear.heard.is_closed());
    }

    #[test]
    fn a_slow_tap_misses_samples_and_holds_up_nobody() {
        let feed = Feed::default();
        let ((slow, mut behind), (quick, mut ear)) = (tap(), tap());
        // Room for two more samples.
        slow.waiting.store(SPILL - 2 * (OVERHEAD + 1), Ordering::Relaxed);
        feed.subscribe(7, slow);
        feed.subscribe(7, quick);
        (0..10).for_each(|s| feed.push(&sample(s)));
        assert_eq!((seconds(&mut ear).len(), feed.missed()), (10, 8));
        assert_eq!(seconds(&mut behind), [0, 1]);
        feed.push(&sample(10));
        assert_eq!(seconds(&mut behind), [10], "what was taken makes room");
        drop(behind);
        feed.push(&sample(11));
        assert_eq!((seconds(&mut ear).len(), feed.missed()), (2, 8), "who is gone misses nothing");
    }
}
