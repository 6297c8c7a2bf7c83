//! What recording writes down: which path belongs to whom, tracks, and their sealed chunks.
//! The samples themselves go through `live::recording` into journal files; here a finished journal file becomes an object and a row.

use std::path::{Path, PathBuf};

use vitascope_media::compile::{is_gap, segments_in};
use vitascope_media::journal::ClosedChunk;
use vitascope_media::recovery::recover;
use vitascope_media::track::{Chunk, Place};
use vitascope_model::capture::MediaKind;
use vitascope_model::error::Context;
use vitascope_model::id::{CaptureSessionId, RtStreamId, TrackId};
use vitascope_model::rtstream::{LivePlace, RtStream, RtStreamState, SealedChunk, Track, TrackRole};
use vitascope_model::usage::Meter;
use vitascope_model::{Error, Result};
use vitascope_store::track;

use super::{App, mint};

/// Whom a publish path belongs to.
pub struct PublishTarget {
    pub rtstream: RtStream,
    pub session_id: Option<CaptureSessionId>,
    pub admission: Admission,
}

/// Whether media may come now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Open,
    /// Not until the rtstream is started again.
    Paused,
    Closed,
}

pub async fn find_target(app: &App, publish_path: &str) -> Result<Option<PublishTarget>> {
    let Some(rtstream) = app.store.find_rtstream_by_path(publish_path).await? else { return Ok(None) };
    let is_live = match &rtstream.session_id {
        Some(id) => app.store.find_session(id).await?.is_some_and(|s| s.state.takes_media()),
        None => true,
    };
    let admission = match (is_live, rtstream.state) {
        (true, RtStreamState::Connected) => Admission::Open,
        (true, RtStreamState::Stopped) => Admission::Paused,
        (false, _) => Admission::Closed,
    };
    Ok(Some(PublishTarget { session_id: rtstream.session_id.clone(), rtstream, admission }))
}

/// The one source track of the rtstream, made or taken up again.
pub async fn open_track(app: &App, rtstream: &RtStream) -> Result<Track> {
    if let Some(found) = app.store.find_rtstream_track(&rtstream.id).await? {
        return reopen(app, found).await;
    }
    let made = Track {
        id: mint!(app, TrackId),
        owner: rtstream.owner.clone(),
        collection_id: rtstream.collection_id.clone(),
        rtstream_id: Some(rtstream.id.clone()),
        session_id: rtstream.session_id.clone(),
        original_id: None,
        role: TrackRole::Source,
        kind: rtstream.kind,
        open: true,
        kept_from: None,
    };
    insert(app, made).await
}

/// The track of the session's mixed sound, made or taken up again.
pub async fn open_mix_track(app: &App, session: &CaptureSessionId) -> Result<Track> {
    if let Some(found) = app.store.find_mix_track(session).await? {
        return reopen(app, found).await;
    }
    let found = app.store.find_session(session).await?;
    let found = found.ok_or_else(|| Error::not_found(format_args!("capture session {session}")))?;
    let made = Track {
        id: mint!(app, TrackId),
        owner: found.owner,
        collection_id: found.collection_id,
        rtstream_id: None,
        session_id: Some(session.clone()),
        original_id: None,
        role: TrackRole::Mix,
        kind: MediaKind::Audio,
        open: true,
        kept_from: None,
    };
    insert(app, made).await
}

async fn insert(app: &App, made: Track) -> Result<Track> {
    let row = made.clone();
    app.store.write(move |tx| Box::pin(async move { track::insert(tx, &row).await })).await?;
    Ok(made)
}

async fn reopen(app: &App, mut found: Track) -> Result<Track> {
    if !found.open {
        let id = found.id.clone();
        app.store.write(move |tx| Box::pin(async move { track::set_open(tx, &id, true).await })).await?;
        found.open = true;
    }
    Ok(found)
}

