//! Videos and audios from files: which tracks a file is made into, and the rows of the asset. Samples that can be cut where they lie stay
//! there; of the others the times are written down, and `encode` makes them, in the background or when a player asks.

use vitascope_media::mp4::{self, Fit, Movie, MovieTrack, PlacedChunk};
use vitascope_media::probe::{Probe, probe, prove};
use vitascope_media::promise::{PromisedChunk, PromisedTrack, promise};
use vitascope_model::asset::AssetKind;
use vitascope_model::capture::MediaKind;
use vitascope_model::error::Context;
use vitascope_model::id::{CollectionId, JobId, OriginalId, TrackId};
use vitascope_model::job::Job;
use vitascope_model::rtstream::{LivePlace, SealedChunk, Track, TrackRole};
use vitascope_model::stream::{AssetPart, Purpose};
use vitascope_model::upload::Original;
use vitascope_model::{Error, Result, Span, TimeRange, WallTime};
use vitascope_store::job::NewJob;
use vitascope_store::{encoding, job, original, track};

use crate::app::asset::{Asset, Made, Material, make};
use crate::app::source::Here;
use crate::app::{App, encode, mint};
use crate::views;

/// Sound that lasts so much longer than the picture is the rest of its last frame.
const REST_OF_A_FRAME: Span = Span::millis(100);

pub(super) struct Wishes {
    pub(super) collection: CollectionId,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) kind: Option<AssetKind>,
}

/// What a file is to become.
struct Found {
    container: String,
    /// Picture first.
    tracks: Vec<NewTrack>,
}

struct NewTrack {
    kind: MediaKind,
    purpose: Purpose,
    /// How its samples are made; none if they lie in the file.
    recipe: Option<String>,
    chunks: Vec<NewChunk>,
}

struct NewChunk {
    start: WallTime,
    end: WallTime,
    bytes: i64,
    samples: i64,
    index: Vec<u8>,
}

impl From<PlacedChunk> for NewChunk {
    fn from(c: PlacedChunk) -> NewChunk {
        NewChunk { start: c.start, end: c.end, bytes: c.bytes, samples: c.samples, index: c.index }
    }
}

impl From<PromisedChunk> for NewChunk {
    fn from(c: PromisedChunk) -> NewChunk {
        NewChunk { start: c.start, end: c.end, bytes: 0, samples: c.samples, index: c.index }
    }
}

impl NewTrack {
    fn placed(track: &MovieTrack, purpose: Purpose) -> NewTrack {
        let chunks = track.chunks().into_iter().map(NewChunk::from).collect();
        NewTrack { kind: track.kind, purpose, recipe: None, chunks }
    }

    fn promised(kind: MediaKind, track: PromisedTrack, purpose: Purpose) -> Result<NewTrack> {
        let chunks = track.chunks.into_iter().map(NewChunk::from).collect();
        Ok(NewTrack { kind, purpose, recipe: Some(track.recipe.to_text()?), chunks })
    }
}

/// Tracks with their chunks, and how these are made where that is still to be done.
type TrackRows = Vec<(Track, Vec<SealedChunk>, Option<String>)>;

/// Rows that are stored with an asset.
struct Rows {
    /// None where the owner has the file already.
    file: Option<Original>,
    tracks: TrackRows,
    /// What makes the promised chunks, where there are any.
    encoding: Option<NewJob>,
}

pub(super) async fn ingest(app: &App, job: &Job, here: Here, wishes: Wishes) -> Result<String> {
    let before = app.store.find_original(&job.owner, &here.received.sha256).await?;
    if let Some(file) = &before
        && let Some(parts) = parts_of_twin(app, file, wishes.kind).await?
    {
        let made = make(app, material(job, wishes, file, parts.0, parts.1))?;
        return store(app, job, made, Rows { file: None, tracks: Vec::new(), encoding: None }).await;
    }
    let found = look(&here, wishes.kind).await?;
    let is_new = before.is_none();
    let file = match before {
        Some(file) => file,
        None => original_of(app, job, &here, &wishes, &found)?,
    };
    let (parts, tracks) = lay_out(app, &file, &found)?;
    let has_picture = found.tracks.iter().any(|t| t.kind == MediaKind::Video);
    let made = make(app, material(job, wishes, &file, parts, has_picture))?;
    let is_promised = tracks.iter().any(|(.., recipe)| recipe.is_some());
    let encoding = is_promised.then(|| encode::job_of(app, &file.id, &file.owner, &file.collection_id)).transpose()?;
    let (id, key) = (file.id.clone(), file.object.clone());
    if is_new {
        app.objects.adopt(here.path(), &key).await?;
    }
    if encoding.is_some() {
        // Before the job can begin, so that its end is not overtaken.
        app.encoding.set_progress(&id, Some(0));
    }
    let stored = store(app, job, made, Rows { file: is_new.then_some(file), tracks, encoding }).await;
    if stored.is_err() {
        app.encoding.set_progress(&id, None);
        if is_new {
            // Without a row nobody would find it again.
            app.objects.give_back(&key, here.path()).await.ok();
        }
    }
    stored
}

