//! Export: what was recorded becomes an asset that owns ranges of the tracks already there: a video, or an audio where there is no
//! picture. No media is read, copied or encoded, so it takes the same time whatever the length.

use vitascope_model::capture::{CaptureSession, Channel, Failure, MediaKind, SessionState};
use vitascope_model::id::{CaptureSessionId, ConnectionId, EventId};
use vitascope_model::rtstream::{RtStream, RtStreamState, Track};
use vitascope_model::stream::{AssetId, AssetPart, Purpose};
use vitascope_model::{Error, Result, Span, TimeRange, WallTime};
use vitascope_store::{capture, outbox, rtstream};

use super::asset::{Asset, Made, Material, make};
use super::capture::{Step, change};
use super::{App, mint};
use crate::events::frames::session_export;

/// An asset as those who asked for the export want to see it.
#[derive(Clone, Debug)]
pub struct Exported {
    pub id: AssetId,
    pub name: String,
    pub length: Span,
    pub stream_id: String,
}

/// The session's export, made now or before; none if nothing was recorded, which is noted and no failure of the session.
pub async fn export_session(app: &App, id: &CaptureSessionId) -> Result<Option<AssetId>> {
    let found = app.store.find_session(id).await?;
    let session = found.ok_or_else(|| Error::not_found(format_args!("capture session {id}")))?;
    if let Some(asset) = session.exported {
        return Ok(Some(asset));
    }
    let picture = session.primary_video().filter(|c| c.store).map(|c| c.rtstream_id.clone());
    let picture = match picture {
        Some(stream) => app.store.find_rtstream_track(&stream).await?,
        None => None,
    };
    let name = format!("Capture {}", short_time(session.created_at));
    let Some(material) = material_of(app, &session, picture, name).await? else {
        note_nothing_recorded(app, session.id).await?;
        return Ok(None);
    };
    store_export(app, session.id, make(app, material)?).await.map(Some)
}

async fn note_nothing_recorded(app: &App, id: CaptureSessionId) -> Result<()> {
    let message = "nothing was recorded that could be exported".to_owned();
    let failure = Failure { code: "nothing_recorded".to_owned(), message };
    app.store.write(move |tx| Box::pin(async move { capture::set_failure(tx, &id, &failure).await })).await
}

async fn store_export(app: &App, session: CaptureSessionId, made: Made) -> Result<AssetId> {
    let (now, id) = (app.now(), made.asset.id());
    let (asset, step) = (id.clone(), Step::exported_as(app, made.asset.exported()));
    app.store
        .write(move |tx| {
            Box::pin(async move {
                made.insert(tx, now).await?;
                capture::set_exported(tx, &session, &asset).await?;
                let moved = change(tx, &session, step).await?;
                moved.map(|_| ()).ok_or_else(|| Error::conflict(format!("capture session {session} is not stopped")))
            })
        })
        .await?;
    app.outbox_bell.notify_one();
    Ok(id)
}

/// A picture (if there is one) and the session's mixed sound, both for as long as the picture lasts. None if there is neither.
async fn material_of(
    app: &App,
    session: &CaptureSession,
    picture: Option<Track>,
    name: String,
) -> Result<Option<Material>> {
    let picture = part_of(app, picture).await?;
    let sound = part_of(app, app.store.find_mix_track(&session.id).await?).await?;
    let has_picture = picture.is_some();
    let whole = match (&picture, &sound) {
        (Some((picture, _)), Some((sound, _))) => held_for(picture.range, sound.range),
        (Some((only, _)), None) | (None, Some((only, _))) => only.range,
        (None, None) => return Ok(None),
    };
    // A crash in the first second may leave sound that ended before the picture began: none of it belongs to the asset.
    let sound = sound.filter(|(part, _)| part.range.overlaps(whole));
    let found: Vec<(AssetPart, i64)> = picture.into_iter().chain(sound).collect();
    let bytes = found.iter().map(|(_, bytes)| bytes).sum();
    let parts = found.into_iter().map(|(part, _)| AssetPart { range: whole, ..part }).collect();
    let (owner, collection_id) = (session.owner.clone(), session.collection_id.clone());
    let (description, original_id) = (None, None);
    Ok(Some(Material { owner, collection_id, name, description, original_id, bytes, parts, has_picture }))
}

/// All that a track has recorded, and its bytes.
async fn part_of(app: &App, track: Option<Track>) -> Result<Option<(AssetPart, i64)>> {
    let Some(track) = track else { return Ok(None) };
    let Some(extent) = app.store.track_extent(&track.id).await? else { return Ok(None) };
    let range = TimeRange::new(WallTime(extent.start_us), WallTime(extent.end_us));
    Ok(range.map(|range| (AssetPart { track_id: track.id, range, purpose: Purpose::Both }, extent.bytes)))
}

