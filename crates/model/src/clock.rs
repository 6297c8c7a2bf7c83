//! The clock that is handed in. Only the two binaries own one that reads the system; tests own one that they turn by hand.

use crate::time::WallTime;

/// Wall time that never runs backwards within one process.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> WallTime;
}
