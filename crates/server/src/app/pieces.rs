//! Pieces: samples that were coded anew for a stream (edges, black pictures, sound in another form), made when they are first asked
//! for and kept on the disk as long as there is room. A piece is made once, however many ask; it goes when what it was made of goes.
//! What a piece is, `media::compile` says; that it may be lost at any time is why it lies in the cache folder.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use tokio::sync::{OnceCell, Semaphore};
use vitascope_media::compile::{Coded, Make, Recipe, SegmentPart};
use vitascope_media::encoder::edge;
use vitascope_model::error::Context;
use vitascope_model::{Error, Result};

use super::App;
use super::gather::read_parts;
use crate::random;

/// Bytes of all pieces together: some hours of nothing but edges.
const MOST: u64 = 512 << 20;
/// Pieces that are made at once: each takes two threads.
const AT_ONCE: usize = 2;

pub struct Pieces {
    root: PathBuf,
    running: Mutex<HashMap<String, Arc<OnceCell<Coded>>>>,
    shelf: Mutex<Shelf>,
    turns: Semaphore,
}

impl Pieces {
    /// What an earlier run left is used again, the oldest first to go.
    pub fn open(root: PathBuf) -> Result<Pieces> {
        std::fs::create_dir_all(&root).internal(format_args!("make {}", root.display()))?;
        let mut found = list(&root).internal(format_args!("list {}", root.display()))?;
        found.sort();
        let mut shelf = Shelf::default();
        found.into_iter().for_each(|(_, name, size)| shelf.put(&name, size));
        Ok(Pieces { root, running: Mutex::default(), shelf: Mutex::new(shelf), turns: Semaphore::new(AT_ONCE) })
    }

    /// Removes what was made of an object.
    pub async fn forget(&self, object: &str) -> Result<()> {
        let folder = folder_of(Some(object));
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner).drop_folder(&folder);
        match tokio::fs::remove_dir_all(self.root.join(folder)).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).internal("remove pieces"),
            _ => Ok(()),
        }
    }

    async fn find(&self, name: &str) -> Option<Coded> {
        if !self.shelf.lock().unwrap_or_else(PoisonError::into_inner).touch(name) {
            return None;
        }
        let bytes = tokio::fs::read(self.root.join(name)).await.ok()?;
        // A file that is torn, as after a power cut, is made anew.
        Coded::from_bytes(bytes.into())
    }

    /// A piece that cannot be kept is no trouble for who asked for it.
    async fn keep(&self, name: &str, coded: &Coded) {
        let bytes = coded.to_bytes();
        if let Err(error) = self.write(name, &bytes).await {
            tracing::warn!(%error, "a piece could not be kept");
            return;
        }
        let dropped =
            self.shelf.lock().unwrap_or_else(PoisonError::into_inner).put_within(name, bytes.len() as u64, MOST);
        for name in dropped {
            tokio::fs::remove_file(self.root.join(name)).await.ok();
        }
    }

    async fn write(&self, name: &str, bytes: &Bytes) -> std::io::Result<()> {
        let path = self.root.join(name);
        let unfinished = path.with_extension("tmp");
        tokio::fs::create_dir_all(path.parent().unwrap_or(&self.root)).await?;
        tokio::fs::write(&unfinished, bytes).await?;
        tokio::fs::rename(&unfinished, &path).await
    }
}

/// The samples of a recipe, made now if nobody made them before.
pub async fn coded(app: &App, recipe: &Recipe) -> Result<Coded> {
    let pieces = &app.pieces;
    let name = format!("{}/{}", folder_of(recipe.object.as_deref()), &random::digest(&recipe.name)[..32]);
    if let Some(found) = pieces.find(&name).await {
        return Ok(found);
    }
    let running = || pieces.running.lock().unwrap_or_else(PoisonError::into_inner);
    let cell = running().entry(name.clone()).or_default().clone();
    // If the one who makes it goes away, the next who waits does it.
    let made = cell.get_or_try_init(|| async {
        let made = make(app, &recipe.make).await?;
        pieces.keep(&name, &made).await;
        Ok::<_, Error>(made)
    });
    let made = made.await.cloned();
    running().remove(&name);
    made
}

async fn make(app: &App, wanted: &Make) -> Result<Coded> {
    let _turn = app.pieces.turns.acquire().await.internal("wait for a turn to encode")?;
    match wanted {
        Make::Edge(source) => {
            let group = read(app, &source.parts).await?;
            edge::pictures(group.into(), source.skip, source.take).await
        }
        Make::Black { width, height } => edge::black(*width, *height).await,
        Make::Sound(source) => {
            let data = read(app, &source.parts).await?;
            edge::sound(&source.codec, &source.sizes, &data, source.skip, source.take).await
        }
    }
}