/// A screen that does not change sends a picture every four seconds, so when its recorder dies the sound may be that much longer:
/// the last picture is held as long as it would have been.
fn held_for(picture: TimeRange, sound: TimeRange) -> TimeRange {
    const MOST: Span = Span::millis(4400);
    let end = picture.end().max(sound.end().min(picture.end() + MOST));
    TimeRange::new(picture.start(), end).unwrap_or(picture)
}

/// The export of one rtstream that has stopped: of all that it recorded. Asked for again, it is the same as long as nothing was
/// recorded since.
pub async fn export_rtstream(app: &App, found: &RtStream, name: Option<String>) -> Result<Exported> {
    let id = &found.id;
    if found.state != RtStreamState::Stopped {
        return Err(Error::invalid(format!("rtstream {id} is connected: stop it before it is exported")));
    }
    if !found.store {
        return Err(Error::invalid(format!("rtstream {id} was started without `store`: there is nothing to export")));
    }
    // What was stopped a moment ago may still be sealing.
    app.ingest.drain_rtstream(app, id).await;
    let part = part_of(app, app.store.find_rtstream_track(id).await?).await?;
    let part = part.ok_or_else(|| Error::invalid(format!("rtstream {id} has no recording to export")))?;
    if let Some(before) = made_before(app, found, &part.0).await? {
        return Ok(before);
    }
    let made = make(
        app,
        Material {
            owner: found.owner.clone(),
            collection_id: found.collection_id.clone(),
            name: name.unwrap_or_else(|| format!("{} - Recording", found.name)),
            description: None,
            original_id: None,
            has_picture: found.kind == MediaKind::Video,
            bytes: part.1,
            parts: vec![part.0],
        },
    )?;
    let (asset, stream, before, now) = (made.asset.id(), id.clone(), found.exported.clone(), app.now());
    let new = asset.clone();
    app.store
        .write(move |tx| {
            Box::pin(async move {
                made.insert(tx, now).await?;
                let is_first = rtstream::set_exported(tx, &stream, before.as_ref(), &new).await?;
                if is_first { Ok(()) } else { Err(Error::conflict(format!("rtstream {stream} is being exported"))) }
            })
        })
        .await?;
    find(app, &asset).await?.ok_or_else(|| Error::not_found(format_args!("asset {asset}")))
}

async fn made_before(app: &App, found: &RtStream, part: &AssetPart) -> Result<Option<Exported>> {
    let parts = match &found.exported {
        Some(AssetId::Video(id)) => app.store.find_video(id).await?.map(|v| v.parts),
        Some(AssetId::Audio(id)) => app.store.find_audio(id).await?.map(|a| a.parts),
        None => None,
    };
    match &found.exported {
        Some(asset) if parts.is_some_and(|p| p.first() == Some(part)) => find(app, asset).await,
        _ => Ok(None),
    }
}

/// How the export of a session stands.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It will be there when the session has drained and its job has run.
    Pending,
    Exported(Exported),
    /// Why there is none.
    Failed(String),
}

/// The export of a session that has stopped, showing the display that is named, else the primary one.
pub async fn export_channel(app: &App, session: &CaptureSession, wanted: Option<&str>) -> Result<Outcome> {
    if session.state.takes_media() || session.state == SessionState::Created {
        let (id, state) = (&session.id, session.state.as_str());
        return Err(Error::conflict(format!("capture session {id} is {state}: stop it before it is exported")));
    }
    let channel = match wanted {
        Some(name) => Some(exportable(session, name)?),
        None => session.primary_video(),
    };
    if let Some(done) = of_before(app, session, channel).await? {
        return Ok(Outcome::Exported(done));
    }
    let is_primary = channel.map(|c| &c.channel_id) == session.primary_video().map(|c| &c.channel_id);
    match (session.state, &session.failure) {
        (SessionState::Failed, failure) => {
            return Ok(Outcome::Failed(failure.as_ref().map_or_else(String::new, |f| f.message.clone())));
        }
        (SessionState::Stopped, Some(failure)) if is_primary => return Ok(Outcome::Failed(failure.message.clone())),
        (SessionState::Stopping, _) => return Ok(Outcome::Pending),
        (SessionState::Stopped, None) if is_primary && session.stores_anything() => return Ok(Outcome::Pending),
        _ => {}
    }
    export_again(app, session, channel, is_primary).await
}

