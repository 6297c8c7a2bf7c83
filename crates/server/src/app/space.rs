//! Whether there is room to record. Below `min_free` nothing new begins, so that what is under way can still be brought to its end;
//! who looks at the disk each second, and stops what is recording, is `live::space`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use vitascope_model::{Error, ErrorKind, Result};
use vitascope_store::disk_of;

#[derive(Debug)]
pub struct Space {
    min_free: u64,
    free: AtomicU64,
    full: AtomicBool,
}

impl Space {
    /// From what the disk says now.
    pub fn of(folder: &Path, min_free: u64) -> Result<Space> {
        let space = Space { min_free, free: AtomicU64::new(0), full: AtomicBool::new(false) };
        space.look(folder)?;
        Ok(space)
    }

    /// Looks again; tells whether the disk is nearly full.
    pub fn look(&self, folder: &Path) -> Result<bool> {
        let free = disk_of(folder)?.free;
        self.free.store(free, Ordering::Relaxed);
        // A tenth more before it counts as free again, so that it does not change with each file that goes.
        let enough = if self.is_full() { self.min_free.saturating_add(self.min_free / 10) } else { self.min_free };
        self.full.store(free < enough, Ordering::Relaxed);
        Ok(free < enough)
    }

    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    pub fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// An error where nothing new may begin.
    pub fn check(&self) -> Result<()> {
        if !self.is_full() {
            return Ok(());
        }
        let (free, min_free) = (self.free() >> 20, self.min_free >> 20);
        let message = format!("the disk is nearly full: {free} MB are free, and recording needs {min_free} MB");
        Err(Error::new(ErrorKind::StorageFull, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_the_limit_nothing_begins() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Space::of(folder.path(), 0).unwrap().check().is_ok());
        let full = Space::of(folder.path(), u64::MAX).unwrap();
        assert_eq!(full.check().unwrap_err().kind, ErrorKind::StorageFull);
    }
}
