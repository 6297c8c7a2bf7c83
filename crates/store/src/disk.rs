//! How much room there is where the data lies: what the file system says, for who has to stop before it is full.

use std::path::Path;

use vitascope_model::Result;
use vitascope_model::error::Context;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Bytes that this process may still write.
    pub free: u64,
    /// Bytes of the whole file system.
    pub total: u64,
}

/// Of the file system that a folder lies on.
pub fn disk_of(folder: &Path) -> Result<Disk> {
    let found = rustix::fs::statvfs(folder).internal(format_args!("look at the disk of {}", folder.display()))?;
    Ok(Disk { free: found.f_bavail * found.f_frsize, total: found.f_blocks * found.f_frsize })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_room_and_a_missing_folder_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let disk = disk_of(folder.path()).unwrap();
        assert!(disk.free <= disk.total && disk.total > 0);
        assert!(disk_of(&folder.path().join("missing")).is_err());
    }
}