/// A display other than the primary one; or the primary one, if its export was deleted.
async fn export_again(
    app: &App,
    session: &CaptureSession,
    channel: Option<&Channel>,
    is_primary: bool,
) -> Result<Outcome> {
    let picture = match channel.filter(|c| c.store) {
        Some(channel) => app.store.find_rtstream_track(&channel.rtstream_id).await?,
        None => None,
    };
    let shown = channel.map_or_else(String::new, |c| format!(" - {}", c.channel_id));
    let name = format!("Capture {}{shown}", short_time(session.created_at));
    let found = material_of(app, session, picture, name).await?.filter(|m| m.has_picture || is_primary);
    let Some(material) = found else {
        return Ok(Outcome::Failed("nothing was recorded that could be exported".to_owned()));
    };
    let made = make(app, material)?;
    let (asset, id, now) = (made.asset.id(), session.id.clone(), app.now());
    let (new, rtstream) = (asset.clone(), channel.map(|c| c.rtstream_id.clone()));
    app.store
        .write(move |tx| {
            Box::pin(async move {
                made.insert(tx, now).await?;
                if is_primary {
                    return capture::set_exported(tx, &id, &new).await;
                }
                let (Some(rtstream), AssetId::Video(video)) = (&rtstream, &new) else { return Ok(()) };
                let is_first = capture::set_channel_exported(tx, rtstream, video).await?;
                if is_first { Ok(()) } else { Err(Error::conflict(format!("capture session {id} is being exported"))) }
            })
        })
        .await?;
    let made = find(app, &asset).await?;
    Ok(Outcome::Exported(made.ok_or_else(|| Error::not_found(format_args!("asset {asset}")))?))
}

fn exportable<'a>(session: &'a CaptureSession, name: &str) -> Result<&'a Channel> {
    let found = session.channels.iter().find(|c| c.channel_id == name);
    let found = found.ok_or_else(|| {
        let known: Vec<&str> = session.channels.iter().map(|c| c.channel_id.as_str()).collect();
        Error::invalid(format!("capture session {} has no channel {name:?}; it has {}", session.id, known.join(", ")))
    })?;
    if found.kind != MediaKind::Video {
        return Err(Error::invalid(format!("channel {name} has no picture: name a display")));
    }
    if !found.store {
        return Err(Error::invalid(format!("channel {name} was started without `store`: there is nothing to export")));
    }
    Ok(found)
}

async fn of_before(app: &App, session: &CaptureSession, channel: Option<&Channel>) -> Result<Option<Exported>> {
    let is_primary = channel.map(|c| &c.channel_id) == session.primary_video().map(|c| &c.channel_id);
    let asset = match channel.and_then(|c| c.exported_video_id.clone()) {
        Some(video) if !is_primary => Some(AssetId::Video(video)),
        _ => session.exported.clone().filter(|_| is_primary),
    };
    let Some(asset) = asset else { return Ok(None) };
    find(app, &asset).await
}

/// Tells a socket how the export stands; while it is pending, the session's own news go there from now on.
pub async fn tell(
    app: &App,
    session: &CaptureSession,
    channel: Option<&str>,
    outcome: &Outcome,
    to: ConnectionId,
) -> Result<()> {
    let id = session.id.clone();
    if matches!(outcome, Outcome::Pending) {
        let bind = app.store.write(move |tx| {
            Box::pin(async move { capture::set_start(tx, &id, None, None, Some(to.as_str()), None).await })
        });
        return bind.await;
    }
    let event = session_export(app, session, channel, outcome, to, mint!(app, EventId));
    app.store.write(move |tx| Box::pin(async move { outbox::insert(tx, &event).await.map(|_| ()) })).await?;
    app.outbox_bell.notify_one();
    Ok(())
}

/// An asset by its id; none if it was deleted.
pub async fn find(app: &App, id: &AssetId) -> Result<Option<Exported>> {
    let found = match id {
        AssetId::Video(id) => app.store.find_video(id).await?.map(Asset::Video),
        AssetId::Audio(id) => app.store.find_audio(id).await?.map(Asset::Audio),
    };
    Ok(found.map(|asset| asset.exported()))
}

/// To the minute, for names.
fn short_time(at: WallTime) -> String {
    at.to_string().get(..16).unwrap_or_default().replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_still_picture_is_held_while_there_is_sound_but_not_for_ever() {
        let range = |start, end| TimeRange::new(WallTime(start), WallTime(end)).unwrap();
        let second = 1_000_000;
        assert_eq!(held_for(range(0, second), range(0, 4 * second)), range(0, 4 * second));
        assert_eq!(held_for(range(0, second), range(0, 60 * second)), range(0, 5_400_000));
        assert_eq!(held_for(range(0, 9 * second), range(0, 4 * second)), range(0, 9 * second));
        assert_eq!(held_for(range(5 * second, 6 * second), range(0, second)), range(5 * second, 6 * second));
    }
}
