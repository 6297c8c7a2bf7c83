//! The encoding of what was uploaded: promised chunks get their bytes, in the background one after the other, and at once when a player
//! asks for one. Whoever is first fills a chunk; its object is written before its row, so that a crash leaves a promise and no more.
//! How chunks are made is `media`'s business; what a player waits for goes before what nobody waits for.

mod background;

pub use background::{job_of, resume, run};

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::timeout;
use vitascope_media::encoder::upload::{EncodedChunk, Stretch, encode, is_large};
use vitascope_media::promise::{PromisedChunk, Recipe};
use vitascope_model::error::Context;
use vitascope_model::id::{OriginalId, TrackId};
use vitascope_model::rtstream::SealedChunk;
use vitascope_model::{Error, Result, Span, WallTime};
use vitascope_store::ObjectFile;
use vitascope_store::encoding::{self, Filled};

use super::App;

/// How far ahead of the background's work a player waits for it, rather than having a chunk made by itself.
const NEAR: Span = Span::seconds(5);
const WAIT: Duration = Duration::from_secs(6);
/// A chunk that is made by itself takes no longer.
const LONGEST: Duration = Duration::from_secs(300);

/// One lock for each chunk that somebody makes or stores.
type Flights = HashMap<(TrackId, WallTime), Weak<tokio::sync::Mutex<()>>>;

/// What is being encoded in this process.
pub struct Encoding {
    flights: Mutex<Flights>,
    /// Chunks that are made by themselves, at once.
    turns: Semaphore,
    /// The one who encodes a large picture.
    large: Semaphore,
    /// How many players wait, and how many of those who encode for players wait for the place of a large picture.
    waiting: AtomicUsize,
    waiting_large: AtomicUsize,
    /// Where the background is on each track.
    next: Mutex<HashMap<TrackId, WallTime>>,
    /// Of originals that are still to be encoded, in percent.
    progress: Mutex<HashMap<OriginalId, i64>>,
    /// Rung when a chunk was filled, or a player waits no more.
    changed: Notify,
    /// Rung when a player begins to wait.
    wanted: Notify,
}

impl Default for Encoding {
    fn default() -> Encoding {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Encoding {
            flights: Mutex::default(),
            turns: Semaphore::new(cores),
            large: Semaphore::new(1),
            waiting: AtomicUsize::new(0),
            waiting_large: AtomicUsize::new(0),
            next: Mutex::default(),
            progress: Mutex::default(),
            changed: Notify::new(),
            wanted: Notify::new(),
        }
    }
}

impl Encoding {
    /// How much is done of what an original is encoded to; none when all is.
    pub fn progress_of(&self, original: &OriginalId) -> Option<i64> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).get(original).copied()
    }

    pub(in crate::app) fn set_progress(&self, original: &OriginalId, percent: Option<i64>) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        match percent {
            Some(percent) => progress.insert(original.clone(), percent),
            None => progress.remove(original),
        };
    }

    fn flight(&self, track: &TrackId, start: WallTime) -> Arc<tokio::sync::Mutex<()>> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.strong_count() > 0);
        let key = (track.clone(), start);
        if let Some(flight) = flights.get(&key).and_then(Weak::upgrade) {
            return flight;
        }
        let flight = Arc::default();
        flights.insert(key, Arc::downgrade(&flight));
        flight
    }

    fn set_next(&self, track: &TrackId, next: Option<WallTime>) {
        let mut all = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        match next {
            Some(next) => all.insert(track.clone(), next),
            None => all.remove(track),
        };
    }

    /// Whether the background comes to this chunk soon.
    fn is_near(&self, track: &TrackId, start: WallTime) -> bool {
        let all = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(track).is_some_and(|next| *next <= start && start - *next <= NEAR)
    }

    fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// A place among those who encode large pictures, if this is one: two at once would take too much memory.
    pub(in crate::app) async fn place(&self, is_large: bool) -> Result<Option<SemaphorePermit<'_>>> {
        let place = async { self.large.acquire().await.internal("wait for a place to encode").map(Some) };
        if is_large { place.await } else { Ok(None) }
    }

    /// A place before those that nobody waits for: a transcode that has it is told.
    async fn place_now(&self, is_large: bool) -> Result<Option<SemaphorePermit<'_>>> {
        let _counted = is_large.then(|| Counted::new(&self.waiting_large, &self.wanted));
        self.place(is_large).await
    }

    /// Returns when somebody waits for a place to encode a large picture.
    pub(in crate::app) async fn until_large_is_wanted(&self) {
        loop {
            let wanted = self.wanted.notified();
            if self.waiting_large.load(Ordering::Relaxed) > 0 {
                return;
            }
            wanted.await;
        }
    }

    /// Returns when nobody has waited for a chunk for so long.
    pub(in crate::app) async fn until_quiet_for(&self, span: Duration) {
        loop {
            self.until_quiet().await;
            let wanted = self.wanted.notified();
            if timeout(span, wanted).await.is_err() {
                return;
            }
        }
    }

    /// Returns when nobody waits for a chunk.
    pub(in crate::app) async fn until_quiet(&self) {
        loop {
            let changed = self.changed.notified();
            if !self.is_awaited() {
                return;
            }
            // A bell that was missed must not stop the background for ever.
            timeout(Duration::from_secs(1), changed).await.ok();
        }
    }
}

/// Somebody who is counted as long as this lives.
struct Counted<'e>(&'e AtomicUsize);

