//! Uploads up to the file on the disk: slots, what is received into them, and what becomes of files that nobody used.
//! A file counts as received only when it is on the disk whole; what broke off before leaves nothing behind.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;
use vitascope_model::account::Scope;
use vitascope_model::collection::Collection;
use vitascope_model::error::Context;
use vitascope_model::upload::{Arriving, Received, UploadSlot};
use vitascope_model::{Error, ErrorKind, Result, Span};
use vitascope_store::upload::{self, Filled};

use super::App;
use crate::random;

/// How long the URL of a slot is good.
pub const SLOT_LIFE: Span = Span::seconds(86_400);

/// How the name of a folder ends that `yt-dlp` writes into.
pub(super) const SITE_FOLDER: &str = ".site";

/// Where files lie until they are somebody's: on the disk of the objects, so that taking one over copies nothing.
pub fn folder(app: &App) -> PathBuf {
    app.config.data_dir.join("uploads")
}

/// A URL's secret and its slot.
pub struct MintedSlot {
    pub secret: String,
    pub slot: UploadSlot,
}

/// A new slot of a collection, for a day.
pub async fn make_slot(
    app: &App,
    scope: &Scope,
    collection: &Collection,
    name: Option<String>,
    arriving: Option<Arriving>,
) -> Result<MintedSlot> {
    app.space.check()?;
    let (secret, now) = (random::secret_name(), app.now());
    let slot = UploadSlot {
        hash: random::digest(&secret),
        owner: scope.user().clone(),
        collection_id: collection.id.clone(),
        name,
        expires_at: now + SLOT_LIFE,
        arriving,
        received: None,
    };
    let made = slot.clone();
    app.store.write(move |tx| Box::pin(async move { upload::insert_slot(tx, &made, now).await })).await?;
    Ok(MintedSlot { secret, slot })
}

/// The slot that a URL's secret opens.
pub async fn open_slot(app: &App, secret: &str) -> Result<UploadSlot> {
    let found = app.store.find_upload_slot(&random::digest(secret)).await?;
    let slot = found.ok_or_else(|| Error::not_found("the upload URL"))?;
    if slot.expires_at <= app.now() {
        return Err(Error::gone("this upload URL has expired; ask for another with GET /collection/{id}/upload_url"));
    }
    Ok(slot)
}

/// What was sent to a slot, if it has at most so many bytes.
pub async fn read_small(app: &App, hash: &str, most: usize) -> Result<Vec<u8>> {
    let slot = app.store.find_upload_slot(hash).await?;
    let received = slot.and_then(|slot| slot.received).ok_or_else(|| Error::gone("the upload URL has expired"))?;
    if received.bytes > most as u64 {
        return Err(Error::invalid(format!("the file at the upload URL is larger than {most} bytes")));
    }
    tokio::fs::read(folder(app).join(&received.file)).await.internal("read an upload")
}

/// A file that is coming in. Unless it is finished and kept, it goes when this does.
pub struct Inflow {
    app: App,
    path: PathBuf,
    name: String,
    file: File,
    digest: Sha256,
    bytes: u64,
    is_kept: bool,
}

impl Inflow {
    /// `expected`: how many bytes will come at the most, if the sender said so.
    pub async fn begin(app: &App, expected: Option<u64>) -> Result<Inflow> {
        check_size(app, expected.unwrap_or(0))?;
        check_room(app, expected.unwrap_or(0))?;
        let folder = folder(app);
        fs::create_dir_all(&folder).await.internal("make the folder of uploads")?;
        let name = random::secret_name();
        let path = folder.join(&name);
        let file = File::create_new(&path).await.internal("make a file for an upload")?;
        Ok(Inflow { app: app.clone(), path, name, file, digest: Sha256::new(), bytes: 0, is_kept: false })
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub async fn write(&mut self, chunk: &[u8]) -> Result<()> {
        self.bytes += chunk.len() as u64;
        check_size(&self.app, self.bytes)?;
        if self.app.space.is_full() {
            return Err(full());
        }
        self.digest.update(chunk);
        self.file.write_all(chunk).await.map_err(unwritten)
    }

    /// Puts all of it on the disk. What comes back names a file that is still to be kept.
    pub async fn finish(mut self, source_name: Option<String>) -> Result<(Inflow, Received)> {
        self.file.flush().await.map_err(unwritten)?;
        self.file.sync_all().await.map_err(unwritten)?;
        sync_folder(&folder(&self.app)).await?;
        let sha256 = random::hex(&std::mem::take(&mut self.digest).finalize());
        let received = Received { file: self.name.clone(), source_name, sha256, bytes: self.bytes };
        Ok((self, received))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// It is somebody's now.
    pub fn keep(mut self) -> PathBuf {
        self.is_kept = true;
        self.path.clone()
    }
}

impl Drop for Inflow {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(%error, "what came in of a broken upload could not be removed; the next start does it");
        }
    }
}

