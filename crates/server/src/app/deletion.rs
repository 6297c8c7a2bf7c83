//! Deletion: what a user lets go of is there for nobody from the moment the call is answered, and a live recording is stopped first.
//! Rows go in one transaction, with every chunk that no asset needs; their objects follow after a grace (`jobs::sweeper`).
//! What is marked and not yet gone after a crash is taken up again by the sweeper.

use std::time::Duration;

use vitascope_model::capture::{CaptureSession, SessionState};
use vitascope_model::id::{CaptureSessionId, RtStreamId, TrackId};
use vitascope_model::rtstream::RtStream;
use vitascope_model::stream::{Audio, Video};
use vitascope_model::{Result, Span, TimeRange, WallTime};
use vitascope_store::capture;
use vitascope_store::deletion::{self, Dropped};

use super::App;
use super::capture::advance;
use super::recording::journal_dir;

/// A player that fetched its playlist a moment ago may still ask for segments.
pub const GRACE: Span = Span::seconds(3600);
/// Longer than draining takes; what is not settled then is the sweeper's.
const SETTLE_WITHIN: Duration = Duration::from_secs(12);
/// Objects removed between two looks at the shutdown.
const BATCH: i64 = 200;

/// Deletes a session with everything that it recorded; assets that were exported from it keep their ranges.
pub async fn delete_session(app: &App, session: &CaptureSession) -> Result<()> {
    let (id, now) = (session.id.clone(), app.now());
    app.store.write(move |tx| Box::pin(async move { deletion::mark_session(tx, &id, now).await })).await?;
    if session.state.takes_media() {
        advance(app, &session.id, SessionState::Stopping, None).await?;
        app.sessions.stop(&session.id);
    }
    if tokio::time::timeout(SETTLE_WITHIN, app.sessions.settled(&session.id)).await.is_err() {
        tracing::warn!(session.id = %session.id, "a deleted session is still draining; the sweeper takes it");
        return Ok(());
    }
    finish_session(app, &session.id).await
}

/// Removes the rows of a marked session that records no more.
pub async fn finish_session(app: &App, id: &CaptureSessionId) -> Result<()> {
    let (session, now) = (id.clone(), app.now());
    let dropped = app.store.write(move |tx| {
        Box::pin(async move {
            match capture::load(tx, &session).await? {
                Some(found) if found.state.takes_media() || found.state == SessionState::Stopping => Ok(None),
                Some(_) => deletion::delete_session(tx, &session, now).await.map(Some),
                None => Ok(None),
            }
        })
    });
    let dropped = dropped.await?;
    if let Some(dropped) = dropped {
        note("capture session", id.as_str(), dropped);
        app.sweep_bell.notify_one();
    }
    Ok(())
}

/// Deletes an rtstream with everything that it recorded; if it is a channel of a session, the channel goes with it.
pub async fn delete_rtstream(app: &App, stream: &RtStream) -> Result<()> {
    let (id, now) = (stream.id.clone(), app.now());
    // From here on its path takes no publisher.
    app.store.write(move |tx| Box::pin(async move { deletion::mark_rtstream(tx, &id, now).await })).await?;
    finish_rtstream(app, &stream.id).await
}

/// Ends what a marked rtstream records and removes its rows.
pub async fn finish_rtstream(app: &App, id: &RtStreamId) -> Result<()> {
    app.ingest.drain_rtstream(app, id).await;
    let (stream, now) = (id.clone(), app.now());
    let dropped = app.store.write(move |tx| Box::pin(async move { deletion::delete_rtstream(tx, &stream, now).await }));
    note("rtstream", id.as_str(), dropped.await?);
    app.sweep_bell.notify_one();
    Ok(())
}

/// Deletes a video. What an rtstream recorded stays with the rtstream, as long as that is there.
pub async fn delete_video(app: &App, video: &Video) -> Result<()> {
    let (id, now) = (video.id.clone(), app.now());
    let dropped = app.store.write(move |tx| Box::pin(async move { deletion::delete_video(tx, &id, now).await }));
    note("video", video.id.as_str(), dropped.await?);
    app.sweep_bell.notify_one();
    Ok(())
}

/// Lets go of what a video plays; the video itself stays, with its thumbnails and all that was learnt from it.
pub async fn drop_storage(app: &App, video: &Video) -> Result<()> {
    if video.dropped_at.is_some() {
        return Ok(());
    }
    let (id, now) = (video.id.clone(), app.now());
    let dropped = app.store.write(move |tx| Box::pin(async move { deletion::drop_storage(tx, &id, now).await }));
    note("storage of video", video.id.as_str(), dropped.await?);
    app.plans.forget();
    app.sweep_bell.notify_one();
    Ok(())
}

pub async fn delete_audio(app: &App, audio: &Audio) -> Result<()> {
    let (id, now) = (audio.id.clone(), app.now());
    let dropped = app.store.write(move |tx| Box::pin(async move { deletion::delete_audio(tx, &id, now).await }));
    note("audio", audio.id.as_str(), dropped.await?);
    app.sweep_bell.notify_one();
    Ok(())
}

/// Lets go of the chunks of a track that lie in `range` as a whole; what an asset owns a part of stays.
pub async fn drop_range(app: &App, track: &TrackId, range: TimeRange) -> Result<Dropped> {
    let (id, now) = (track.clone(), app.now());
    let dropped =
        app.store.write(move |tx| Box::pin(async move { deletion::drop_range(tx, &id, range, now).await })).await?;
    app.sweep_bell.notify_one();
    app.plans.forget();
    Ok(dropped)
}

/// Finishes what was marked and is not gone yet, as after a crash.
pub async fn finish_marked(app: &App) -> Result<()> {
    for session in app.store.list_deletable_sessions().await? {
        finish_session(app, &session).await?;
    }
    for stream in app.store.list_deletable_rtstreams().await? {
        finish_rtstream(app, &stream).await?;
    }
    Ok(())
}

/// Removes the objects that were dropped before `before`; how many bytes they had.
pub async fn remove_objects(app: &App, before: WallTime) -> Result<i64> {
    let mut freed = 0;
    while !app.shutdown.is_cancelled() {
        let due = app.store.list_dropped_objects(before, BATCH).await?;
        if due.is_empty() {
            break;
        }
        for dropped in due {
            app.objects.delete(&dropped.object, dropped.track_is_gone).await?;
            app.pieces.forget(&dropped.object).await?;
            if let (true, Ok(track)) = (dropped.track_is_gone, dropped.track_id.parse()) {
                // An empty folder, if it is there at all.
                tokio::fs::remove_dir(journal_dir(app, &track)).await.ok();
            }
            freed += dropped.bytes;
            let key = dropped.object;
            app.store.write(move |tx| Box::pin(async move { deletion::forget_object(tx, &key).await })).await?;
        }
    }
    Ok(freed)
}

fn note(noun: &str, id: &str, dropped: Dropped) {
    tracing::info!(noun, id, chunks = dropped.chunks, bytes = dropped.bytes, "deleted");
}
