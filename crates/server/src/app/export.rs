//! Export: a finished session becomes a video that owns ranges of the tracks already recorded. No media is read, copied or encoded,
//! so it takes the same time whatever the length.

use vitascope_model::capture::{CaptureSession, Failure, MediaKind};
use vitascope_model::id::{CaptureSessionId, VideoId};
use vitascope_model::rtstream::Track;
use vitascope_model::stream::{AssetPart, Piece, Stream, Video};
use vitascope_model::{Error, Result, TimeRange, WallTime};
use vitascope_store::{capture, stream, video};

use super::capture::{Step, change};
use super::{App, mint};

/// The session's video, made now or before; none if nothing was recorded, which is noted and no failure of the session.
pub async fn export_session(app: &App, id: &CaptureSessionId) -> Result<Option<VideoId>> {
    let found = app.store.find_session(id).await?;
    let session = found.ok_or_else(|| Error::not_found(format_args!("capture session {id}")))?;
    if let Some(video) = session.exported_video_id {
        return Ok(Some(video));
    }
    let parts = parts_of(app, &session).await?;
    let Some(range) = parts.first().map(|(part, _)| part.range) else {
        note_nothing_recorded(app, session.id).await?;
        return Ok(None);
    };
    let video_id = mint!(app, VideoId);
    let piece = Piece::Video { id: video_id.clone() };
    let plays = Stream {
        id: super::stream::id_of(app, &session.owner, &piece),
        owner: session.owner.clone(),
        piece,
        title: None,
    };
    let made = Video {
        id: video_id.clone(),
        owner: session.owner.clone(),
        collection_id: session.collection_id.clone(),
        name: format!("Capture {}", short_time(session.created_at)),
        length: range.length(),
        bytes: parts.iter().map(|(_, bytes)| bytes).sum(),
        stream_id: plays.id.clone(),
        created_at: app.now(),
        parts: parts.into_iter().map(|(part, _)| part).collect(),
    };
    store_export(app, session.id, made, plays).await?;
    Ok(Some(video_id))
}

async fn note_nothing_recorded(app: &App, id: CaptureSessionId) -> Result<()> {
    let message = "nothing was recorded that could be exported".to_owned();
    let failure = Failure { code: "nothing_recorded".to_owned(), message };
    app.store.write(move |tx| Box::pin(async move { capture::set_failure(tx, &id, &failure).await })).await
}

async fn store_export(app: &App, session: CaptureSessionId, made: Video, plays: Stream) -> Result<()> {
    let now = app.now();
    let step = Step::exported_as(app, made.clone());
    app.store
        .write(move |tx| {
            Box::pin(async move {
                video::insert(tx, &made).await?;
                stream::insert(tx, &Stream { title: Some(made.name.clone()), ..plays }, now).await?;
                capture::set_exported(tx, &session, &made.id).await?;
                let moved = change(tx, &session, step).await?;
                moved.map(|_| ()).ok_or_else(|| Error::conflict(format!("capture session {session} is not stopped")))
            })
        })
        .await?;
    app.outbox_bell.notify_one();
    Ok(())
}

/// Picture of the primary display, then the mixed sound, both for as long as the picture lasts; or the sound alone.
async fn parts_of(app: &App, session: &CaptureSession) -> Result<Vec<(AssetPart, i64)>> {
    let picture = match session.primary_video().filter(|c| c.store) {
        Some(channel) => app.store.find_rtstream_track(&channel.rtstream_id).await?,
        None => None,
    };
    let sound = app.store.find_mix_track(&session.id).await?;
    let mut parts = Vec::new();
    for track in [picture, sound].into_iter().flatten() {
        let whole = parts.first().map(|(part, _): &(AssetPart, i64)| part.range);
        parts.extend(part_of(app, track, whole).await?);
    }
    Ok(parts)
}

async fn part_of(app: &App, track: Track, within: Option<TimeRange>) -> Result<Option<(AssetPart, i64)>> {
    let Some(extent) = app.store.track_extent(&track.id).await? else { return Ok(None) };
    let recorded = TimeRange::new(WallTime(extent.start_us), WallTime(extent.end_us));
    let range = if track.kind == MediaKind::Video { recorded } else { within.or(recorded) };
    Ok(range.map(|range| (AssetPart { track_id: track.id, range }, extent.bytes)))
}

/// To the minute, for names.
fn short_time(at: WallTime) -> String {
    at.to_string().get(..16).unwrap_or_default().replace('T', " ")
}
