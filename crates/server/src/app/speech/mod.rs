//! The transcript of a video or an audio: asked for once, made by a job that goes on where it was after a crash, and kept with the asset.
//! Hearing is `hear.rs`; how words become sentences and windows is `form.rs`. What is said live is `transcript.rs`.

pub mod file;
pub mod form;
mod hear;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vitascope_model::error::Context;
use vitascope_model::id::{CollectionId, JobId, UserId};
use vitascope_model::job::{Job, JobState};
use vitascope_model::stream::{AssetId, AssetPart};
use vitascope_model::transcript::{Transcript, Utterance};
use vitascope_model::{Error, MediaTime, Result, Span};
use vitascope_store::asset_transcript;
use vitascope_store::job::{self, NewJob};

use super::{App, mint};
use crate::jobs;

/// How often a job that waits for another looks how far that is.
const LOOK_EACH: Duration = Duration::from_secs(1);

/// The language that the local model writes.
pub const ENGLISH: &str = "en";

/// What can be heard, with what is needed to hear it.
#[derive(Clone, Debug)]
pub struct Audible {
    pub asset_id: AssetId,
    pub owner: UserId,
    pub collection_id: CollectionId,
    pub length: Span,
    pub parts: Vec<AssetPart>,
    /// Its bytes were let go of.
    pub is_dropped: bool,
}

/// An asset as something that may be heard.
pub async fn find(app: &App, asset: &AssetId) -> Result<Audible> {
    let gone = || Error::not_found(format_args!("{asset}"));
    let asset_id = asset.clone();
    Ok(match asset {
        AssetId::Video(id) => {
            let v = app.store.find_video(id).await?.ok_or_else(gone)?;
            let (owner, collection_id, is_dropped) = (v.owner, v.collection_id, v.dropped_at.is_some());
            Audible { asset_id, owner, collection_id, length: v.length, parts: v.parts, is_dropped }
        }
        AssetId::Audio(id) => {
            let a = app.store.find_audio(id).await?.ok_or_else(gone)?;
            let (owner, collection_id) = (a.owner, a.collection_id);
            Audible { asset_id, owner, collection_id, length: a.length, parts: a.parts, is_dropped: false }
        }
    })
}

/// A transcript as it is asked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// ISO 639-1; none is English.
    pub language: Option<String>,
    /// Made anew, whatever there is.
    pub again: bool,
    pub callback_url: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    asset_id: String,
}

/// The job that makes the transcript: the one that is at it, or a new one; none if there is nothing to do.
pub async fn order(app: &App, of: &Audible, wanted: Wanted) -> Result<Option<JobId>> {
    let _one_at_a_time = app.orders.lock().await;
    let language = wanted.language.clone().unwrap_or_else(|| ENGLISH.to_owned());
    let known = app.store.find_asset_transcript(&of.asset_id).await?;
    if let Some(known) = known.filter(|known| !wanted.again && known.language == language) {
        if known.is_complete && wanted.callback_url.is_none() {
            return Ok(None);
        }
        let job = app.store.find_job_state(&known.job_id).await?;
        if job.is_some_and(|state| !state.is_over()) {
            return Ok(Some(known.job_id));
        }
        return begin(app, of, Some(known), language, wanted.callback_url).await.map(Some);
    }
    begin(app, of, None, language, wanted.callback_url).await.map(Some)
}

async fn begin(
    app: &App,
    of: &Audible,
    known: Option<Transcript>,
    language: String,
    callback_url: Option<String>,
) -> Result<JobId> {
    if of.is_dropped {
        return Err(Error::gone("the storage of this video was removed: it cannot be heard any more"));
    }
    app.transcriber.check_language(&language)?;
    let (id, now) = (mint!(app, JobId), app.now());
    let payload = serde_json::to_string(&Payload { asset_id: of.asset_id.to_string() }).internal("word a job")?;
    let made = NewJob {
        id: id.clone(),
        owner: of.owner.clone(),
        collection_id: Some(of.collection_id.clone()),
        kind: jobs::transcribe::KIND,
        payload,
        dedupe_key: None,
        callback_url,
    };
    let (asset_id, job_id) = (of.asset_id.clone(), id.clone());
    let new = Transcript { asset_id, language, heard: MediaTime(0), is_complete: false, job_id, created_at: now };
    app.store
        .write(move |tx| {
            Box::pin(async move {
                match known {
                    // What was heard stays heard.
                    Some(known) => asset_transcript::set_job(tx, &known, made.id.as_str()).await?,
                    None => asset_transcript::begin(tx, &new).await?,
                }
                job::enqueue(tx, &made, now).await
            })
        })
        .await?;
    app.job_bells.ring();
    Ok(id)
}

/// Runs a job of `order`.
pub async fn run(app: &App, job: &Job) -> Result<String> {
    let Payload { asset_id } = serde_json::from_str(&job.payload).internal("read a job of a transcript")?;
    let of = find(app, &asset_id.parse()?).await?;
    make(app, &of, &job.id).await?;
    Ok(serde_json::json!({ "asset_id": of.asset_id.as_str() }).to_string())
}

/// Hears what was not heard yet, as `job` the transcript's.
async fn make(app: &App, of: &Audible, job: &JobId) -> Result<()> {
    let replaced = || Error::conflict("this transcript was asked for anew: that job makes it");
    let known =
        app.store.find_asset_transcript(&of.asset_id).await?.filter(|t| t.job_id == *job).ok_or_else(replaced)?;
    if known.is_complete {
        return Ok(());
    }
    let length = of.length.0.max(1);
    let mut heard = hear::start(app, of, &known).await?;
    while let Some(said) = heard.next().await? {
        let (of, to) = (known.clone(), said.until);
        let percent = (said.at.0 * 100 / length).clamp(0, 99);
        let (job, is_last) = (job.clone(), said.is_last);
        let is_ours = app.store.write(move |tx| {
            Box::pin(async move {
                job::set_progress(tx, &job, percent).await?;
                asset_transcript::advance(tx, &of, &said.utterances, to, said.is_last).await
            })
        });
        if !is_ours.await? {
            return Err(replaced());
        }
        if is_last {
            return Ok(());
        }
    }
    Err(Error::internal("the hearing of an asset broke off"))
}

/// Waits until another job has made the transcript, whose progress is so many percent of `job`'s.
pub async fn follow(app: &App, making: &JobId, job: &JobId, share: i64) -> Result<()> {
    loop {
        let ended = app.job_done.notified();
        let Some((state, progress, error)) = app.store.find_job_end(making).await? else { return Ok(()) };
        match state {
            JobState::Done => return Ok(()),
            JobState::Failed => {
                return Err(Error::conflict(error.unwrap_or_else(|| "there is no transcript".to_owned())));
            }
            JobState::Queued | JobState::Running => {}
        }
        let (id, percent) = (job.clone(), progress * share / 100);
        app.store.write(move |tx| Box::pin(async move { job::set_progress(tx, &id, percent).await })).await?;
        tokio::time::timeout(LOOK_EACH, ended).await.ok();
    }
}

/// What was said in it, all of it; none before it was transcribed.
pub async fn said(app: &App, asset: &AssetId) -> Result<Option<Vec<Utterance>>> {
    match app.store.find_asset_transcript(asset).await? {
        Some(found) if found.is_complete => app.store.list_asset_utterances(asset).await.map(Some),
        _ => Ok(None),
    }
}
