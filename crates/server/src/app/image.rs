//! Images: taken in when they can be decoded, renamed, kept, deleted; and the secret that stands in the URL of each.
//! How a file comes to the disk is `upload`'s and `source`'s business.

use std::path::Path;

use bytes::Bytes;
use vitascope_media::image::{ImageFacts, probe};
use vitascope_model::error::Context;
use vitascope_model::id::{CollectionId, ImageId, JobId, UserId};
use vitascope_model::image::{Image, Moment};
use vitascope_model::{Error, Result};
use vitascope_store::{image, job};

use super::asset::Wishes;
use super::{App, mint, stream};
use crate::{random, views};

/// An image goes out as a whole, out of memory.
const MOST_BYTES: i64 = 64_000_000;

/// What a new image is to be called, and what it shows.
#[derive(Clone, Debug, Default)]
pub struct ImageWishes {
    pub name: String,
    pub description: Option<String>,
    /// Of a thumbnail.
    pub shows: Option<Moment>,
    /// Of an uploaded file: its content, which is stored once for each owner.
    pub sha256: Option<String>,
    /// The job that answers with it.
    pub answers: Option<JobId>,
}

/// Makes the file an image. If it is none, the file stays where it is, for the caller to remove; else it is an object now.
/// The file has to lie on the disk of the objects.
pub async fn insert(
    app: &App,
    owner: &UserId,
    collection: &CollectionId,
    file: &Path,
    wishes: ImageWishes,
) -> Result<Image> {
    let bytes = size_of(file).await?;
    if bytes > MOST_BYTES {
        return Err(Error::invalid(format!("the image is larger than {} MB", MOST_BYTES / 1_000_000)));
    }
    let facts = probe(file).await?;
    take(app, owner, collection, file, facts, wishes).await
}

async fn size_of(file: &Path) -> Result<i64> {
    Ok(tokio::fs::metadata(file).await.internal("look at an image's file")?.len() as i64)
}

/// The same of a file that is known to be an image. If it is a thumbnail that is there already, that one is answered, and the file goes.
pub async fn take(
    app: &App,
    owner: &UserId,
    collection: &CollectionId,
    file: &Path,
    facts: ImageFacts,
    wishes: ImageWishes,
) -> Result<Image> {
    app.space.check()?;
    let bytes = size_of(file).await?;
    let id = mint!(app, ImageId);
    let twin = match &wishes.sha256 {
        Some(sha256) => app.store.find_image_of(owner, sha256).await?,
        None => None,
    };
    let is_stored = twin.is_some();
    // A folder of its own: the sweeper removes it with the object.
    let object = twin.map_or_else(|| format!("images/{id}/file"), |twin| twin.object);
    let made = Image {
        id,
        owner: owner.clone(),
        collection_id: collection.clone(),
        name: wishes.name,
        description: wishes.description,
        object,
        sha256: wishes.sha256,
        bytes,
        width: facts.width,
        height: facts.height,
        kind: facts.kind,
        keep: false,
        created_at: app.now(),
        shows: wishes.shows,
    };
    if !is_stored {
        app.objects.adopt(file, &made.object).await?;
    }
    let (row, job) = (made.clone(), wishes.answers);
    let reply = serde_json::to_string(&views::image(app, &made)).internal("word an image")?;
    let stored = app.store.write(move |tx| {
        Box::pin(async move {
            let is_new = image::insert(tx, &row).await?;
            // In the same commit: a job that is run again after a crash makes no second image.
            if let Some(job) = job {
                job::set_reply(tx, &job, &reply).await?;
            }
            Ok(is_new)
        })
    });
    match (stored.await, &made.shows) {
        (Ok(true), _) => Ok(made),
        (Ok(false), Some(moment)) => {
            app.objects.delete(&made.object, true).await?;
            let found = app.store.find_thumbnail(moment).await?;
            found.ok_or_else(|| Error::conflict("the thumbnail was deleted while it was made"))
        }
        (Ok(false), None) => Err(Error::internal(format!("image {} was not inserted", made.id))),
        (Err(error), _) => {
            if !is_stored {
                // Without a row nobody would find it again.
                app.objects.give_back(&made.object, file).await.ok();
            }
            Err(error)
        }
    }
}

pub async fn update(app: &App, found: &Image, wishes: Wishes) -> Result<()> {
    let id = found.id.clone();
    app.store
        .write(move |tx| Box::pin(async move { image::update(tx, &id, wishes.name.as_deref(), wishes.keep).await }))
        .await
}

pub async fn delete(app: &App, found: &Image) -> Result<()> {
    let (id, now) = (found.id.clone(), app.now());
    app.store.write(move |tx| Box::pin(async move { image::delete(tx, &id, now).await })).await?;
    app.sweep_bell.notify_one();
    Ok(())
}

/// Path of the file, for whoever has it.
pub fn path(app: &App, id: &ImageId) -> String {
    format!("/images/{id}/{}", secret(app, id))
}

/// Whether a path's secret is the image's.
pub fn is_secret(app: &App, id: &ImageId, wanted: &str) -> bool {
    random::digest(&secret(app, id)) == random::digest(wanted)
}

fn secret(app: &App, id: &ImageId) -> String {
    random::hex(&stream::mac(app, &format!("image {id}"))[..16])
}

pub async fn read(app: &App, image: &Image) -> Result<Bytes> {
    app.objects.range(&image.object, 0, image.bytes as u64).await
}