impl<'e> Counted<'e> {
    fn new(count: &'e AtomicUsize, bell: &Notify) -> Counted<'e> {
        count.fetch_add(1, Ordering::Relaxed);
        bell.notify_waiters();
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Somebody who waits.
struct Waiting<'e> {
    counted: Option<Counted<'e>>,
    changed: &'e Notify,
}

impl<'e> Waiting<'e> {
    fn new(encoding: &'e Encoding) -> Waiting<'e> {
        Waiting { counted: Some(Counted::new(&encoding.waiting, &encoding.wanted)), changed: &encoding.changed }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counted = None;
        self.changed.notify_waiters();
    }
}

/// Has one promised chunk encoded, unless it is there.
pub async fn materialise(app: &App, track: &TrackId, start: WallTime) -> Result<SealedChunk> {
    let found = chunk_of(app, track, start).await?;
    if !found.object.is_empty() {
        return Ok(found);
    }
    if app.encoding.is_near(track, start) {
        let come = async {
            loop {
                let changed = app.encoding.changed.notified();
                let found = chunk_of(app, track, start).await?;
                if !found.object.is_empty() || !app.encoding.is_near(track, start) {
                    return Ok::<_, Error>(found);
                }
                timeout(Duration::from_secs(1), changed).await.ok();
            }
        };
        if let Ok(found) = timeout(WAIT, come).await
            && let Some(found) = Some(found?).filter(|f| !f.object.is_empty())
        {
            return Ok(found);
        }
    }
    let _waiting = Waiting::new(&app.encoding);
    let flight = app.encoding.flight(track, start);
    let _flight = flight.lock().await;
    let found = chunk_of(app, track, start).await?;
    if !found.object.is_empty() {
        return Ok(found);
    }
    let _turn = app.encoding.turns.acquire().await.internal("wait for a turn to encode")?;
    let made = timeout(LONGEST, make(app, track, found)).await;
    let made = made.map_err(|_| Error::unavailable("a part of the video took too long to encode"))??;
    store(app, track, made).await?;
    chunk_of(app, track, start).await
}

/// A chunk that the background comes to sooner or later: who waits for all of a track waits for its work, and not in its way.
pub async fn once_there(app: &App, track: &TrackId, start: WallTime) -> Result<SealedChunk> {
    loop {
        let changed = app.encoding.changed.notified();
        let found = chunk_of(app, track, start).await?;
        if !found.object.is_empty() {
            return Ok(found);
        }
        let original = app.store.get_track(track).await?.original_id;
        if original.is_none_or(|original| app.encoding.progress_of(&original).is_none()) {
            // Nobody is at it, as after an encoding that failed.
            return materialise(app, track, start).await;
        }
        timeout(Duration::from_secs(1), changed).await.ok();
    }
}

/// Encodes one chunk by itself.
async fn make(app: &App, track: &TrackId, chunk: SealedChunk) -> Result<EncodedChunk> {
    let recipe = app.store.recipe_of(track).await?;
    let recipe = recipe.ok_or_else(|| Error::internal(format!("{track} has promised chunks and no recipe")))?;
    let original = app.store.get_track(track).await?.original_id;
    let original = original.ok_or_else(|| Error::internal(format!("{track} has a recipe and no original")))?;
    let file = file_of(app, &original).await?;
    let is_rest = app.store.list_next_chunks(track, chunk.end, 1).await?.is_empty();
    let stretch = Stretch { recipe: Recipe::from_text(&recipe)?, chunks: vec![promised(chunk)], is_rest };
    let _place = app.encoding.place_now(is_large(&stretch.recipe)).await?;
    let mut output = encode(file.path(), vec![stretch], 1)?;
    output.recv().await.ok_or_else(|| Error::internal("an encoder gave nothing"))?
}

/// The bytes of an original as a file; an error if they are no longer kept.
async fn file_of(app: &App, original: &OriginalId) -> Result<ObjectFile> {
    let original = app.store.get_original(original).await?;
    if original.is_dropped {
        return Err(Error::gone("the uploaded file is not kept any more, and this part of it was not encoded before"));
    }
    app.objects.file(&original.object).await
}

fn promised(chunk: SealedChunk) -> PromisedChunk {
    PromisedChunk { start: chunk.start, end: chunk.end, samples: chunk.samples, index: chunk.index }
}

async fn chunk_of(app: &App, track: &TrackId, start: WallTime) -> Result<SealedChunk> {
    let gone = || Error::gone("what this stream plays was deleted");
    app.store.find_chunk(track, start).await?.ok_or_else(gone)
}

/// Fills a chunk, object before row. The caller holds its flight and has seen that it is still promised.
async fn store(app: &App, track: &TrackId, made: EncodedChunk) -> Result<()> {
    app.space.check()?;
    let folder = app.config.data_dir.join("encoding");
    tokio::fs::create_dir_all(&folder).await.internal("make the folder of what is being encoded")?;
    let name = format!("{}.dat", made.start.0);
    let file = folder.join(format!("{track}-{name}"));
    tokio::fs::write(&file, &made.data).await.internal("write an encoded chunk")?;
    let object = format!("tracks/{track}/{name}");
    app.objects.adopt(&file, &object).await?;
    let filled = Filled {
        start: made.start,
        bytes: made.data.len() as i64,
        samples: made.samples,
        object: object.clone(),
        index: made.index,
    };
    let id = track.clone();
    let is_filled =
        app.store.write(move |tx| Box::pin(async move { encoding::fill_chunk(tx, &id, &filled).await })).await?;
    if !is_filled {
        // It was deleted meanwhile.
        app.objects.delete(&object, true).await?;
    }
    app.encoding.changed.notify_waiters();
    Ok(())
}
