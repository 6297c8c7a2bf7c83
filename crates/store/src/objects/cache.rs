//! Files of remote objects that are here as well, up to a size: those that were used last. A file that somebody holds stays; all others may go
//! at any moment, since the remote store has them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vitascope_model::Result;
use vitascope_model::error::Context;

pub(super) struct Cache {
    folder: PathBuf,
    most_bytes: u64,
    state: Mutex<State>,
    next_name: AtomicU64,
}

#[derive(Default)]
struct State {
    files: HashMap<String, Entry>,
    bytes: u64,
    /// Counts up with each use.
    now: u64,
    turns: HashMap<String, Arc<tokio::sync::Mutex<()>>>,
}

struct Entry {
    bytes: u64,
    used: u64,
    holders: usize,
}

/// A file that stays for as long as this lives.
pub struct Held {
    cache: Arc<Cache>,
    key: String,
    path: PathBuf,
}

impl Held {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.cache.state();
        if let Some(entry) = state.files.get_mut(&self.key) {
            entry.holders = entry.holders.saturating_sub(1);
        }
        self.cache.shrink(&mut state, 0);
    }
}

impl Cache {
    /// With what an earlier process left, in the order in which it was written.
    pub(super) fn open(folder: &Path, most_bytes: u64) -> Result<Cache> {
        let doing = format!("read the folder of cached objects {}", folder.display());
        fs::create_dir_all(folder).internal(&doing)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).internal(&doing)? {
            let path = entry.internal(&doing)?.path();
            match path.file_name().and_then(|name| key_of(name.to_str()?)) {
                Some(key) => {
                    let meta = fs::metadata(&path).internal(&doing)?;
                    found.push((meta.modified().internal(&doing)?, key, meta.len()));
                }
                // What was being fetched.
                None => fs::remove_file(&path).internal(&doing)?,
            }
        }
        found.sort();
        let cache =
            Cache { folder: folder.to_owned(), most_bytes, state: Mutex::default(), next_name: AtomicU64::new(0) };
        let mut state = cache.state();
        for (_, key, bytes) in found {
            state.add(key, bytes);
        }
        cache.shrink(&mut state, 0);
        drop(state);
        Ok(cache)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path_of(&self, key: &str) -> PathBuf {
        self.folder.join(name_of(key))
    }

    /// Where a file may be written before it is one of the cache.
    pub(super) fn fresh_path(&self) -> PathBuf {
        self.folder.join(format!("fetching.{}", self.next_name.fetch_add(1, Ordering::Relaxed)))
    }

    pub(super) fn hold(self: &Arc<Self>, key: &str) -> Option<Held> {
        let mut state = self.state();
        let now = state.tick();
        let entry = state.files.get_mut(key)?;
        (entry.used, entry.holders) = (now, entry.holders + 1);
        Some(Held { cache: self.clone(), key: key.to_owned(), path: self.path_of(key) })
    }

    /// A second name for a file that may go any moment; none if it is gone already.
    pub(super) fn link(self: &Arc<Self>, key: &str, file: &Path) -> Option<Held> {
        let path = self.path_of(key);
        fs::remove_file(&path).ok();
        fs::hard_link(file, &path).ok()?;
        let bytes = fs::metadata(&path).ok()?.len();
        self.state().add(key.to_owned(), bytes);
        self.hold(key)
    }

    /// Moves in a file that was fetched.
    pub(super) fn insert(self: &Arc<Self>, key: &str, file: &Path) -> Result<Held> {
        let bytes = fs::metadata(file).internal("look at a fetched object")?.len();
        fs::rename(file, self.path_of(key)).internal("keep a fetched object")?;
        self.state().add(key.to_owned(), bytes);
        self.hold(key).ok_or_else(|| vitascope_model::Error::internal("a fetched object is not there"))
    }

