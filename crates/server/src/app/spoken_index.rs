//! The index of the words that are spoken in an asset: its sentences, each with a vector, so that what is meant is found and not only
//! what is written. It is made of the transcript, which is made first where there is none. Searching it is `search.rs`.

use serde::{Deserialize, Serialize};
use vitascope_model::error::Context;
use vitascope_model::id::{JobId, MediaIndexId};
use vitascope_model::job::Job;
use vitascope_model::media_index::{MediaIndex, MediaIndexKind, MediaRecord};
use vitascope_model::stream::AssetId;
use vitascope_model::transcript::Utterance;
use vitascope_model::{Error, Result};
use vitascope_store::job::{self, NewJob};
use vitascope_store::media_index;

use super::speech::{self, Audible, Wanted, form};
use super::{App, mint};
use crate::jobs;

/// Sentences that are embedded at once, so that progress is told between.
const AT_ONCE: usize = 64;

#[derive(Serialize, Deserialize)]
struct Payload {
    index_id: String,
    asset_id: String,
    language: Option<String>,
}

/// The job that makes the index; none if there is one already and `again` does not want it anew.
pub async fn order(app: &App, of: &Audible, wanted: Wanted) -> Result<Option<JobId>> {
    let _one_at_a_time = app.orders.lock().await;
    let known = app.store.find_media_index(&of.asset_id, MediaIndexKind::SpokenWord).await?;
    if let Some(known) = known.filter(|_| !wanted.again) {
        if known.is_complete {
            return Ok(None);
        }
        let state = app.store.find_job_state(&known.job_id).await?;
        if state.is_some_and(|state| !state.is_over()) {
            return Ok(Some(known.job_id));
        }
    }
    let embedder = app.embedding.get()?;
    app.transcriber.check_language(wanted.language.as_deref().unwrap_or(speech::ENGLISH))?;
    let (index_id, job_id, now) = (mint!(app, MediaIndexId), mint!(app, JobId), app.now());
    let (asset_id, language) = (of.asset_id.to_string(), wanted.language);
    let payload = Payload { index_id: index_id.to_string(), asset_id, language };
    let made = NewJob {
        id: job_id.clone(),
        owner: of.owner.clone(),
        collection_id: Some(of.collection_id.clone()),
        kind: jobs::index_spoken_words::KIND,
        payload: serde_json::to_string(&payload).internal("word a job")?,
        dedupe_key: None,
        callback_url: wanted.callback_url,
    };
    let index = MediaIndex {
        id: index_id,
        asset_id: of.asset_id.clone(),
        kind: MediaIndexKind::SpokenWord,
        model: embedder.model().to_owned(),
        is_complete: false,
        job_id: job_id.clone(),
        created_at: now,
    };
    app.store
        .write(move |tx| {
            Box::pin(async move {
                media_index::begin(tx, &index).await?;
                job::enqueue(tx, &made, now).await
            })
        })
        .await?;
    app.job_bells.ring();
    Ok(Some(job_id))
}

/// Runs a job of `order`.
pub async fn run(app: &App, job: &Job) -> Result<String> {
    let payload: Payload = serde_json::from_str(&job.payload).internal("read a job of an index")?;
    let asset: AssetId = payload.asset_id.parse()?;
    let index: MediaIndexId = payload.index_id.parse()?;
    let of = speech::find(app, &asset).await?;
    let said = transcribed(app, &of, &job.id, payload.language).await?;
    let sentences = form::sentences(&said);
    let embedder = app.embedding.get()?;
    let mut records = Vec::with_capacity(sentences.len());
    for some in sentences.chunks(AT_ONCE) {
        let texts: Vec<String> = some.iter().map(|s| s.text.clone().unwrap_or_default()).collect();
        let vectors = embedder.embed(texts.clone()).await?;
        let record = |((entry, text), vector): ((&form::Entry, String), Vec<f32>)| MediaRecord {
            start: entry.start,
            end: entry.end,
            text,
            vector,
        };
        records.extend(some.iter().zip(texts).zip(vectors).map(record));
        let (id, percent) = (job.id.clone(), 80 + (records.len() * 19 / sentences.len()) as i64);
        app.store.write(move |tx| Box::pin(async move { job::set_progress(tx, &id, percent).await })).await?;
    }
    let id = index.clone();
    if !app.store.write(move |tx| Box::pin(async move { media_index::fill(tx, &id, &records).await })).await? {
        return Err(Error::conflict("this index was asked for anew, or deleted: its job makes it no more"));
    }
    Ok(serde_json::json!({ "success": true, "message": "spoken words are indexed", "index_id": index.as_str() })
        .to_string())
}

/// Forgets the index; what was said stays written down.
pub async fn delete(app: &App, asset: &AssetId) -> Result<()> {
    let asset = asset.clone();
    app.store
        .write(move |tx| Box::pin(async move { media_index::delete(tx, &asset, MediaIndexKind::SpokenWord).await }))
        .await
        .map(|_| ())
}

/// What is said, written down first if nobody did. Hearing is most of the work, and of the progress.
async fn transcribed(app: &App, of: &Audible, job: &JobId, language: Option<String>) -> Result<Vec<Utterance>> {
    if let Some(making) = speech::order(app, of, Wanted { language, ..Wanted::default() }).await? {
        speech::follow(app, &making, job, 80).await?;
    }
    speech::said(app, &of.asset_id)
        .await?
        .ok_or_else(|| Error::conflict("the transcript was asked for anew: index again"))
}
