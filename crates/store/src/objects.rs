//! Immutable objects: the sealed samples of tracks, under keys that say which track and when. Local disk for now, behind `object_store`.
//! Only whole objects appear: a file is moved in, or written beside and renamed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use vitascope_model::error::Context;
use vitascope_model::{Error, Result};

#[derive(Clone)]
pub struct Objects {
    root: PathBuf,
    store: Arc<LocalFileSystem>,
}

impl Objects {
    /// Objects on the local disk, in a folder that is made if it is not there.
    pub fn local(root: &Path) -> Result<Objects> {
        std::fs::create_dir_all(root).internal(format_args!("make the folder of objects {}", root.display()))?;
        let store = LocalFileSystem::new_with_prefix(root).internal("open the folder of objects")?;
        Ok(Objects { root: root.to_owned(), store: Arc::new(store) })
    }

    pub(crate) fn store(&self) -> &LocalFileSystem {
        &self.store
    }

    /// Removes an object that nothing needs.
    pub async fn remove(&self, key: &str) -> Result<()> {
        self.store.delete(&Key::from(key)).await.internal(format_args!("remove object {key}"))
    }

    /// Makes a finished local file an object. On the same disk this is a rename: no byte is copied.
    pub async fn adopt(&self, file: &Path, key: &str) -> Result<()> {
        let (from, to) = (file.to_owned(), self.root.join(key));
        let moved = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
            let folder = to.parent().expect("a key lies below the root");
            std::fs::create_dir_all(folder)?;
            std::fs::File::open(&from)?.sync_data()?;
            std::fs::rename(&from, &to)?;
            // The new name must survive a power cut as well as the bytes.
            std::fs::File::open(folder)?.sync_all()
        });
        moved.await.internal("adopt an object")?.internal(format_args!("adopt {} as {key}", file.display()))
    }

    /// Undoes `adopt`, where there is such an object; for a crash between the rename and what should have followed it.
    pub async fn give_back(&self, key: &str, file: &Path) -> Result<()> {
        if !self.exists(key).await? {
            return Ok(());
        }
        tokio::fs::rename(self.root.join(key), file).await.internal(format_args!("give back {key}"))
    }

    /// Bytes `offset .. offset + length` of an object.
    pub async fn range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes> {
        let read = self.store.get_range(&Key::from(key), offset..offset + length).await;
        let bytes = read.internal(format_args!("read object {key}"))?;
        if bytes.len() as u64 == length {
            return Ok(bytes);
        }
        Err(Error::internal(format!("object {key} is shorter than its index says")))
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
        Ok(())
    }

    pub async fn exists(&self, key: &str) -> Result<bool> {
        match self.store.head(&Key::from(key)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error).internal(format_args!("look for object {key}")),
        }
    }
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
        objects.give_back("tracks/trk-1/5.dat", &file).await.unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"0123456789");
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
    }
}
