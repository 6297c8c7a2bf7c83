//! The background's part: one original after the other, from the first chunk that is still promised on, picture and sound in one go where
//! both are wanted from the same moment. What somebody filled meanwhile is left out, and while a player waits the encoder does too.

use serde::{Deserialize, Serialize};
use vitascope_media::encoder::upload::{EncodedChunk, Stretch, encode, is_large};
use vitascope_media::promise::Recipe;
use vitascope_model::error::Context;
use vitascope_model::id::{CollectionId, JobId, OriginalId, TrackId, UserId};
use vitascope_model::job::Job;
use vitascope_model::rtstream::SealedChunk;
use vitascope_model::{Error, ErrorKind, Result, Span, TimeRange, WallTime};
use vitascope_store::Tx;
use vitascope_store::job::{self, NewJob};

use super::{Encoding, chunk_of, file_of, promised, store};
use crate::app::{App, mint};
use crate::jobs;

/// Tracks whose promises begin so near to each other are made in one go.
const TOGETHER: Span = Span::millis(100);
/// The end of every track.
const END: WallTime = WallTime(i64::MAX);

#[derive(Serialize, Deserialize)]
struct Payload {
    original: String,
}

/// The job that encodes an original, to be stored with its promises.
pub fn job_of(app: &App, original: &OriginalId, owner: &UserId, collection: &CollectionId) -> Result<NewJob> {
    let payload = Payload { original: original.to_string() };
    Ok(NewJob {
        id: mint!(app, JobId),
        owner: owner.clone(),
        collection_id: Some(collection.clone()),
        kind: jobs::encode::KIND,
        payload: serde_json::to_string(&payload).internal("write down what is to be encoded")?,
        dedupe_key: None,
        callback_url: None,
    })
}

/// At start: what is still to be encoded is known again, and has a job even if that was lost.
pub async fn resume(app: &App) -> Result<()> {
    // What was being written when an earlier process ended is nothing yet.
    tokio::fs::remove_dir_all(app.config.data_dir.join("encoding")).await.ok();
    let queued = app.store.list_queued_payloads(jobs::encode::KIND).await?;
    for (original, owner, collection) in app.store.list_unfinished_originals().await? {
        let job = job_of(app, &original, &owner, &collection)?;
        app.encoding.set_progress(&original, Some(0));
        let (now, is_queued) = (app.now(), queued.contains(&job.payload));
        if !is_queued && !app.store.get_original(&original).await?.is_dropped {
            app.store.write(move |tx: &mut Tx| Box::pin(async move { job::enqueue(tx, &job, now).await })).await?;
        }
    }
    Ok(())
}

/// Encodes what is still promised of an original. Run again, it goes on where it was.
pub async fn run(app: &App, job: &Job) -> Result<String> {
    let Payload { original } = serde_json::from_str(&job.payload).internal("read an encoding job")?;
    let original: OriginalId = original.parse()?;
    let done = encode_all(app, job, &original).await;
    let is_over = done.as_ref().err().is_none_or(|e| !matches!(e.kind, ErrorKind::Internal | ErrorKind::Unavailable));
    if is_over || job.attempt >= jobs::TRIES {
        app.encoding.set_progress(&original, None);
    }
    done?;
    // From now on every plan finds the bytes by itself.
    app.plans.forget();
    Ok(serde_json::json!({ "success": true, "data": { "original_id": original.to_string() } }).to_string())
}

async fn encode_all(app: &App, job: &Job, original: &OriginalId) -> Result<()> {
    while let Some(tracks) = next_stretches(app, original).await? {
        let working = Working::new(&app.encoding, &tracks);
        let file = file_of(app, original).await?;
        let stretches: Vec<Stretch> = tracks.iter().map(|(_, stretch)| stretch.clone()).collect();
        let is_large = stretches.iter().any(|stretch| is_large(&stretch.recipe));
        // Before a transcode: what was uploaded is played.
        let place = app.encoding.place_now(is_large).await?;
        let mut output = encode(file.path(), stretches, 0)?;
        let mut percent = -1;
        while let Some(made) = output.recv().await {
            let made = made?;
            let track = &tracks.get(made.track).ok_or_else(|| Error::internal("a chunk of no track"))?.0;
            take(app, track, made).await?;
            percent = tell(app, job, original, percent).await?;
            if is_large && app.encoding.is_awaited() {
                // Who waits needs the memory; the next run goes on from here.
                break;
            }
            app.encoding.until_quiet().await;
        }
        drop((output, place, working));
        app.encoding.until_quiet().await;
    }
    Ok(())
}

/// The tracks that the background works at, as long as it does.
struct Working<'e>(&'e Encoding, Vec<TrackId>);

impl<'e> Working<'e> {
    fn new(encoding: &'e Encoding, tracks: &[(TrackId, Stretch)]) -> Working<'e> {
        for (track, stretch) in tracks {
            encoding.set_next(track, stretch.chunks.first().map(|c| c.start));
        }
        Working(encoding, tracks.iter().map(|(track, _)| track.clone()).collect())
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.1.iter().for_each(|track| self.0.set_next(track, None));
        self.0.changed.notify_waiters();
    }
}

async fn take(app: &App, track: &TrackId, made: EncodedChunk) -> Result<()> {
    let (start, end) = (made.start, made.end);
    let flight = app.encoding.flight(track, start);
    {
        let _flight = flight.lock().await;
        match chunk_of(app, track, start).await {
            Ok(chunk) if chunk.object.is_empty() => store(app, track, made).await?,
            // Somebody could not wait, or let go of it.
            Ok(_) => {}
            Err(error) if error.kind == ErrorKind::Gone => {}
            Err(error) => return Err(error),
        }
    }
    app.encoding.set_next(track, Some(end));
    app.encoding.changed.notify_waiters();
    Ok(())
}

/// Writes down how far the job is, when that has changed.
async fn tell(app: &App, job: &Job, original: &OriginalId, before: i64) -> Result<i64> {
    let percent = app.store.encoded_percent(original).await?;
    if percent != before {
        app.encoding.set_progress(original, Some(percent));
        let id = job.id.clone();
        app.store.write(move |tx| Box::pin(async move { job::set_progress(tx, &id, percent).await })).await?;
    }
    Ok(percent)
}

/// What is to be made next: of each track the promised chunks up to the first one that is filled, as far as they begin together.
async fn next_stretches(app: &App, original: &OriginalId) -> Result<Option<Vec<(TrackId, Stretch)>>> {
    let mut found = Vec::new();
    for (track, recipe) in app.store.list_promised_tracks(original).await? {
        let Some(first) = app.store.first_promised(&track).await? else { continue };
        let Some(range) = TimeRange::new(first, END) else { continue };
        let rows = app.store.list_chunks(&track, range).await?;
        let rows: Vec<SealedChunk> = rows.into_iter().filter(|c| c.start >= first).collect();
        let count = rows.iter().take_while(|c| c.object.is_empty()).count();
        let is_rest = count == rows.len();
        let chunks = rows.into_iter().take(count).map(promised).collect();
        found.push((track, Stretch { recipe: Recipe::from_text(&recipe)?, chunks, is_rest }));
    }
    let start = |(_, stretch): &(TrackId, Stretch)| stretch.chunks.first().map_or(END, |c| c.start);
    let Some(earliest) = found.iter().map(start).min() else { return Ok(None) };
    found.retain(|track| start(track) - earliest <= TOGETHER);
    Ok(Some(found))
}