/// What another asset of the same file is made of, if there is one of the wanted kind; and whether it has a picture.
async fn parts_of_twin(app: &App, file: &Original, kind: Option<AssetKind>) -> Result<Option<(Vec<AssetPart>, bool)>> {
    if kind != Some(AssetKind::Audio)
        && let Some(id) = app.store.find_video_of(&file.id).await?
    {
        return Ok(app.store.find_video(&id).await?.map(|v| (v.parts, true)));
    }
    if kind != Some(AssetKind::Video)
        && let Some(id) = app.store.find_audio_of(&file.id).await?
    {
        return Ok(app.store.find_audio(&id).await?.map(|a| (a.parts, false)));
    }
    Ok(None)
}

/// Which tracks the file gives.
async fn look(here: &Here, kind: Option<AssetKind>) -> Result<Found> {
    let path = here.path().to_owned();
    let read = tokio::task::spawn_blocking(move || mp4::read(&path)).await.internal("read an MP4 file")?;
    // What this reader finds broken may still be good enough for ffmpeg.
    let movie = read.unwrap_or_else(|error| {
        tracing::debug!(%error, "an upload is no MP4 that can be read");
        None
    });
    let chosen = movie.as_ref().map(|m| Chosen::of(m, kind)).unwrap_or_default();
    if let Some(tracks) = chosen.in_place(kind) {
        return Ok(Found { container: "mov,mp4,m4a,3gp,3g2,mj2".to_owned(), tracks });
    }
    let mut probed = probe(here.path()).await?;
    check(&probed, kind)?;
    if kind == Some(AssetKind::Audio) {
        probed.picture = None;
    }
    let promised = promise(here.path(), &probed).await?;
    prove(here.path(), &probed).await?;
    let mut tracks = Vec::new();
    for (kind, lies, promised) in
        [(MediaKind::Video, chosen.picture, promised.picture), (MediaKind::Audio, chosen.sound, promised.sound)]
    {
        match (lies, promised) {
            (Some(lies), _) if lies.fit == Fit::Cut => tracks.push(NewTrack::placed(lies, Purpose::Both)),
            (Some(lies), Some(promised)) if matches!(lies.fit, Fit::Whole(_)) => {
                tracks.push(NewTrack::placed(lies, Purpose::Whole));
                tracks.push(NewTrack::promised(kind, promised, Purpose::Cut)?);
            }
            (_, Some(promised)) => tracks.push(NewTrack::promised(kind, promised, Purpose::Both)?),
            (_, None) => {}
        }
    }
    Ok(Found { container: probed.container, tracks })
}

/// The tracks of an MP4 that are played.
#[derive(Default)]
struct Chosen<'m> {
    picture: Option<&'m MovieTrack>,
    sound: Option<&'m MovieTrack>,
}

