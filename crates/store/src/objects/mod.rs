//! Immutable objects: the sealed samples of tracks, uploaded files and images, under keys that say whose they are. They lie in a folder; with
//! a remote store they lie there only until the remote store has acknowledged them, so who writes never waits for a network, and who
//! reads finds them in either place. Only whole objects appear: a file is moved in, or written beside and renamed.

mod cache;
mod remote;

use std::io::ErrorKind as Io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::sync::Notify;
use vitascope_model::error::Context;
use vitascope_model::{Error, ErrorKind, Result};

use self::cache::{Cache, Held};
use self::remote::Remote;

pub use self::remote::RemoteConfig;

/// Objects on their way at once.
const AT_ONCE: usize = 4;
/// Who makes an object writes its row right after: until then it stays where it can be taken back without a network.
const SETTLE: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub struct Objects {
    root: PathBuf,
    store: Arc<LocalFileSystem>,
    elsewhere: Option<Arc<Elsewhere>>,
}

/// A remote store, and files of its objects that are here as well.
struct Elsewhere {
    remote: Remote,
    /// Of the one process that sends; others only look.
    cache: OnceLock<Arc<Cache>>,
    /// Rung when an object was made.
    bell: Notify,
}

/// An object as a file that a process can read, for as long as this lives.
pub enum ObjectFile {
    Own(PathBuf),
    Held(Held),
}

impl ObjectFile {
    pub fn path(&self) -> &Path {
        match self {
            ObjectFile::Own(path) => path,
            ObjectFile::Held(held) => held.path(),
        }
    }
}

impl Objects {
    /// Objects on the local disk, in a folder that is made if it is not there.
    pub fn local(root: &Path) -> Result<Objects> {
        std::fs::create_dir_all(root).internal(format_args!("make the folder of objects {}", root.display()))?;
        let store = LocalFileSystem::new_with_prefix(root).internal("open the folder of objects")?;
        Ok(Objects { root: root.to_owned(), store: Arc::new(store), elsewhere: None })
    }

    /// Objects in a remote store. What lies in `root`, also from a time without one, is sent there by `send_waiting`.
    pub fn remote(root: &Path, config: &RemoteConfig) -> Result<Objects> {
        let objects = Objects::local(root)?;
        let elsewhere = Elsewhere { remote: Remote::open(config)?, cache: OnceLock::new(), bell: Notify::new() };
        Ok(Objects { elsewhere: Some(Arc::new(elsewhere)), ..objects })
    }

    /// Keeps up to `bytes` of what is sent or fetched in a folder, beside the remote store. For one process at a time.
    pub fn keep_copies(&self, folder: &Path, bytes: u64) -> Result<()> {
        let Some(elsewhere) = &self.elsewhere else { return Ok(()) };
        let cache = Cache::open(folder, bytes)?;
        elsewhere.cache.set(Arc::new(cache)).map_err(|_| Error::internal("copies of objects are kept already"))
    }

    /// Removes an object that nothing needs.
    pub async fn remove(&self, key: &str) -> Result<()> {
        if !self.exists(key).await? {
            return Err(Error::not_found(format_args!("object {key}")));
        }
        self.delete(key, false).await
    }

