//! Transcodes: a file from anywhere, or what a stream of ours plays, becomes an MP4 as it is wished for, and that a takeout. The file is
//! looked at as an upload is. Players go first: while one waits the encoder does, and a large picture is begun anew if a player needs
//! its memory. How a file is encoded is `media`'s business.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::time::Duration;
use vitascope_media::encoder::transcode::{Material, Wish, put_index_in_front, start};
use vitascope_media::probe::{Kind, probe, prove};
use vitascope_media::promise::promise;
use vitascope_model::account::Scope;
use vitascope_model::error::Context;
use vitascope_model::id::{OriginalId, TakeoutId};
use vitascope_model::job::Job;
use vitascope_model::stream::{Piece, Stream};
use vitascope_model::takeout::{MadeFile, Takeout, TakeoutKind};
use vitascope_model::{Error, Result, WallTime};
use vitascope_store::ObjectFile;
use vitascope_store::job::NewJob;

use super::progress::Progress;
use super::source::{self, Here, Source};
use super::takeout::{self, Asked, Draft};
use super::upload::{check_room, full, unwritten};
use super::{App, download, stream};
use crate::jobs;

/// Percent of the job that is done when the source is here.
const FETCHED: u64 = 10;
/// How long nobody may have waited before a large picture that gave way is begun anew: longer each time, up to the most.
const QUIET: Duration = Duration::from_secs(10);
const LONGEST_QUIET: Duration = Duration::from_secs(600);
/// Written at once.
const BLOCK: usize = 256 << 10;

/// Where the file comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Origin {
    /// What a stream of ours plays, by its id.
    Stream(String),
    /// A file that was made to be taken away, by its id.
    Takeout(String),
    File(Source),
}

/// A transcode on its way, as its job keeps it.
#[derive(Serialize, Deserialize)]
struct Payload {
    takeout: String,
    origin: Origin,
    wish: Wish,
}

/// What may be transcoded.
pub enum From {
    Stream(Stream),
    Takeout(Takeout),
    /// With what it is called, if anything says so.
    File(Source, Option<String>),
}

/// Accepts a wish: from here on it survives a crash.
pub async fn enqueue(
    app: &App,
    scope: &Scope,
    from: From,
    wish: Wish,
    callback_url: Option<String>,
) -> Result<Takeout> {
    wish.check()?;
    let (origin, name, collection_id) = match from {
        From::Stream(of) => {
            check_stream(&of, &wish)?;
            let collection = stream::collection_of(app, scope, &of).await?;
            (Origin::Stream(of.id), of.title, collection)
        }
        From::Takeout(of) => (Origin::Takeout(of.id.to_string()), Some(of.name), of.collection_id),
        // A key of some collections sees what it asked for itself.
        From::File(file, name) => (Origin::File(file), name, scope.collections().and_then(|c| c.first()).cloned()),
    };
    let name = name.filter(|n| !n.trim().is_empty()).unwrap_or_else(|| takeout::UNNAMED.to_owned());
    let row = Asked { collection_id, kind: TakeoutKind::Transcode, name, stream_id: None }.row(app, scope);
    let payload = Payload { takeout: row.id.to_string(), origin, wish };
    let made_by = NewJob {
        id: row.job_id.clone(),
        owner: row.owner.clone(),
        collection_id: row.collection_id.clone(),
        kind: jobs::transcode::KIND,
        payload: serde_json::to_string(&payload).internal("write down a transcode")?,
        dedupe_key: None,
        callback_url,
    };
    takeout::enqueue(app, &row, made_by).await?;
    Ok(row)
}

fn check_stream(of: &Stream, wish: &Wish) -> Result<()> {
    if of.is_gone {
        return Err(Error::gone("what this stream plays was deleted"));
    }
    match of.piece {
        Piece::Live { .. } => Err(Error::invalid(
            "a live stream has no end: ask for a range of it with GET /rtstream/{id}/stream?start=…&end=…",
        )),
        Piece::Audio { .. } if wish.mute => {
            Err(Error::invalid("the source has no picture: without its sound nothing is left of it"))
        }
        _ => Ok(()),
    }
}

/// Makes the file of a transcode.
pub async fn make(app: &App, job: &Job) -> Result<String> {
    if let Some(reply) = &job.reply {
        return Ok(reply.clone());
    }
    let Payload { takeout: id, origin, wish } =
        serde_json::from_str(&job.payload).internal("read a transcode's job")?;
    let id: TakeoutId = id.parse()?;
    let of = app.store.find_takeout(&id).await?.ok_or_else(|| Error::gone("the transcode was deleted"))?;
    let brought = bring(app, job, &origin).await?;
    let material = look(&brought, &wish).await?;
    let fragments = Draft::of(app, &job.id, "fragments").await?;
    encode(app, job, &brought, &material, &wish, fragments.path()).await?;
    drop(brought);
    let written = tokio::fs::metadata(fragments.path()).await.internal("look at what was transcoded")?;
    check_room(app, written.len())?;
    let draft = Draft::of(app, &job.id, "made").await?;
    put_index_in_front(fragments.path(), draft.path()).await?;
    drop(fragments);
    let said = probe(draft.path()).await?;
    let made = MadeFile {
        object: takeout::object_of(&of.id),
        bytes: tokio::fs::metadata(draft.path()).await.internal("look at a transcode")?.len() as i64,
        length: said.length.unwrap_or(material.end - WallTime(0)),
        has_picture: said.picture.is_some(),
    };
    takeout::finish(app, job, of, draft, made).await
}