async fn read(app: &App, parts: &[SegmentPart]) -> Result<Bytes> {
    let size = |part: &SegmentPart| match part {
        SegmentPart::Bytes(bytes) => bytes.len() as u64,
        SegmentPart::Slice(slice) => slice.length,
    };
    read_parts(app, parts, parts.iter().map(size).sum()).await
}

/// One folder for each object, so that all that was made of it can go with it.
fn folder_of(object: Option<&str>) -> String {
    object.map_or_else(|| "nothing".to_owned(), |key| random::digest(key)[..32].to_owned())
}

/// Files of the cache: when each was written, its name from the root, its size.
fn list(root: &Path) -> std::io::Result<Vec<(Option<SystemTime>, String, u64)>> {
    let mut found = Vec::new();
    for folder in std::fs::read_dir(root)?.flatten() {
        for file in std::fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            let (folder, name) = (folder.file_name(), file.file_name());
            let name = format!("{}/{}", folder.to_string_lossy(), name.to_string_lossy());
            if name.ends_with(".tmp") {
                std::fs::remove_file(file.path())?;
            } else if let Ok(about) = file.metadata() {
                found.push((about.modified().ok(), name, about.len()));
            }
        }
    }
    Ok(found)
}

/// Which pieces there are, and which were used last.
#[derive(Default)]
struct Shelf {
    /// By name: when it was used, and its size.
    pieces: HashMap<String, (u64, u64)>,
    by_use: BTreeMap<u64, String>,
    clock: u64,
    bytes: u64,
}

impl Shelf {
    fn put(&mut self, name: &str, size: u64) {
        self.remove(name);
        self.clock += 1;
        self.pieces.insert(name.to_owned(), (self.clock, size));
        self.by_use.insert(self.clock, name.to_owned());
        self.bytes += size;
    }

    /// Puts a piece there; what must go for it.
    fn put_within(&mut self, name: &str, size: u64, most: u64) -> Vec<String> {
        self.put(name, size);
        let mut dropped = Vec::new();
        while self.bytes > most && self.pieces.len() > 1 {
            let Some((_, oldest)) = self.by_use.first_key_value() else { break };
            let oldest = oldest.clone();
            self.remove(&oldest);
            dropped.push(oldest);
        }
        dropped
    }

    fn touch(&mut self, name: &str) -> bool {
        let Some(size) = self.pieces.get(name).map(|(_, size)| *size) else { return false };
        self.put(name, size);
        true
    }

    fn remove(&mut self, name: &str) {
        if let Some((used, size)) = self.pieces.remove(name) {
            self.by_use.remove(&used);
            self.bytes -= size;
        }
    }

    fn drop_folder(&mut self, folder: &str) {
        let is_in = |name: &&String| name.split_once('/').is_some_and(|(of, _)| of == folder);
        let gone: Vec<String> = self.pieces.keys().filter(is_in).cloned().collect();
        gone.iter().for_each(|name| self.remove(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut shelf = Shelf::default();
        assert!(shelf.put_within("a/1", 40, 100).is_empty());
        assert!(shelf.put_within("b/2", 40, 100).is_empty());
        assert!(shelf.touch("a/1") && !shelf.touch("c/3"));
        assert_eq!(shelf.put_within("c/3", 40, 100), ["b/2"]);
        assert_eq!(shelf.put_within("d/4", 500, 100), ["a/1", "c/3"], "the one that is new stays");
        assert_eq!((shelf.bytes, shelf.pieces.len(), shelf.by_use.len()), (500, 1, 1));
    }

    #[test]
    fn what_was_made_of_an_object_goes_with_it() {
        let mut shelf = Shelf::default();
        ["a/1", "a/2", "ab/1"].iter().for_each(|name| shelf.put(name, 10));
        shelf.drop_folder("a");
        assert_eq!((shelf.bytes, shelf.touch("ab/1"), shelf.touch("a/1")), (10, true, false));
    }

    #[test]
    fn an_earlier_run_is_found_again_without_what_it_left_unfinished() {
        let dir = tempfile::tempdir().unwrap();
        for (name, size) in [("x/1", 3), ("y/2", 4), ("y/3.tmp", 5)] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![0; size]).unwrap();
        }
        let pieces = Pieces::open(dir.path().to_owned()).unwrap();
        assert_eq!(pieces.shelf.lock().unwrap().bytes, 7);
        assert!(!dir.path().join("y/3.tmp").exists());
    }
}
