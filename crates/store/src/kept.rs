//! Reads that are kept as long as they are true. SQLite says which table each statement of the writer touched; when its commit is
//! done, that table's version goes up, and what was read from it before is read again. So a writer can forget to invalidate nothing.
//! What another process writes is seen after half a second at the latest. Only what every request needs is worth keeping.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use vitascope_model::Result;

/// The tables that something is kept of.
#[derive(Clone, Copy)]
pub(crate) enum Table {
    ApiKey,
    ApiKeyCollection,
    ClientToken,
    CaptureSession,
    CaptureChannel,
    RtStream,
    Video,
    VideoPart,
    Track,
    Chunk,
    Image,
    Audio,
    Stream,
    StreamSpan,
}

/// Their names, in the order above.
const NAMES: [&str; 14] = [
    "api_key",
    "api_key_collection",
    "client_token",
    "capture_session",
    "capture_channel",
    "rtstream",
    "video",
    "video_part",
    "track",
    "chunk",
    "image",
    "audio",
    "stream",
    "stream_span",
];

/// For changes that this process did not make, such as a key revoked on the command line.
const AT_MOST: Duration = Duration::from_millis(500);
/// Entries of one kind. A full shelf is emptied: what is in use is back at once.
const MOST: usize = 512;

/// What changed, by table.
#[derive(Default)]
pub(crate) struct Changes {
    versions: [AtomicU64; NAMES.len()],
    /// Tables of the open transaction, one bit each.
    touched: AtomicU64,
}

impl Changes {
    /// A statement of the open transaction touched a row.
    pub(crate) fn touch(&self, table: &str) {
        if let Some(n) = NAMES.iter().position(|name| *name == table) {
            self.touched.fetch_or(1 << n, Ordering::Relaxed);
        }
    }

    /// The transaction is over: what was read before it is old. One that was rolled back costs a read, no more.
    pub(crate) fn publish(&self) {
        let touched = self.touched.swap(0, Ordering::Relaxed);
        for (n, version) in self.versions.iter().enumerate() {
            if touched & (1 << n) != 0 {
                version.fetch_add(1, Ordering::Release);
            }
        }
    }

    /// Versions only grow, so their sum stays the same only if all of them do.
    fn stamp(&self, tables: &[Table]) -> u64 {
        tables.iter().map(|t| self.versions[*t as usize].load(Ordering::Acquire)).sum()
    }
}

struct Entry<V> {
    stamp: u64,
    read_at: Instant,
    value: V,
}

/// What was read from some tables, by key.
pub(crate) struct Kept<K, V> {
    tables: &'static [Table],
    changes: Arc<Changes>,
    entries: Mutex<Shelf<K, V>>,
}

struct Shelf<K, V> {
    entries: HashMap<K, Entry<V>>,
    cleared_at: Instant,
}

impl<K: Hash + Eq, V> Shelf<K, V> {
    /// What is too old to be believed is not left lying: sessions of this morning would cost memory until the shelf is full.
    fn put(&mut self, key: K, entry: Entry<V>) {
        let now = entry.read_at;
        if self.entries.len() >= MOST {
            self.entries.clear();
        } else if now >= self.cleared_at + AT_MOST {
            self.entries.retain(|_, e| now < e.read_at + AT_MOST);
            self.cleared_at = now;
        }
        self.entries.insert(key, entry);
    }
}

impl<K: Hash + Eq, V: Clone> Kept<K, V> {
    pub(crate) fn new(tables: &'static [Table], changes: &Arc<Changes>) -> Kept<K, V> {
        let shelf = Shelf { entries: HashMap::new(), cleared_at: Instant::now() };
        Kept { tables, changes: changes.clone(), entries: Mutex::new(shelf) }
    }

    /// What is kept under `key`, or else what `read` finds. A read that was overtaken by a commit is kept for nobody.
    pub(crate) async fn get(&self, key: K, read: impl Future<Output = Result<V>>) -> Result<V> {
        // Taken before the read, since a commit may come in between.
        let stamp = self.changes.stamp(self.tables);
        if let Some(value) = self.find(&key, stamp, Instant::now()) {
            return Ok(value);
        }
        let value = read.await?;
        let entry = Entry { stamp, read_at: Instant::now(), value: value.clone() };
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).put(key, entry);
        Ok(value)
    }

    fn find(&self, key: &K, stamp: u64, now: Instant) -> Option<V> {
        let shelf = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let found = shelf.entries.get(key).filter(|e| e.stamp == stamp && now < e.read_at + AT_MOST)?;
        Some(found.value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(kept: &Kept<u8, u32>, now_true: u32) -> u32 {
        kept.get(1, async { Ok(now_true) }).await.unwrap()
    }

    #[tokio::test]
    async fn a_read_is_kept_until_its_table_changes_or_half_a_second_has_passed() {
        let changes = Arc::default();
        let kept = Kept::new(&[Table::ApiKey, Table::Video], &changes);
        assert_eq!(read(&kept, 1).await, 1);
        changes.touch("rtstream");
        changes.publish();
        assert_eq!(read(&kept, 2).await, 1, "another table changed");
        changes.touch("video");
        assert_eq!(read(&kept, 2).await, 1, "not committed");
        changes.publish();
        assert_eq!(read(&kept, 2).await, 2);
        let (stamp, now) = (kept.changes.stamp(kept.tables), Instant::now());
        assert_eq!(kept.find(&1, stamp, now), Some(2));
        assert_eq!(kept.find(&1, stamp, now + AT_MOST), None, "another process may have written");
    }

    #[test]
    fn what_is_too_old_does_not_lie_about() {
        let began = Instant::now();
        let mut shelf = Shelf { entries: HashMap::new(), cleared_at: began };
        let entry = |after: Duration| Entry { stamp: 0, read_at: began + after, value: () };
        for n in 0..100 {
            shelf.put(n, entry(AT_MOST * n / 100));
        }
        assert_eq!(shelf.entries.len(), 100, "all of them are young");
        shelf.put(100, entry(AT_MOST * 2 - Duration::from_millis(1)));
        assert_eq!(shelf.entries.len(), 1, "and now all but the last are old");
    }

    #[tokio::test]
    async fn a_read_that_a_commit_overtakes_is_not_kept() {
        let changes = Arc::default();
        let kept = Kept::new(&[Table::ApiKey], &changes);
        let overtaken = kept.get(1, async {
            changes.touch("api_key");
            changes.publish();
            Ok(1)
        });
        assert_eq!(overtaken.await.unwrap(), 1);
        assert_eq!(read(&kept, 2).await, 2);
    }
}