/// A source on the disk.
struct Brought {
    file: Place,
    /// Only its sound is meant.
    is_sound: bool,
    is_mixed: bool,
}

enum Place {
    Object(ObjectFile),
    Here(Here),
    Draft(Draft),
}

impl Brought {
    fn of(file: Place) -> Brought {
        Brought { file, is_sound: false, is_mixed: false }
    }

    fn path(&self) -> &Path {
        match &self.file {
            Place::Object(file) => file.path(),
            Place::Here(here) => here.path(),
            Place::Draft(draft) => draft.path(),
        }
    }
}

async fn bring(app: &App, job: &Job, origin: &Origin) -> Result<Brought> {
    match origin {
        Origin::File(file) => {
            let here = source::bring(app, job, file, FETCHED).await?;
            if here.received.bytes == 0 {
                return Err(Error::invalid("the file is empty"));
            }
            Ok(Brought::of(Place::Here(here)))
        }
        Origin::Takeout(id) => {
            let (_, made) = takeout::file_of(app, &id.parse()?).await?;
            Ok(Brought::of(Place::Object(app.objects.file(&made.object).await?)))
        }
        Origin::Stream(id) => bring_stream(app, job, id).await,
    }
}

/// The file that was uploaded, where that is all of it and still there; else what plays, as a download of it.
async fn bring_stream(app: &App, job: &Job, id: &str) -> Result<Brought> {
    let gone = || Error::gone("what this stream plays was deleted");
    let stream = app.store.find_stream(id).await?.filter(|s| !s.is_gone).ok_or_else(gone)?;
    let (original, is_sound) = match &stream.piece {
        Piece::Video { id } => {
            let video = app.store.find_video(id).await?.ok_or_else(gone)?;
            if video.dropped_at.is_some() {
                return Err(Error::gone("the storage of this video was removed: there is nothing to transcode"));
            }
            (video.original_id, false)
        }
        Piece::Audio { id } => (app.store.find_audio(id).await?.ok_or_else(gone)?.original_id, true),
        _ => (None, false),
    };
    if let Some(file) = file_of(app, original.as_ref()).await? {
        return Ok(Brought { is_sound, ..Brought::of(Place::Object(file)) });
    }
    let draft = Draft::of(app, &job.id, "source").await?;
    let written = download::write(app, &stream, draft.path(), Progress::new(job, 0, FETCHED)).await?;
    Ok(Brought { is_mixed: written.is_mixed, ..Brought::of(Place::Draft(draft)) })
}

async fn file_of(app: &App, original: Option<&OriginalId>) -> Result<Option<ObjectFile>> {
    let Some(id) = original else { return Ok(None) };
    let original = app.store.get_original(id).await?;
    if original.is_dropped { Ok(None) } else { app.objects.file(&original.object).await.map(Some) }
}

/// What of the file goes into the result; what is refused as an upload is refused here.
async fn look(brought: &Brought, wish: &Wish) -> Result<Material> {
    let mut probed = probe(brought.path()).await?;
    if probed.kind() == Kind::Image {
        return Err(Error::invalid("the file is a still image, no video or audio"));
    }
    if brought.is_sound {
        probed.picture = None;
    }
    let promised = promise(brought.path(), &probed).await?;
    prove(brought.path(), &probed).await?;
    Material::of(promised, probed.picture.and_then(|p| p.rate), wish, brought.is_mixed)
}

/// Encodes all of it, which may take more than one beginning.
async fn encode(app: &App, job: &Job, brought: &Brought, material: &Material, wish: &Wish, into: &Path) -> Result<()> {
    let is_large = material.is_large(wish);
    let mut progress = Progress::new(job, FETCHED, 99);
    let mut quiet = QUIET;
    loop {
        app.encoding.until_quiet().await;
        let place = app.encoding.place(is_large).await?;
        let run = run(app, brought.path(), material, wish, into, &mut progress);
        tokio::select! {
            done = run => return done,
            // Who waits needs the memory.
            () = app.encoding.until_large_is_wanted(), if is_large => {}
        }
        drop(place);
        tracing::info!(job.id = %job.id, "a transcode gave way to what is played and begins anew");
        app.encoding.until_quiet_for(quiet).await;
        quiet = (quiet * 2).min(LONGEST_QUIET);
    }
}

async fn run(
    app: &App,
    file: &Path,
    material: &Material,
    wish: &Wish,
    into: &Path,
    progress: &mut Progress,
) -> Result<()> {
    let out = tokio::fs::File::create(into).await.map_err(unwritten)?;
    let mut out = BufWriter::with_capacity(BLOCK, out);
    let mut transcoding = start(file, material, wish)?;
    let total = (material.end - WallTime(0)).0.unsigned_abs();
    while let Some(bytes) = transcoding.next().await? {
        if app.space.is_full() {
            return Err(full());
        }
        out.write_all(&bytes).await.map_err(unwritten)?;
        progress.tell(app, transcoding.reached().0.unsigned_abs(), total).await?;
        // Nobody reads meanwhile, so that the encoder waits as well.
        app.encoding.until_quiet().await;
    }
    transcoding.finish().await?;
    out.flush().await.map_err(unwritten)
}
