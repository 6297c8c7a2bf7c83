//! Films on pages of sites, brought by `yt-dlp` where that is installed. The page's own URL was checked and fetched as any source is; what
//! `yt-dlp` asks for then is its own affair, so it asks only sites that it knows, and may be switched off.

use std::path::{Path, PathBuf};

use vitascope_media::site;
use vitascope_model::error::Context;
use vitascope_model::id::JobId;
use vitascope_model::upload::Received;
use vitascope_model::{Error, Result};

use super::App;
use super::source::Here;
use super::upload::{self, SITE_FOLDER};
use crate::random;

/// Picture and sound lie beside the film made of both for a moment.
const WHILE_JOINING: u64 = 3;

pub(super) async fn bring(app: &App, job: &JobId, url: &str) -> Result<Here> {
    if !app.config.yt_dlp {
        return Err(Error::invalid(
            "url gives a web page, not a media file; bringing films from pages is switched off (VITASCOPE_YT_DLP)",
        ));
    }
    let folder = Folder::make(upload::folder(app).join(format!("{job}{SITE_FOLDER}"))).await?;
    let most = app.config.max_upload;
    let check = |bytes: u64| {
        if app.space.is_full() {
            return Err(upload::full());
        }
        upload::check_size(app, bytes / WHILE_JOINING)
    };
    let brought = site::bring(url, &folder.0, most, check).await?;
    let name = random::secret_name();
    let path = upload::folder(app).join(&name);
    tokio::fs::rename(&brought.path, &path).await.internal("take over a site's film")?;
    // From here on it goes by itself, whatever happens.
    let mut here =
        Here::of(path.clone(), Received { file: name, source_name: brought.title, sha256: String::new(), bytes: 0 });
    let summed =
        tokio::task::spawn_blocking(move || upload::digest_of(&path)).await.internal("sum up a site's film")?;
    let (sha256, bytes) = summed?;
    (here.received.sha256, here.received.bytes) = (sha256, bytes);
    upload::check_size(app, bytes)?;
    app.metrics.uploaded(bytes);
    Ok(here)
}

/// Goes with all that is in it.
struct Folder(PathBuf);

impl Folder {
    async fn make(path: PathBuf) -> Result<Folder> {
        // Of a try that was broken off.
        remove(&path);
        tokio::fs::create_dir_all(&path).await.internal("make a folder for a site's film")?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(path: &Path) {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, "what a site gave could not be removed; the next start does it");
        }
        _ => {}
    }
}
