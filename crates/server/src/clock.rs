//! The server's clock: the system's wall time read once, then carried on by the monotonic clock, so that it never steps.
//! It is the authority for the times of all media; everybody else is handed it as a `Clock`.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use vitascope_model::{Clock, WallTime};

#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    started_at: WallTime,
}

impl SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place of this binary that asks the system for the time")]
    pub fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        SystemClock { started: Instant::now(), started_at: WallTime(since_epoch.as_micros() as i64) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> WallTime {
        WallTime(self.started_at.0 + self.started.elapsed().as_micros() as i64)
    }
}
