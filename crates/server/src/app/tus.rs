//! Uploads in pieces (tus): a file that comes in over several requests and survives broken connections and restarts between them.
//! How much is there, the file itself says, so no received byte is lost; when it is whole, its slot holds it as if it had come at once.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use vitascope_model::account::Scope;
use vitascope_model::collection::Collection;
use vitascope_model::error::Context;
use vitascope_model::upload::{Arriving, Received, UploadSlot};
use vitascope_model::usage::Meter;
use vitascope_model::{Error, Result, WallTime};
use vitascope_store::upload::{self as table, Filled};

use super::App;
use super::upload::{self, MintedSlot};
use crate::random;

/// Slots into which somebody writes now.
#[derive(Debug, Default)]
pub struct Arrivals {
    claimed: Mutex<HashSet<String>>,
    /// Rung for all who wait when one is let go.
    let_go: Notify,
}

/// As long as a client waits for an answer about a file that is being summed up.
const PATIENCE: Duration = Duration::from_secs(20);

/// The only writer of a slot, for as long as it lives.
struct Claim {
    arrivals: Arc<Arrivals>,
    hash: String,
}

impl Claim {
    fn of(app: &App, hash: &str) -> Option<Claim> {
        let arrivals = app.arrivals.clone();
        let is_new = arrivals.claimed.lock().unwrap_or_else(PoisonError::into_inner).insert(hash.to_owned());
        is_new.then(|| Claim { arrivals, hash: hash.to_owned() })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.arrivals.claimed.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.hash);
        self.arrivals.let_go.notify_waiters();
    }
}

/// What the sender says its next bytes sum up to.
#[derive(Clone, Debug)]
pub enum Checksum {
    Sha1(Vec<u8>),
    Sha256(Vec<u8>),
}

/// How far an upload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub offset: u64,
    pub length: u64,
    pub expires_at: WallTime,
}

/// What came of a piece.
#[derive(Debug, PartialEq, Eq)]
pub enum Appended {
    To(Progress),
    /// It begins where nobody is waiting for it.
    WrongOffset(u64),
    /// Another request writes right now.
    Busy,
    /// The sum is another: nothing of the piece was kept.
    WrongChecksum,
    /// There is more of it than was said at the beginning: what fits was kept.
    TooLong,
}

/// A slot for a file of `length` bytes that will come in pieces.
pub async fn create(
    app: &App,
    scope: &Scope,
    collection: &Collection,
    length: u64,
    names: (Option<String>, Option<String>),
) -> Result<MintedSlot> {
    upload::check_size(app, length)?;
    upload::check_room(app, length)?;
    let (name, source_name) = names;
    let file = random::secret_name();
    tokio::fs::create_dir_all(upload::folder(app)).await.internal("make the folder of uploads")?;
    let path = upload::folder(app).join(&file);
    File::create_new(&path).await.internal("make a file for an upload")?;
    upload::sync_folder(&upload::folder(app)).await?;
    let arriving = Arriving { file, source_name, length, sure: None };
    let made = upload::make_slot(app, scope, collection, name, Some(arriving)).await;
    if made.is_err() {
        upload::remove(app, &path_name(&path)).await;
    }
    let made = made?;
    if length == 0 {
        complete(app, &made.slot).await?;
    }
    Ok(made)
}

fn path_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A file is told to be whole only when its slot holds it: what is still being summed up is waited for, and what was left unsummed
/// (the last piece broke off after its last byte) is summed up now.
pub async fn progress(app: &App, secret: &str) -> Result<Progress> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Enrolled before the slot is read: a writer that ends in between is not missed.
        let let_go = app.arrivals.let_go.notified();
        let slot = upload::open_slot(app, secret).await?;
        let found = progress_of(app, &slot).await?;
        if slot.received.is_some() || found.offset < found.length {
            return Ok(found);
        }
        if let Some(_claim) = Claim::of(app, &slot.hash) {
            // Read again: who had the claim may have written it down since.
            let slot = upload::open_slot(app, secret).await?;
            if slot.received.is_none() {
                complete(app, &slot).await?;
            }
            return Ok(found);
        }
        if timeout_at(deadline, let_go).await.is_err() {
            return Err(Error::unavailable("all of the upload is here and is being summed up: ask again"));
        }
    }
}