/// The slot holds what came in; what it held before goes.
pub async fn fill_slot(app: &App, slot: &UploadSlot, inflow: Inflow, received: Received) -> Result<()> {
    let hash = slot.hash.clone();
    let filled = app.store.write(move |tx| Box::pin(async move { upload::fill_slot(tx, &hash, &received).await }));
    let Filled::Replaced(before) = filled.await? else {
        return Err(Error::gone("this upload URL expired while the file came in"));
    };
    inflow.keep();
    if let Some(before) = before {
        remove(app, &before).await;
    }
    Ok(())
}

/// Lets go of slots whose time is over, with their files.
pub async fn sweep_slots(app: &App) -> Result<()> {
    let now = app.now();
    if !app.store.has_expired_upload_slots(now).await? {
        return Ok(());
    }
    let files = app.store.write(move |tx| Box::pin(async move { upload::delete_expired(tx, now).await })).await?;
    for file in &files {
        remove(app, file).await;
    }
    tracing::debug!(files = files.len(), "expired upload URLs were swept");
    Ok(())
}

/// At start: files that no row names are what a crash left.
pub async fn clear_broken(app: &App) -> Result<()> {
    let named: HashSet<String> = app.store.list_uploaded_files().await?.into_iter().collect();
    let Ok(mut entries) = fs::read_dir(folder(app)).await else { return Ok(()) };
    while let Some(entry) = entries.next_entry().await.internal("read the folder of uploads")? {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_file = entry.file_type().await.is_ok_and(|kind| kind.is_file());
        if is_file && !named.contains(&name) {
            remove(app, &name).await;
        } else if name.ends_with(SITE_FOLDER) {
            fs::remove_dir_all(entry.path()).await.internal("remove what a site gave")?;
        }
    }
    Ok(())
}

pub(super) async fn remove(app: &App, file: &str) {
    match fs::remove_file(folder(app).join(file)).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, "an upload that nobody needs could not be removed; the next start does it");
        }
        _ => {}
    }
}

/// SHA-256 and size of a file.
pub(super) fn digest_of(path: &Path) -> Result<(String, u64)> {
    use std::io::Read;
    let mut file = std::fs::File::open(path).internal("open an upload")?;
    let (mut digest, mut bytes, mut block) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let count = file.read(&mut block).internal("read an upload")?;
        if count == 0 {
            return Ok((random::hex(&digest.finalize()), bytes));
        }
        digest.update(&block[..count]);
        bytes += count as u64;
    }
}

pub(super) async fn sync_folder(folder: &Path) -> Result<()> {
    let folder = File::open(folder).await.internal("open the folder of uploads")?;
    folder.sync_all().await.internal("put the folder of uploads on the disk")
}

pub(super) fn check_size(app: &App, bytes: u64) -> Result<()> {
    let most = app.config.max_upload;
    if bytes <= most {
        return Ok(());
    }
    let message = format!("the file is larger than {} MB; VITASCOPE_MAX_UPLOAD sets the limit", most / 1_000_000);
    Err(Error::invalid(message))
}

/// An error where so much would leave less free than must stay.
pub fn check_room(app: &App, bytes: u64) -> Result<()> {
    app.space.check()?;
    if app.space.free() < bytes.saturating_add(app.config.min_free) { Err(full()) } else { Ok(()) }
}

pub(super) fn full() -> Error {
    Error::new(ErrorKind::StorageFull, "the disk has no room for this file")
}

pub(super) fn unwritten(error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => full().because(error),
        _ => Error::internal("write an upload").because(error),
    }
}
