//! Takeouts as such: asked for, looked up by the secret in their URL, tried again, deleted, and gone after a week or with what they are
//! made of. How the file of one is made is `download`'s and `transcode`'s business.

use std::path::{Path, PathBuf};

use vitascope_model::account::Scope;
use vitascope_model::error::Context;
use vitascope_model::id::{CollectionId, JobId, TakeoutId};
use vitascope_model::job::{Job, JobState};
use vitascope_model::stream::{Piece, Stream};
use vitascope_model::takeout::{MadeFile, Takeout, TakeoutKind, TakeoutState};
use vitascope_model::{Error, Result, Span};
use vitascope_store::job::{self, NewJob};
use vitascope_store::takeout;

use super::{App, mint, stream, upload};
use crate::random;
use crate::{jobs, views};

/// From when its file is there.
pub const LIFE: Span = Span::seconds(7 * 86_400);
/// What a file is called of which nothing says how.
pub(super) const UNNAMED: &str = "video";

/// Asks for a stream as a file.
pub async fn of_stream(app: &App, scope: &Scope, of: &Stream, name: Option<String>) -> Result<Takeout> {
    if of.is_gone {
        return Err(Error::gone("what this stream plays was deleted"));
    }
    if matches!(of.piece, Piece::Live { .. }) {
        return Err(Error::invalid(
            "a live stream has no end: ask for a range of it with GET /rtstream/{id}/stream?start=…&end=…",
        ));
    }
    let asked = Asked {
        collection_id: stream::collection_of(app, scope, of).await?,
        kind: TakeoutKind::Download,
        name: name.or_else(|| of.title.clone()).unwrap_or_else(|| UNNAMED.to_owned()),
        stream_id: Some(of.id.clone()),
    };
    let row = asked.row(app, scope);
    enqueue(app, &row, job_of(&row, row.job_id.clone())).await?;
    Ok(row)
}

/// What is asked for.
pub(super) struct Asked {
    pub(super) collection_id: Option<CollectionId>,
    pub(super) kind: TakeoutKind,
    pub(super) name: String,
    pub(super) stream_id: Option<String>,
}

impl Asked {
    /// Its row, as long as nothing is made.
    pub(super) fn row(self, app: &App, scope: &Scope) -> Takeout {
        let now = app.now();
        Takeout {
            id: mint!(app, TakeoutId),
            owner: scope.user().clone(),
            collection_id: self.collection_id,
            name: self.name,
            kind: self.kind,
            stream_id: self.stream_id,
            job_id: mint!(app, JobId),
            job_state: JobState::Queued,
            progress: 0,
            error: None,
            made: None,
            created_at: now,
            expires_at: now + LIFE,
        }
    }
}

/// Accepts it with the job that makes it: from here on it survives a crash.
pub(super) async fn enqueue(app: &App, row: &Takeout, made_by: NewJob) -> Result<()> {
    app.space.check()?;
    let (stored, now) = (row.clone(), app.now());
    app.store
        .write(move |tx| {
            Box::pin(async move {
                takeout::insert(tx, &stored).await?;
                job::enqueue(tx, &made_by, now).await
            })
        })
        .await?;
    app.job_bells.ring();
    Ok(())
}

/// The job that makes the file of a stream.
fn job_of(of: &Takeout, id: JobId) -> NewJob {
    NewJob {
        id,
        owner: of.owner.clone(),
        collection_id: of.collection_id.clone(),
        kind: jobs::make_download::KIND,
        payload: of.id.to_string(),
        dedupe_key: None,
        callback_url: None,
    }
}

/// One that failed is made again; nothing happens to one that is under way or done.
pub async fn retry(app: &App, found: &Takeout) -> Result<JobId> {
    if found.kind != TakeoutKind::Download {
        return Err(Error::invalid("a transcode is no download: ask for it again with POST /transcode"));
    }
    if found.state() != TakeoutState::Failed {
        return Ok(found.job_id.clone());
    }
    app.space.check()?;
    let made = job_of(found, mint!(app, JobId));
    let (id, job_id, now) = (found.id.clone(), made.id.clone(), app.now());
    app.store
        .write(move |tx| {
            Box::pin(async move {
                takeout::set_job(tx, &id, &made.id, now + LIFE).await?;
                job::enqueue(tx, &made, now).await
            })
        })
        .await?;
    app.job_bells.ring();
    Ok(job_id)
}