async fn progress_of(app: &App, slot: &UploadSlot) -> Result<Progress> {
    let expires_at = slot.expires_at;
    if let Some(received) = &slot.received {
        return Ok(Progress { offset: received.bytes, length: received.bytes, expires_at });
    }
    let arriving = slot.arriving.as_ref().ok_or_else(|| Error::not_found("the tus upload"))?;
    let found = tokio::fs::metadata(file_of(app, arriving)).await.internal("look at an upload")?;
    Ok(Progress { offset: arriving.sure.unwrap_or(found.len()), length: arriving.length, expires_at })
}

fn file_of(app: &App, arriving: &Arriving) -> PathBuf {
    upload::folder(app).join(&arriving.file)
}

/// Adds a piece that begins at `offset`. It goes on when the caller is dropped: what has come is kept.
pub async fn append<S, E>(app: &App, secret: &str, offset: u64, checksum: Option<Checksum>, body: S) -> Result<Appended>
where
    S: Stream<Item = std::result::Result<Bytes, E>> + Send + Unpin + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    let hash = random::digest(secret);
    let Some(claim) = Claim::of(app, &hash) else { return Ok(Appended::Busy) };
    let slot = upload::open_slot(app, secret).await?;
    let before = progress_of(app, &slot).await?;
    if before.offset != offset {
        return Ok(Appended::WrongOffset(before.offset));
    }
    let Some(arriving) = slot.arriving.clone() else { return Ok(Appended::To(before)) };
    let app = app.clone();
    let writing = tokio::spawn(async move {
        let appended = write(&app, &slot, &arriving, offset, checksum, body).await;
        drop(claim);
        appended
    });
    writing.await.internal("write an upload")?
}

async fn write<S, E>(
    app: &App,
    slot: &UploadSlot,
    arriving: &Arriving,
    offset: u64,
    checksum: Option<Checksum>,
    body: S,
) -> Result<Appended>
where
    S: Stream<Item = std::result::Result<Bytes, E>> + Unpin,
    E: std::error::Error + Send + Sync + 'static,
{
    if checksum.is_some() {
        // Should this process die, the next one knows which bytes nobody has summed up.
        mark_sure(app, slot, Some(offset)).await?;
    }
    let file = OpenOptions::new().append(true).open(file_of(app, arriving)).await.internal("open an upload")?;
    let mut inlet = Inlet { file, offset, sums: checksum.map(Sums::of) };
    let poured = inlet.pour(app, arriving.length, body).await;
    let is_right = inlet.sums.take().map(|sums| poured.is_ok() && sums.comes_out());
    if is_right == Some(false) {
        inlet.file.set_len(offset).await.map_err(upload::unwritten)?;
        inlet.offset = offset;
    }
    inlet.file.sync_all().await.map_err(upload::unwritten)?;
    if is_right.is_some() {
        mark_sure(app, slot, None).await?;
    }
    // Even if the connection broke after the last byte.
    if inlet.offset == arriving.length && is_right != Some(false) {
        complete(app, slot).await?;
    }
    let fits = poured?;
    if is_right == Some(false) {
        return Ok(Appended::WrongChecksum);
    }
    if !fits {
        return Ok(Appended::TooLong);
    }
    Ok(Appended::To(Progress { offset: inlet.offset, length: arriving.length, expires_at: slot.expires_at }))
}

/// Where a piece goes in.
struct Inlet {
    file: File,
    offset: u64,
    sums: Option<Sums>,
}

impl Inlet {
    /// Whether all of it fits below `length`. What came before an error is in the file.
    async fn pour<S, E>(&mut self, app: &App, length: u64, mut body: S) -> Result<bool>
    where
        S: Stream<Item = std::result::Result<Bytes, E>> + Unpin,
        E: std::error::Error + Send + Sync + 'static,
    {
        let mut outcome = Ok(true);
        while let Some(chunk) = body.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    outcome = Err(Error::invalid("the upload broke off; what came is kept").because(error));
                    break;
                }
            };
            if self.offset + chunk.len() as u64 > length {
                outcome = Ok(false);
                break;
            }
            if app.space.is_full() {
                outcome = Err(upload::full());
                break;
            }
            if let Some(sums) = &mut self.sums {
                sums.update(&chunk);
            }
            self.file.write_all(&chunk).await.map_err(upload::unwritten)?;
            self.offset += chunk.len() as u64;
        }
        self.file.flush().await.map_err(upload::unwritten)?;
        outcome
    }
}