impl<'m> Chosen<'m> {
    fn of(movie: &'m Movie, wanted: Option<AssetKind>) -> Chosen<'m> {
        let of = |kind| movie.tracks.iter().find(|t| t.kind == kind && t.is_default);
        let picture = of(MediaKind::Video).filter(|_| wanted != Some(AssetKind::Audio));
        Chosen { picture, sound: of(MediaKind::Audio) }
    }

    /// All that is wanted, if it can be cut where it lies: then no process looks at the file.
    fn in_place(&self, wanted: Option<AssetKind>) -> Option<Vec<NewTrack>> {
        let all: Vec<&MovieTrack> = self.picture.into_iter().chain(self.sound).collect();
        let is_enough = !all.is_empty() && (self.picture.is_some() || wanted != Some(AssetKind::Video));
        let fits = is_enough && all.iter().all(|t| t.fit == Fit::Cut);
        fits.then(|| all.into_iter().map(|t| NewTrack::placed(t, Purpose::Both)).collect())
    }
}

/// Whether the file can become what is wanted.
fn check(probed: &Probe, wanted: Option<AssetKind>) -> Result<()> {
    match wanted {
        Some(AssetKind::Video) if probed.picture.is_none() => {
            Err(Error::invalid("the file has no picture that moves: it is no video"))
        }
        Some(AssetKind::Audio) if probed.sounds.is_empty() => Err(Error::invalid("the file has no sound")),
        _ => Ok(()),
    }
}

/// The row of a file that this owner has not had before.
fn original_of(app: &App, job: &Job, here: &Here, wishes: &Wishes, found: &Found) -> Result<Original> {
    let bytes = here.received.bytes as i64;
    let placed =
        found.tracks.iter().filter(|t| t.recipe.is_none()).flat_map(|t| &t.chunks).map(|c| c.bytes).sum::<i64>();
    // Of the job: run again after a crash, it is the same object.
    let name = job.id.as_str().trim_start_matches(JobId::PREFIX);
    let id: OriginalId = format!("{}{name}", OriginalId::PREFIX).parse()?;
    Ok(Original {
        object: format!("originals/{id}/file"),
        id,
        owner: job.owner.clone(),
        collection_id: wishes.collection.clone(),
        sha256: here.received.sha256.clone(),
        bytes,
        loose_bytes: (bytes - placed).max(0),
        container: found.container.clone(),
        created_at: app.now(),
        is_dropped: false,
    })
}

/// The rows of the tracks, and what the asset owns of them: all of each.
fn lay_out(app: &App, file: &Original, found: &Found) -> Result<(Vec<AssetPart>, TrackRows)> {
    let range = range_of(found)?;
    let (mut parts, mut tracks) = (Vec::new(), Vec::new());
    for new in &found.tracks {
        let row = Track {
            id: mint!(app, TrackId),
            owner: file.owner.clone(),
            collection_id: file.collection_id.clone(),
            rtstream_id: None,
            session_id: None,
            original_id: Some(file.id.clone()),
            role: if new.recipe.is_some() { TrackRole::Encoded } else { TrackRole::Source },
            kind: new.kind,
            open: false,
            kept_from: None,
        };
        let object = if new.recipe.is_some() { String::new() } else { file.object.clone() };
        let chunk = |c: &NewChunk| SealedChunk {
            start: c.start,
            end: c.end,
            bytes: c.bytes,
            samples: c.samples,
            object: object.clone(),
            index: c.index.clone(),
            segments: 0,
            place: LivePlace::default(),
        };
        parts.push(AssetPart { track_id: row.id.clone(), range, purpose: new.purpose });
        tracks.push((row, new.chunks.iter().map(chunk).collect(), new.recipe.clone()));
    }
    Ok((parts, tracks))
}

/// From the first moment that is shown to the last.
fn range_of(found: &Found) -> Result<TimeRange> {
    let end_of = |kind| {
        let chunks = found.tracks.iter().filter(|t| t.kind == kind).flat_map(|t| &t.chunks);
        chunks.map(|c| c.end).max()
    };
    let end = match (end_of(MediaKind::Video), end_of(MediaKind::Audio)) {
        (Some(picture), Some(sound)) if sound - picture > REST_OF_A_FRAME => Some(sound),
        (Some(picture), _) => Some(picture),
        (None, sound) => sound,
    };
    end.and_then(|end| TimeRange::new(WallTime(0), end))
        .ok_or_else(|| Error::invalid("the file has no picture and no sound that last"))
}

fn material(job: &Job, wishes: Wishes, file: &Original, parts: Vec<AssetPart>, has_picture: bool) -> Material {
    Material {
        owner: job.owner.clone(),
        collection_id: wishes.collection,
        name: wishes.name,
        description: wishes.description,
        original_id: Some(file.id.clone()),
        bytes: file.bytes,
        parts,
        has_picture,
    }
}

async fn store(app: &App, job: &Job, made: Made, rows: Rows) -> Result<String> {
    let reply = match &made.asset {
        Asset::Video(video) => serde_json::to_string(&views::video(app, video)),
        Asset::Audio(audio) => serde_json::to_string(&views::audio(app, audio)),
    };
    let reply = reply.internal("word an asset")?;
    let (answer, id, now) = (reply.clone(), job.id.clone(), app.now());
    app.store
        .write(move |tx| {
            Box::pin(async move {
                if let Some(file) = &rows.file {
                    original::insert(tx, file).await?;
                }
                for (row, chunks, recipe) in &rows.tracks {
                    track::insert(tx, row).await?;
                    if let Some(recipe) = recipe {
                        encoding::set_recipe(tx, &row.id, recipe).await?;
                    }
                    for chunk in chunks {
                        track::insert_chunk(tx, &row.id, chunk).await?;
                    }
                }
                if let Some(encoding) = &rows.encoding {
                    job::enqueue(tx, encoding, now).await?;
                }
                made.insert(tx, now).await?;
                job::set_reply(tx, &id, &answer).await
            })
        })
        .await?;
    app.job_bells.ring();
    Ok(reply)
}