pub async fn delete(app: &App, id: &TakeoutId) -> Result<()> {
    let (id, now) = (id.clone(), app.now());
    app.store.write(move |tx| Box::pin(async move { takeout::delete(tx, &id, now).await })).await?;
    app.sweep_bell.notify_one();
    Ok(())
}

/// Lets go of those whose week is over, and of those whose stream plays nothing any more.
pub async fn expire(app: &App) -> Result<()> {
    let (mut ended, streams) = app.store.list_ending_takeouts(app.now()).await?;
    for (id, stream) in streams {
        if app.store.find_stream(&stream).await?.is_none_or(|s| s.is_gone) {
            ended.push(id);
        }
    }
    for id in &ended {
        delete(app, id).await?;
    }
    Ok(())
}

/// Path of the file, for whoever has it.
pub fn path(app: &App, id: &TakeoutId) -> String {
    format!("/downloads/{id}/{}", secret(app, id))
}

/// Whether a path's secret is the takeout's.
pub fn is_secret(app: &App, id: &TakeoutId, wanted: &str) -> bool {
    random::digest(&secret(app, id)) == random::digest(wanted)
}

fn secret(app: &App, id: &TakeoutId) -> String {
    random::hex(&stream::mac(app, &format!("takeout {id}"))[..16])
}

/// The file of a takeout, as long as it may be had.
pub async fn file_of(app: &App, id: &TakeoutId) -> Result<(Takeout, MadeFile)> {
    let gone = || Error::gone("this file is not kept any more: it was deleted, or its week is over");
    let found = app.store.find_takeout(id).await?.filter(|t| t.expires_at > app.now()).ok_or_else(gone)?;
    if let Some(stream) = &found.stream_id
        && app.store.find_stream(stream).await?.is_none_or(|s| s.is_gone)
    {
        return Err(gone());
    }
    let made = found.made.clone().ok_or_else(|| Error::not_found("the file; it is still being made"))?;
    Ok((found, made))
}

/// A file on its way; it goes with this unless it is taken.
pub(super) struct Draft(PathBuf);

impl Draft {
    /// Of a job: run again after a crash, it begins anew.
    pub(super) async fn of(app: &App, job: &JobId, what: &str) -> Result<Draft> {
        let folder = upload::folder(app);
        tokio::fs::create_dir_all(&folder).await.internal("make the folder of uploads")?;
        Ok(Draft(folder.join(format!("{job}.{what}"))))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // What became an object is not there any more.
        std::fs::remove_file(&self.0).ok();
    }
}

/// The file is whole: from now on it can be had. The reply of the job that made it.
pub(super) async fn finish(app: &App, job: &Job, mut of: Takeout, file: Draft, made: MadeFile) -> Result<String> {
    app.objects.adopt(file.path(), &made.object).await?;
    let key = made.object.clone();
    (of.expires_at, of.made) = (app.now() + LIFE, Some(made.clone()));
    let reply = match of.kind {
        TakeoutKind::Download => serde_json::to_string(&views::takeout(app, &of)),
        TakeoutKind::Transcode => serde_json::to_string(&views::transcode(app, &of)),
    };
    let reply = reply.internal("word a takeout")?;
    let (id, job, answer, expires_at) = (of.id.clone(), job.id.clone(), reply.clone(), of.expires_at);
    let is_there = app.store.write(move |tx| {
        Box::pin(async move {
            job::set_reply(tx, &job, &answer).await?;
            takeout::finish(tx, &id, &made, expires_at).await
        })
    });
    if !is_there.await? {
        app.objects.delete(&key, true).await?;
        return Err(Error::gone("it was deleted while it was being made"));
    }
    Ok(reply)
}

/// Key of the object.
pub(super) fn object_of(id: &TakeoutId) -> String {
    // A folder of its own: the sweeper removes it with the object.
    format!("downloads/{id}/file.mp4")
}
