//! A tap: a queue in memory between the feeds of live sound and one listener. What the listener cannot take yet waits, up to a limit
//! beyond which the oldest samples are lost, since the newest are what a listener that catches up needs; nobody who feeds it ever waits.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use vitascope_media::codec::{Codec, Sample};

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

#[derive(Debug)]
struct Queue {
    room: usize,
    waiting: Mutex<Waiting>,
    /// Rung for a listener that is a task, and for one that is a thread.
    news: Notify,
    thread_news: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    heard: VecDeque<Heard>,
    bytes: usize,
    /// Nobody speaks any more, or nobody listens.
    silent: bool,
    deaf: bool,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        self.news.notify_one();
        self.thread_news.notify_one();
    }
}

impl Waiting {
    fn take(&mut self) -> Option<Heard> {
        let said = self.heard.pop_front()?;
        self.bytes -= said.size();
        Some(said)
    }

    /// Makes room by forgetting the oldest samples. A codec stays: without it nothing after it can be understood.
    fn forget(&mut self, room: usize) -> u64 {
        let mut forgotten = 0;
        while self.bytes > room {
            let Some(oldest) = self.heard.iter().position(|h| matches!(h, Heard::Sample(..))) else { break };
            self.bytes -= self.heard.remove(oldest).map_or(0, |h| h.size());
            forgotten += 1;
        }
        forgotten
    }
}

/// The side of a tap that feeds have: one tap may be on several of them.
#[derive(Clone, Debug)]
pub struct Tap(Arc<Voice>);

/// The listener hears the end when the last clone of its tap is gone.
#[derive(Debug)]
struct Voice(Arc<Queue>);

impl Drop for Voice {
    fn drop(&mut self) {
        self.0.waiting().silent = true;
        self.0.ring();
    }
}

/// The side of a tap that listens. It ends when the last feed has closed or let go of the tap.
#[derive(Debug)]
pub struct Ear(Arc<Queue>);

impl Drop for Ear {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        *waiting = Waiting { deaf: true, ..Waiting::default() };
    }
}

pub fn tap() -> (Tap, Ear) {
    tap_with_room(SPILL)
}

pub(super) fn tap_with_room(room: usize) -> (Tap, Ear) {
    let queue = Arc::new(Queue { room, waiting: Mutex::default(), news: Notify::new(), thread_news: Condvar::new() });
    (Tap(Arc::new(Voice(queue.clone()))), Ear(queue))
}

impl Tap {
    /// How many older samples were lost for it; none if nobody listens any more.
    pub(super) fn say(&self, said: Heard) -> Option<u64> {
        let queue = &self.0.0;
        let mut waiting = queue.waiting();
        if waiting.deaf {
            return None;
        }
        waiting.bytes += said.size();
        waiting.heard.push_back(said);
        let forgotten = waiting.forget(queue.room);
        drop(waiting);
        queue.ring();
        Some(forgotten)
    }

    pub(super) fn is(&self, other: &Tap) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Ear {
    pub async fn recv(&mut self) -> Option<Heard> {
        loop {
            let news = self.0.news.notified();
            {
                let mut waiting = self.0.waiting();
                let said = waiting.take();
                if said.is_some() || waiting.silent {
                    return said;
                }
            }
            news.await;
        }
    }

    /// For threads of their own.
    pub fn blocking_recv(&mut self) -> Option<Heard> {
        let mut waiting = self.0.waiting();
        loop {
            let said = waiting.take();
            if said.is_some() || waiting.silent {
                return said;
            }
            waiting = self.0.thread_news.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    #[cfg(test)]
    pub(super) fn try_recv(&mut self) -> Option<Heard> {
        self.0.waiting().take()
    }

    #[cfg(test)]
    pub(super) fn is_at_end(&self) -> bool {
        self.0.waiting().silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vitascope_model::WallTime;

    fn sample(n: i64) -> Heard {
        Heard::Sample(7, Sample { ticks: n, key: true, data: vec![1].into(), wall: WallTime(n) })
    }

    #[tokio::test]
    async fn a_task_and_a_thread_hear_everything_and_the_end() {
        let (tap, mut ear) = tap();
        let other = tap.clone();
        let heard = tokio::spawn(async move {
            let mut heard = 0;
            while ear.recv().await.is_some() {
                heard += 1;
            }
            heard
        });
        (0..100).for_each(|n| assert_eq!(tap.say(sample(n)), Some(0)));
        drop(tap);
        other.say(sample(100));
        drop(other);
        assert_eq!(heard.await.unwrap(), 101);

        let (tap, mut ear) = super::tap();
        let thread = std::thread::spawn(move || std::iter::from_fn(|| ear.blocking_recv()).count());
        (0..100).for_each(|n| assert_eq!(tap.say(sample(n)), Some(0)));
        drop(tap);
        assert_eq!(thread.join().unwrap(), 100);
    }

    #[test]
    fn a_listener_that_is_behind_loses_the_oldest_and_never_a_codec() {
        let (tap, mut ear) = tap_with_room(OVERHEAD + 2 * (OVERHEAD + 1));
        tap.say(Heard::Codec(7, Codec::Aac { rate: 48_000, channels: 2, config: vec![0x11, 0x90] }));
        let lost: u64 = (0..10).map(|n| tap.say(sample(n)).unwrap()).sum();
        assert_eq!(lost, 8);
        assert!(matches!(ear.try_recv(), Some(Heard::Codec(..))));
        let rest: Vec<_> = std::iter::from_fn(|| ear.try_recv()).collect();
        assert!(matches!(&rest[..], [Heard::Sample(_, a), Heard::Sample(_, b)] if (a.ticks, b.ticks) == (8, 9)));
        drop(ear);
        assert_eq!(tap.say(sample(11)), None, "nobody listens");
    }
}
