//! Sources: what a client wants an asset to be made of is brought to the disk, from an upload URL of ours or from a stranger's.
//! What is made of the file then is no business of this one.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vitascope_model::error::Context;
use vitascope_model::id::JobId;
use vitascope_model::job::Job;
use vitascope_model::upload::Received;
use vitascope_model::usage::Meter;
use vitascope_model::{Error, Result};

use super::progress::Progress;
use super::upload::{self, Inflow};
use super::{App, site};

/// From where an asset's file comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// An upload slot, by its hash.
    Slot(String),
    Url(String),
}

/// Where a URL leads: to a slot of ours, which no request is needed for, or elsewhere.
pub async fn find(app: &App, url: &str) -> Result<Source> {
    let ours = app.config.url("/uploads/");
    let Some(secret) = url.strip_prefix(&ours) else {
        app.outbound.check_source(url)?;
        return Ok(Source::Url(url.to_owned()));
    };
    let slot = upload::open_slot(app, secret).await?;
    if slot.received.is_none() {
        return Err(Error::invalid("nothing was sent to this upload URL yet: POST the file to it first"));
    }
    Ok(Source::Slot(slot.hash))
}

/// A file that is here and is one job's alone; it goes unless it is taken over.
pub struct Here {
    path: PathBuf,
    pub received: Received,
    /// What the asset is to be called, if the client said so when it asked for the upload URL.
    pub slot_name: Option<String>,
}

impl Here {
    pub(super) fn of(path: PathBuf, received: Received) -> Here {
        Here { path, received, slot_name: None }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        // Whoever took it over has moved it away.
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, "a file that nobody needs could not be removed; the next start does it");
            }
            _ => {}
        }
    }
}

/// Brings what a wish names to the disk, which is so many percent of the job.
pub async fn bring(app: &App, job: &Job, from: &Source, percent: u64) -> Result<Here> {
    match from {
        Source::Slot(hash) => from_slot(app, &job.id, hash).await,
        Source::Url(url) => from_url(app, job, url, percent).await,
    }
}

/// A second name for the slot's file: nothing is copied, and the slot keeps its own.
async fn from_slot(app: &App, job: &JobId, hash: &str) -> Result<Here> {
    let slot = app.store.find_upload_slot(hash).await?;
    let slot = slot.ok_or_else(|| Error::gone("the upload URL expired before its file was used"))?;
    let received = slot.received.ok_or_else(|| Error::invalid("nothing was sent to this upload URL"))?;
    let folder = upload::folder(app);
    let path = folder.join(job.as_str());
    upload::remove(app, job.as_str()).await;
    tokio::fs::hard_link(folder.join(&received.file), &path).await.internal("link an upload")?;
    Ok(Here { path, received, slot_name: slot.name })
}

async fn from_url(app: &App, job: &Job, url: &str, percent: u64) -> Result<Here> {
    let mut download = app.outbound.fetch(url).await?;
    let mut inflow = Inflow::begin(app, download.total).await?;
    let mut progress = Progress::new(job, 0, percent);
    while let Some(chunk) = download.chunk().await? {
        if inflow.bytes() == 0 && is_page(&chunk) {
            return site::bring(app, &job.id, url).await;
        }
        inflow.write(&chunk).await?;
        if let Some(total) = download.total {
            progress.tell(app, inflow.bytes(), total).await?;
        }
    }
    let (inflow, received) = inflow.finish(download.name.take()).await?;
    app.metrics.uploaded(received.bytes);
    app.usage.add(&job.owner, Meter::BytesIn, received.bytes);
    Ok(Here { path: inflow.keep(), received, slot_name: None })
}

/// Whether these are the first bytes of an HTML page.
fn is_page(start: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&start[..start.len().min(512)])
        .trim_start_matches('\u{feff}')
        .trim_start()
        .to_ascii_lowercase();
    text.starts_with("<!doctype html")
        || text.starts_with("<html")
        || text.starts_with("<head")
        || text.starts_with("<!--")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_told_from_a_film() {
        for page in ["<!DOCTYPE html><html>", "\n  <HTML lang=en>", "\u{feff}<!-- x --><html>"] {
            assert!(is_page(page.as_bytes()), "{page}");
        }
        for other in [&b"\0\0\0\x20ftypisom"[..], b"<?xml version=\"1.0\"?><MPD>", b"", b"RIFF"] {
            assert!(!is_page(other));
        }
    }
}
