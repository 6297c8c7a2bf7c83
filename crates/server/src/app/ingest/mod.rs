//! Ingest: an uploaded file becomes an image, a video or an audio. What it is, its bytes say; what a client calls it decides nothing.
//! The rows of an asset, of its tracks and of the file are one commit, in which the job's reply is noted too: run again after a crash it
//! finds that, and makes no second asset. What is refused leaves nothing behind.

mod film;

use std::path::Path;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use vitascope_media::image::is_animated;
use vitascope_model::account::Scope;
use vitascope_model::asset::AssetKind;
use vitascope_model::collection::Collection;
use vitascope_model::error::Context;
use vitascope_model::id::{CollectionId, JobId};
use vitascope_model::image::ImageKind;
use vitascope_model::job::Job;
use vitascope_model::{Error, Result};
use vitascope_store::job::{self, NewJob};

use super::image::ImageWishes;
use super::source::{self, Here, Source};
use super::{App, image, mint};
use crate::{jobs, views};

/// Enough of a file to know an image by.
const HEAD: u64 = 16;
/// Percent of the job that is done when the file is here: making an asset of it is the rest.
const FETCHED: u64 = 90;

/// What a client wants to be made of what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    pub source: Source,
    pub name: Option<String>,
    pub description: Option<String>,
    /// `video`, `audio` or `image`; what the file is, where it is not said.
    pub media_type: Option<String>,
}

/// An order on its way, as its job keeps it.
#[derive(Serialize, Deserialize)]
struct Payload {
    collection: String,
    #[serde(flatten)]
    order: Order,
}

/// Accepts an order: from here on it survives a crash.
pub async fn enqueue(
    app: &App,
    scope: &Scope,
    collection: &Collection,
    order: Order,
    callback_url: Option<String>,
) -> Result<JobId> {
    app.space.check()?;
    let payload = Payload { collection: collection.id.to_string(), order };
    let made = NewJob {
        id: mint!(app, JobId),
        owner: scope.user().clone(),
        collection_id: Some(collection.id.clone()),
        kind: jobs::ingest::KIND,
        payload: serde_json::to_string(&payload).internal("write down an upload")?,
        dedupe_key: None,
        callback_url,
    };
    let (id, now) = (made.id.clone(), app.now());
    app.store.write(move |tx| Box::pin(async move { job::enqueue(tx, &made, now).await })).await?;
    app.job_bells.ring();
    Ok(id)
}

/// Makes the asset of an order. The reply of the job is what the call would have answered.
pub async fn run(app: &App, job: &Job) -> Result<String> {
    if let Some(reply) = &job.reply {
        return Ok(reply.clone());
    }
    let Payload { collection, order } = serde_json::from_str(&job.payload).internal("read an upload's job")?;
    let collection: CollectionId = collection.parse()?;
    // It may have been deleted since.
    app.store.get_collection(&Scope::whole(job.owner.clone()), &collection).await?;
    let kind = order.media_type.as_deref().and_then(AssetKind::parse);
    let here = source::bring(app, job, &order.source, FETCHED).await?;
    if here.received.bytes == 0 {
        return Err(Error::invalid("the file is empty"));
    }
    let name = name_of(app, &order, &here);
    let (image, moves) = image_in(here.path()).await?;
    match (image, kind) {
        (Some(_), Some(AssetKind::Image)) => {}
        (Some(_), None) if !moves => {}
        (Some(still), Some(_)) if !moves => {
            return Err(Error::invalid(format!("the file is a still image ({}), no video or audio", still.mime())));
        }
        (None, Some(AssetKind::Image)) => {
            return Err(Error::invalid("the file is no image that is taken: send JPEG, PNG, WebP, GIF or BMP"));
        }
        _ => {
            let wishes = film::Wishes { collection, name, description: order.description, kind };
            return film::ingest(app, job, here, wishes).await;
        }
    }
    let (description, shows) = (order.description, None);
    let sha256 = Some(here.received.sha256.clone());
    let wishes = ImageWishes { name, description, shows, sha256, answers: Some(job.id.clone()) };
    let made = image::insert(app, &job.owner, &collection, here.path(), wishes).await?;
    serde_json::to_string(&views::image(app, &made)).internal("word an image")
}

/// What the client calls it, else what the file was called where it came from.
fn name_of(app: &App, order: &Order, here: &Here) -> String {
    let given = [&order.name, &here.slot_name, &here.received.source_name].into_iter().flatten();
    let found = given.map(|n| n.trim()).find(|n| !n.is_empty()).map(str::to_owned);
    found.unwrap_or_else(|| format!("Upload {}", app.now().to_string().get(..16).unwrap_or_default().replace('T', " ")))
}

/// Which image a file is, if it is one, and whether it has more than one picture.
async fn image_in(file: &Path) -> Result<(Option<ImageKind>, bool)> {
    let mut head = Vec::new();
    let opened = tokio::fs::File::open(file).await.internal("open an upload")?;
    opened.take(HEAD).read_to_end(&mut head).await.internal("read an upload")?;
    let Some(kind) = ImageKind::sniff(&head) else { return Ok((None, false)) };
    Ok((Some(kind), is_animated(file, kind).await?))
}
