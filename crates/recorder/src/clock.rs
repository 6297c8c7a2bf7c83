//! The recorder's clock, the one place that asks the system for the time of day: once, when a recording begins. From there on it
//! follows the kernel's clock that also runs while the machine sleeps: so a sleep is a gap as long as it was, and a step of the
//! system's time does not tear the recording.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use vitascope_model::{Clock, Span, WallTime};

/// Who finds that it did nothing for so long, though it meant to, was suspended: what waited for it meanwhile is stale.
pub(crate) const STALLED: Span = Span::seconds(2);

#[derive(Debug)]
pub(crate) struct SystemClock {
    started: Span,
    /// The wall time of `started`.
    origin: WallTime,
}

impl SystemClock {
    pub(crate) fn start() -> Self {
        SystemClock { started: since_boot(), origin: system_time() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> WallTime {
        self.origin + Span(since_boot().0 - self.started.0)
    }
}

/// With the time that the machine slept.
fn since_boot() -> Span {
    let now = clock_gettime(ClockId::Boottime);
    Span(now.tv_sec * 1_000_000 + now.tv_nsec / 1000)
}

fn system_time() -> WallTime {
    #[expect(clippy::disallowed_methods, reason = "this is the recorder's clock")]
    let now = SystemTime::now();
    WallTime(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64)
}

/// Notices how long its owner did nothing.
#[derive(Debug)]
pub(crate) struct Pulse(WallTime);

impl Pulse {
    pub(crate) fn start(now: WallTime) -> Self {
        Pulse(now)
    }

    /// The time since the last beat. To be called much more often than `STALLED`.
    pub(crate) fn beat(&mut self, now: WallTime) -> Span {
        now - std::mem::replace(&mut self.0, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_with_the_time_of_day_and_does_not_run_backwards() {
        let clock = SystemClock::start();
        let (first, second) = (clock.now(), clock.now());
        assert!(second >= first && (system_time() - first).0.abs() < 1_000_000);
    }

    #[test]
    fn a_step_of_the_systems_time_is_not_followed() {
        // As if the system's time had been set back by a day since the start.
        let clock = SystemClock { started: since_boot(), origin: system_time() + Span::seconds(86_400) };
        let before = clock.now();
        assert!((clock.now() - before).0 < 1_000_000 && clock.now() - system_time() > Span::seconds(86_000));
    }

    #[test]
    fn standing_still_is_noticed_once() {
        let begin = WallTime(1_764_000_000_000_000);
        let mut pulse = Pulse::start(begin);
        let beats = [100, 5100, 5200].map(|n| pulse.beat(begin + Span::millis(n)) > STALLED);
        assert_eq!(beats, [false, true, false]);
    }
}
