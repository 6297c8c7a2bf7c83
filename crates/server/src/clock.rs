//! The server's clock: the system's wall time read once, then carried on by the kernel's clock that never steps and that also runs
//! while the machine sleeps, as the recorder's does. It is the authority for the times of all media; everybody else is handed it
//! as a `Clock`.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use vitascope_model::{Clock, Span, WallTime};

#[derive(Debug)]
pub struct SystemClock {
    started: Span,
    started_at: WallTime,
}

impl SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place of this binary that asks the system for the time")]
    pub fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        SystemClock { started: since_boot(), started_at: WallTime(since_epoch.as_micros() as i64) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> WallTime {
        self.started_at + Span(since_boot().0 - self.started.0)
    }
}

/// With the time that the machine slept.
fn since_boot() -> Span {
    let now = clock_gettime(ClockId::Boottime);
    Span(now.tv_sec * 1_000_000 + now.tv_nsec / 1000)
}