    /// Makes a finished local file an object. On the same disk this is a rename: no byte is copied.
    pub async fn adopt(&self, file: &Path, key: &str) -> Result<()> {
        let (from, to) = (file.to_owned(), self.root.join(key));
        let moved = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
            let folder = to.parent().expect("a key lies below the root");
            std::fs::File::open(&from)?.sync_data()?;
            move_in(&from, folder, &to)?;
            // The new name must survive a power cut as well as the bytes.
            std::fs::File::open(folder)?.sync_all()
        });
        moved.await.internal("adopt an object")?.internal(format_args!("adopt {} as {key}", file.display()))?;
        if let Some(elsewhere) = &self.elsewhere {
            elsewhere.bell.notify_one();
        }
        Ok(())
    }

    /// Undoes `adopt`, where there is such an object; for a crash between the rename and what should have followed it.
    pub async fn give_back(&self, key: &str, file: &Path) -> Result<()> {
        match tokio::fs::rename(self.root.join(key), file).await {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == Io::NotFound => {}
            Err(error) => return Err(error).internal(format_args!("give back {key}")),
        }
        let Some(elsewhere) = &self.elsewhere else { return Ok(()) };
        if elsewhere.remote.size(key).await?.is_none() {
            return Ok(());
        }
        elsewhere.remote.fetch(key, file).await?;
        elsewhere.delete(key).await
    }

    /// Bytes `offset .. offset + length` of an object.
    pub async fn range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes> {
        let read = self.store.get_range(&Key::from(key), offset..offset + length).await;
        let bytes = match (read, &self.elsewhere) {
            (Err(object_store::Error::NotFound { .. }), Some(elsewhere)) => {
                elsewhere.range(key, offset, length).await?
            }
            (read, _) => read.internal(format_args!("read object {key}"))?,
        };
        if bytes.len() as u64 == length {
            return Ok(bytes);
        }
        Err(Error::internal(format!("object {key} is shorter than its index says")))
    }

    /// An object as a file. One that lies elsewhere is fetched first, as a whole.
    pub async fn file(&self, key: &str) -> Result<ObjectFile> {
        let own = self.root.join(key);
        match &self.elsewhere {
            Some(elsewhere) => Ok(ObjectFile::Held(elsewhere.hold(key, &own).await?)),
            None if own.exists() => Ok(ObjectFile::Own(own)),
            None => Err(Error::internal(format!("object {key} is missing"))),
        }
    }

    /// Removes an object; one that is not there is no error. An empty folder goes with it where `tidy` says that nobody fills it again.
    pub async fn delete(&self, key: &str, tidy: bool) -> Result<()> {
        match self.store.delete(&Key::from(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error).internal(format_args!("delete object {key}")),
        }
        if let (true, Some(folder)) = (tidy, self.root.join(key).parent()) {
            // As long as it holds something it stays.
            tokio::fs::remove_dir(folder).await.ok();
        }
        if let Some(elsewhere) = &self.elsewhere {
            // After the file here: who is sending it right now then sees that it is gone.
            elsewhere.delete(key).await?;
        }
        Ok(())
    }

    pub async fn exists(&self, key: &str) -> Result<bool> {
        match (self.store.head(&Key::from(key)).await, &self.elsewhere) {
            (Ok(_), _) => Ok(true),
            (Err(object_store::Error::NotFound { .. }), None) => Ok(false),
            (Err(object_store::Error::NotFound { .. }), Some(elsewhere)) => {
                Ok(elsewhere.remote.size(key).await?.is_some())
            }
            (Err(error), _) => Err(error).internal(format_args!("look for object {key}")),
        }
    }

    /// Every object there is, once.
    pub(crate) async fn list_all(&self) -> Result<Vec<ObjectMeta>> {
        // Here first: what is sent in between is then seen twice rather than never.
        let mut found = self.list_here().await?;
        if let Some(elsewhere) = &self.elsewhere {
            let here: std::collections::HashSet<Key> = found.iter().map(|o| o.location.clone()).collect();
            found.extend(elsewhere.remote.list().await?.into_iter().filter(|o| !here.contains(&o.location)));
        }
        Ok(found)
    }

    async fn list_here(&self) -> Result<Vec<ObjectMeta>> {
        self.store.list(None).try_collect().await.internal("list the objects")
    }

    /// Whether objects go to a remote store.
    pub fn is_remote(&self) -> bool {
        self.elsewhere.is_some()
    }

    /// Returns when an object was made, or at once if that was since the last time; without a remote store never.
    pub async fn made(&self) {
        match &self.elsewhere {
            Some(elsewhere) => elsewhere.bell.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Sends what lies here to the remote store, oldest first; how many objects that were. What was acknowledged stays as a copy, if there
    /// is room for it; what was not, stays where it is.
    pub async fn send_waiting(&self) -> Result<usize> {
        let Some(elsewhere) = &self.elsewhere else { return Ok(0) };
        let mut waiting = self.list_here().await?;
        if waiting.is_empty() {
            return Ok(0);
        }
        tokio::time::sleep(SETTLE).await;
        waiting.sort_by_key(|o| o.last_modified);
        let sending = waiting.into_iter().map(|o| elsewhere.send(o.location.to_string(), &self.root));
        let mut sending = futures_util::stream::iter(sending).buffer_unordered(AT_ONCE);
        let (mut sent, mut failed) = (0, None);
        while let Some(result) = sending.next().await {
            match result {
                Ok(is_sent) => sent += usize::from(is_sent),
                // The same would happen to the next one.
                Err(error) if error.kind == ErrorKind::Unavailable => return Err(error),
                // A file of which something is wrong holds up no other.
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(sent), Err)
    }

    /// Objects that are not in the remote store yet, and their bytes.
    pub async fn waiting(&self) -> Result<(usize, u64)> {
        let here = if self.elsewhere.is_some() { self.list_here().await? } else { Vec::new() };
        Ok((here.len(), here.iter().map(|o| o.size).sum()))
    }

    /// Whether the remote store takes, gives and deletes: an error says what is wrong. Without one there is nothing to say.
    pub async fn try_remote(&self) -> Result<Option<String>> {
        let Some(elsewhere) = &self.elsewhere else { return Ok(None) };
        elsewhere.remote.probe().await.map(Some)
    }
}

impl Elsewhere {
    async fn delete(&self, key: &str) -> Result<()> {
        if let Some(cache) = self.cache.get() {
            cache.forget(key);
        }
        self.remote.delete(key).await
    }

    /// Whether it was sent; it may have been deleted since it was listed.
    async fn send(&self, key: String, root: &Path) -> Result<bool> {
        let path = root.join(&key);
        if !self.remote.put_file(&key, &path).await? {
            return Ok(false);
        }
        // Deleted while it was sent: then it must not be there either.
        if !path.exists() {
            self.remote.delete(&key).await?;
            return Ok(false);
        }
        match self.cache.get() {
            Some(cache) => cache.take_in(&key, &path),
            None => tokio::fs::remove_file(&path).await.internal("remove an object that was sent")?,
        }
        if let Some(folder) = path.parent() {
            // As long as it holds something it stays; who moves something in makes it again.
            tokio::fs::remove_dir(folder).await.ok();
        }
        Ok(true)
    }

    async fn range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes> {
        if let Some(held) = self.cache.get().and_then(|cache| cache.hold(key)) {
            let path = held.path().to_owned();
            let read = tokio::task::spawn_blocking(move || {
                use std::os::unix::fs::FileExt;
                let mut out = vec![0; length as usize];
                std::fs::File::open(&path)?.read_exact_at(&mut out, offset).map(|()| out)
            });
            if let Ok(bytes) = read.await.internal("read a cached object")? {
                return Ok(bytes.into());
            }
        }
        self.remote.range(key, offset, length).await
    }

    async fn hold(&self, key: &str, own: &Path) -> Result<Held> {
        let cache = self.cache.get().ok_or_else(|| Error::internal("copies of objects are not kept here"))?;
        // One at a time for each object: who comes second finds what the first one fetched.
        let turn = cache.turn(key);
        let _turn = turn.lock().await;
        if let Some(held) = cache.hold(key).or_else(|| cache.link(key, own)) {
            return Ok(held);
        }
        let size = self.remote.size(key).await?.ok_or_else(|| Error::internal(format!("object {key} is missing")))?;
        cache.make_room(size);
        let fresh = cache.fresh_path();
        self.remote.fetch(key, &fresh).await?;
        cache.insert(key, &fresh)
    }
}

/// Into a folder that somebody may remove at the same moment because it is empty.
fn move_in(from: &Path, folder: &Path, to: &Path) -> std::io::Result<()> {
    for _ in 0..8 {
        std::fs::create_dir_all(folder)?;
        match std::fs::rename(from, to) {
            Err(error) if error.kind() == Io::NotFound && from.exists() => {}
            moved => return moved,
        }
    }
    std::fs::rename(from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_adopted_file_is_read_by_ranges() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::local(&folder.path().join("objects")).unwrap();
        let file = folder.path().join("journal.dat");
        std::fs::write(&file, b"0123456789").unwrap();
        objects.adopt(&file, "tracks/trk-1/5.dat").await.unwrap();
        assert!(!file.exists());
        assert_eq!(&objects.range("tracks/trk-1/5.dat", 3, 4).await.unwrap()[..], b"3456");
        assert!(objects.range("tracks/trk-1/5.dat", 8, 4).await.is_err());
        assert!(!objects.exists("tracks/trk-2/5.dat").await.unwrap());
        let as_file = objects.file("tracks/trk-1/5.dat").await.unwrap();
        assert_eq!(std::fs::read(as_file.path()).unwrap(), b"0123456789");
        assert!(objects.file("tracks/trk-2/5.dat").await.is_err());
        objects.give_back("tracks/trk-1/5.dat", &file).await.unwrap();
        objects.give_back("tracks/trk-1/5.dat", &file).await.unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"0123456789");
        assert_eq!((objects.send_waiting().await.unwrap(), objects.waiting().await.unwrap()), (0, (0, 0)));
    }

    #[tokio::test]
    async fn what_is_deleted_is_gone_and_its_folder_goes_last() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::local(&folder.path().join("objects")).unwrap();
        for name in ["1.dat", "2.dat"] {
            std::fs::write(folder.path().join(name), b"x").unwrap();
            objects.adopt(&folder.path().join(name), &format!("tracks/trk-1/{name}")).await.unwrap();
        }
        objects.delete("tracks/trk-1/1.dat", true).await.unwrap();
        assert!(objects.exists("tracks/trk-1/2.dat").await.unwrap());
        objects.delete("tracks/trk-1/2.dat", true).await.unwrap();
        objects.delete("tracks/trk-1/2.dat", true).await.unwrap();
        assert!(!folder.path().join("objects/tracks/trk-1").exists());
        assert!(objects.remove("tracks/trk-1/2.dat").await.is_err());
    }
}