/// Makes a finished journal file an object of its track. Until the row is there the journal files are what a crash leaves,
/// so their index goes last.
pub async fn seal_chunk(app: &App, track: &TrackId, chunk: ClosedChunk) -> Result<()> {
    let object = format!("tracks/{track}/{}.dat", chunk.start.0);
    // After a crash between the rename and the row the object is there already.
    if chunk.data_path.exists() {
        app.objects.adopt(&chunk.data_path, &object).await?;
    }
    let (segments, place) = live_place(app, track, &chunk).await?;
    let sealed = SealedChunk {
        segments,
        place,
        start: chunk.start,
        end: chunk.end,
        bytes: chunk.bytes as i64,
        samples: chunk.samples as i64,
        object,
        index: chunk.index,
    };
    let (track, length) = (app.store.get_track(track).await?, chunk.end - chunk.start);
    let id = track.id.clone();
    app.store.write(move |tx| Box::pin(async move { track::insert_chunk(tx, &id, &sealed).await })).await?;
    // A mix came from nowhere.
    if track.role == TrackRole::Source {
        app.usage.add(&track.owner, Meter::BytesIn, chunk.bytes);
        app.usage.add(&track.owner, Meter::Ingested, length.0.max(0) as u64);
    }
    let index = chunk.index_path;
    tokio::fs::remove_file(&index).await.internal(format_args!("remove {}", index.display()))
}

/// Where the chunk stands in the live playlist of its track: after the one that was sealed before it.
async fn live_place(app: &App, track: &TrackId, chunk: &ClosedChunk) -> Result<(i64, LivePlace)> {
    let read = |start, end, index: &[u8]| Chunk::from_index(start, end, index, Place::Object(String::new()));
    let segments = segments_in(&read(chunk.start, chunk.end, &chunk.index)?) as i64;
    let place = match app.store.last_chunk_before(track, chunk.start).await? {
        Some(last) => {
            let gap = is_gap(&read(last.start, last.end, &last.index)?, chunk.start);
            last.place_after(gap)
        }
        None => LivePlace::default(),
    };
    Ok((segments, place))
}

/// It grows no more.
pub async fn close_track(app: &App, track: &TrackId) -> Result<()> {
    let id = track.clone();
    app.store.write(move |tx| Box::pin(async move { track::set_open(tx, &id, false).await })).await
}

/// The folder of the track's open end.
pub fn journal_dir(app: &App, track: &TrackId) -> PathBuf {
    app.config.data_dir.join("journal").join(track.as_str())
}

/// After a start: what a killed server left in its journals is sealed, up to the last whole sample.
pub async fn recover_journals(app: &App) -> Result<()> {
    for track in app.store.list_open_tracks().await? {
        recover_journal(app, &track.id).await?;
    }
    Ok(())
}

async fn recover_journal(app: &App, track: &TrackId) -> Result<()> {
    let folder = journal_dir(app, track);
    take_back_unsealed(app, track, &folder).await?;
    let found = tokio::task::spawn_blocking(move || if folder.is_dir() { recover(&folder) } else { Ok(Vec::new()) });
    for chunk in found.await.internal("recover a journal")?? {
        tracing::info!(track.id = %track, samples = chunk.samples, "recovered the open end of a track");
        seal_chunk(app, track, chunk).await?;
    }
    Ok(())
}

/// The tracks of a session that is over grow no more. What a broken connection may have left in a journal is sealed first.
pub async fn close_session_tracks(app: &App, session: &CaptureSessionId) -> Result<()> {
    for track in app.store.list_open_tracks().await? {
        if track.session_id.as_ref() == Some(session) {
            recover_journal(app, &track.id).await?;
            close_track(app, &track.id).await?;
        }
    }
    Ok(())
}

/// The track of an rtstream that was stopped grows no more, until it is taken up again.
pub async fn close_rtstream_track(app: &App, rtstream: &RtStreamId) -> Result<()> {
    if let Some(track) = app.store.find_rtstream_track(rtstream).await?.filter(|t| t.open) {
        recover_journal(app, &track.id).await?;
        close_track(app, &track.id).await?;
    }
    Ok(())
}

/// A crash may fall between a chunk becoming an object and its row: then its index is still a journal file, and its data is taken back.
async fn take_back_unsealed(app: &App, track: &TrackId, folder: &Path) -> Result<()> {
    let names = std::fs::read_dir(folder).map(|entries| entries.filter_map(|e| Some(e.ok()?.path())).collect());
    let names: Vec<PathBuf> = names.unwrap_or_default();
    for index in names.iter().filter(|n| n.extension().is_some_and(|e| e == "idx")) {
        let data = index.with_extension("dat");
        let key = data.file_name().and_then(|n| n.to_str()).map(|name| format!("tracks/{track}/{name}"));
        if let (false, Some(key)) = (data.exists(), key) {
            app.objects.give_back(&key, &data).await?;
        }
    }
    Ok(())
}