    /// Takes a file that the remote store has: it stays as a copy, if there is room, and is gone from where it was.
    pub(super) fn take_in(&self, key: &str, file: &Path) {
        let bytes = fs::metadata(file).map_or(u64::MAX, |found| found.len());
        let is_here = self.state().files.contains_key(key);
        if is_here || bytes > self.most_bytes || fs::rename(file, self.path_of(key)).is_err() {
            // Deleted since is as good.
            fs::remove_file(file).ok();
            return;
        }
        let mut state = self.state();
        state.add(key.to_owned(), bytes);
        self.shrink(&mut state, 0);
    }

    pub(super) fn make_room(&self, bytes: u64) {
        self.shrink(&mut self.state(), bytes);
    }

    /// The object is deleted. Who holds its file has it open, or is too late.
    pub(super) fn forget(&self, key: &str) {
        let mut state = self.state();
        if let Some(entry) = state.files.remove(key) {
            state.bytes -= entry.bytes;
            fs::remove_file(self.path_of(key)).ok();
        }
    }

    /// One lock for each object that is fetched.
    pub(super) fn turn(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut state = self.state();
        state.turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        state.turns.entry(key.to_owned()).or_default().clone()
    }

    /// Lets go of what was not used for longest, until there is room for `more`.
    fn shrink(&self, state: &mut State, more: u64) {
        while state.bytes.saturating_add(more) > self.most_bytes {
            let free = state.files.iter().filter(|(_, entry)| entry.holders == 0);
            let Some(key) = free.min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone()) else { return };
            if let Some(entry) = state.files.remove(&key) {
                state.bytes -= entry.bytes;
            }
            fs::remove_file(self.path_of(&key)).ok();
        }
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    fn add(&mut self, key: String, bytes: u64) {
        let used = self.tick();
        let holders = self.files.get(&key).map_or(0, |before| before.holders);
        self.bytes += bytes;
        if let Some(before) = self.files.insert(key, Entry { bytes, used, holders }) {
            self.bytes -= before.bytes;
        }
    }
}

/// Flat: keys are made of letters, digits, `-`, `.` and `/` only.
fn name_of(key: &str) -> String {
    format!("{}+", key.replace('/', "+"))
}

fn key_of(name: &str) -> Option<String> {
    Some(name.strip_suffix('+')?.replace('+', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, bytes: usize) -> PathBuf {
        let path = folder.join("file");
        fs::write(&path, vec![7; bytes]).unwrap();
        path
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_used_last_stays_and_what_is_held_stays_anyway() {
        let (folder, at) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let cache = Arc::new(Cache::open(at.path(), 100).unwrap());
        for key in ["a/1.dat", "a/2.dat", "a/3.dat"] {
            cache.take_in(key, &file(folder.path(), 30));
        }
        assert!(!folder.path().join("file").exists());
        drop(cache.hold("a/1.dat").unwrap());
        let held = cache.hold("a/2.dat").unwrap();
        cache.take_in("b", &file(folder.path(), 90));
        assert_eq!(names(at.path()), ["a+2.dat+"], "the one that came is too much beside the one that is held");
        cache.take_in("c", &file(folder.path(), 70));
        assert_eq!(names(at.path()), ["a+2.dat+", "c+"]);
        assert_eq!(fs::read(held.path()).unwrap().len(), 30);
        drop(held);
        cache.take_in("d", &file(folder.path(), 101));
        assert_eq!(names(at.path()), ["a+2.dat+", "c+"], "never larger than all");
        cache.forget("c");
        assert!(cache.hold("c").is_none());
        assert_eq!(names(at.path()), ["a+2.dat+"]);
    }

    #[test]
    fn a_new_process_finds_what_was_kept_and_nothing_half() {
        let (folder, at) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Cache::open(at.path(), 100).unwrap().take_in("tracks/t/5.dat", &file(folder.path(), 30));
        fs::write(at.path().join("fetching.1.part"), b"half").unwrap();
        let cache = Arc::new(Cache::open(at.path(), 100).unwrap());
        assert_eq!(names(at.path()), ["tracks+t+5.dat+"]);
        assert!(cache.hold("tracks/t/5.dat").is_some());
        assert!(names(Cache::open(at.path(), 20).map(|_| at.path()).unwrap()).is_empty());
    }
}
