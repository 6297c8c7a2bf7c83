//! The recorder's clock, the one place that asks the system for the time of day. It runs on the monotonic clock, so that a step of
//! the system's time does not tear the recording; only a sleep of the machine, which the monotonic clock misses, moves it forward.

use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use vitascope_model::{Clock, Span, WallTime};

/// A difference that only a sleep (or somebody who sets the clock) explains.
const SLEPT: Span = Span::seconds(2);

#[derive(Debug)]
pub(crate) struct SystemClock {
    started: Instant,
    /// The wall time of `started`, as it stands now.
    origin: Mutex<WallTime>,
}

impl SystemClock {
    pub(crate) fn start() -> Self {
        SystemClock { started: Instant::now(), origin: Mutex::new(system_time()) }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> WallTime {
        let since = Span(self.started.elapsed().as_micros() as i64);
        let mut origin = self.origin.lock().unwrap_or_else(PoisonError::into_inner);
        let behind = system_time() - (*origin + since);
        if behind > SLEPT {
            *origin += behind;
        }
        *origin + since
    }
}

fn system_time() -> WallTime {
    #[expect(clippy::disallowed_methods, reason = "this is the recorder's clock")]
    let now = SystemTime::now();
    WallTime(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_not_run_backwards_and_catches_up_after_a_sleep() {
        let clock = SystemClock::start();
        let before = clock.now();
        assert!(clock.now() >= before);
        // As if the machine had slept for an hour: the origin is an hour too early.
        *clock.origin.lock().unwrap() = before - Span::seconds(3600);
        assert!(clock.now() >= before);
    }
}