/// A running sum and what it must come to.
enum Sums {
    Sha1(Sha1, Vec<u8>),
    Sha256(Sha256, Vec<u8>),
}

impl Sums {
    fn of(checksum: Checksum) -> Sums {
        match checksum {
            Checksum::Sha1(wanted) => Sums::Sha1(Sha1::new(), wanted),
            Checksum::Sha256(wanted) => Sums::Sha256(Sha256::new(), wanted),
        }
    }

    fn update(&mut self, chunk: &[u8]) {
        match self {
            Sums::Sha1(sum, _) => sum.update(chunk),
            Sums::Sha256(sum, _) => sum.update(chunk),
        }
    }

    fn comes_out(self) -> bool {
        match self {
            Sums::Sha1(sum, wanted) => sum.finalize().as_slice() == wanted,
            Sums::Sha256(sum, wanted) => sum.finalize().as_slice() == wanted,
        }
    }
}

async fn mark_sure(app: &App, slot: &UploadSlot, sure: Option<u64>) -> Result<()> {
    let hash = slot.hash.clone();
    app.store.write(move |tx| Box::pin(async move { table::mark_sure(tx, &hash, sure).await })).await
}

/// The file is whole: the slot holds it from now on.
async fn complete(app: &App, slot: &UploadSlot) -> Result<()> {
    let arriving = slot.arriving.clone().ok_or_else(|| Error::internal("an upload that is whole arrives"))?;
    let path = file_of(app, &arriving);
    let (sha256, bytes) =
        tokio::task::spawn_blocking(move || upload::digest_of(&path)).await.internal("sum up an upload")??;
    let received = Received { file: arriving.file, source_name: arriving.source_name, sha256, bytes };
    let hash = slot.hash.clone();
    let filled = app.store.write(move |tx| Box::pin(async move { table::fill_slot(tx, &hash, &received).await }));
    if filled.await? == Filled::Gone {
        return Err(Error::gone("this upload expired while the file came in"));
    }
    app.metrics.uploaded(bytes);
    app.usage.add(&slot.owner, Meter::BytesIn, bytes);
    Ok(())
}

/// Ends an upload, whether it is whole or not: the slot goes with what came.
pub async fn terminate(app: &App, secret: &str) -> Result<bool> {
    let slot = upload::open_slot(app, secret).await?;
    let Some(_claim) = Claim::of(app, &slot.hash) else { return Ok(false) };
    let hash = slot.hash.clone();
    let files = app.store.write(move |tx| Box::pin(async move { table::delete_slot(tx, &hash).await })).await?;
    for file in &files {
        upload::remove(app, file).await;
    }
    Ok(true)
}

/// At start: takes back what came of pieces whose sums were never checked. What is whole but was not summed up is summed up when
/// somebody asks for it; a file that cannot be read is its sender's trouble and holds up nobody else.
pub async fn recover(app: &App) -> Result<()> {
    for slot in app.store.list_arriving_slots().await? {
        let Some(Arriving { file, sure: Some(sure), .. }) = &slot.arriving else { continue };
        if let Err(error) = take_back(app, &slot, file, *sure).await {
            tracing::error!(%error, file, "an unchecked piece of an upload could not be taken back");
        }
    }
    Ok(())
}

async fn take_back(app: &App, slot: &UploadSlot, file: &str, sure: u64) -> Result<()> {
    let opened = OpenOptions::new().write(true).open(upload::folder(app).join(file)).await;
    let file = opened.internal("open an upload")?;
    file.set_len(sure).await.internal("take back a piece of an upload")?;
    file.sync_all().await.internal("take back a piece of an upload")?;
    mark_sure(app, slot, None).await
}
