//! Deletion: rows go at once, and with them every chunk that no asset needs; the objects of those wait in `dropped_object`
//! until the sweeper takes them. Streams keep their rows: a player whose source is gone is told so.
//! A table of another file that refers to an rtstream, a video or an audio does so `on delete cascade`.

use sqlx::FromRow;
use vitascope_model::id::{AudioId, CaptureSessionId, RtStreamId, TrackId, VideoId};
use vitascope_model::{Result, TimeRange, WallTime};

use crate::db::OrBroken;
use crate::{Store, Tx};
use crate::{image, original};

/// An object that no row needs any more.
#[derive(Clone, Debug, FromRow)]
pub struct DroppedObject {
    pub object: String,
    pub track_id: String,
    pub bytes: i64,
    /// Whether its track is gone, too: then so is the track's folder.
    pub track_is_gone: bool,
}

/// How much was let go of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    pub chunks: u64,
    pub bytes: i64,
}

impl Store {
    /// Objects that were dropped before `before`, oldest first. Those that a row names again are never among them,
    /// nor are those that were dropped while a job ran that runs still.
    pub async fn list_dropped_objects(&self, before: WallTime, limit: i64) -> Result<Vec<DroppedObject>> {
        const SQL: &str = "select d.object, d.track_id, d.bytes,
                not exists (select 1 from track t where t.id = d.track_id) as track_is_gone
            from dropped_object d where d.dropped_at_us <= $1
            and not exists (select 1 from chunk c where c.track_id = d.track_id and c.object = d.object)
            and not exists (select 1 from image i where i.object = d.object)
            and not exists (select 1 from original o where o.object = d.object and o.dropped_at_us is null)
            and not exists (select 1 from takeout f where f.object = d.object)
            and not exists (select 1 from job j where j.state = 'running' and j.created_at_us <= d.dropped_at_us)
            order by d.dropped_at_us limit $2";
        sqlx::query_as(SQL).bind(before.0).bind(limit).fetch_all(&self.readers).await.or_broken()
    }

    /// When the object that waits longest was dropped.
    pub async fn oldest_dropped_object(&self) -> Result<Option<WallTime>> {
        const SQL: &str = "select min(dropped_at_us) from dropped_object";
        let oldest: Option<i64> = sqlx::query_scalar(SQL).fetch_one(&self.readers).await.or_broken()?;
        Ok(oldest.map(WallTime))
    }

    /// Sessions that are marked for deletion and record no more.
    pub async fn list_deletable_sessions(&self) -> Result<Vec<CaptureSessionId>> {
        const SQL: &str = "select id from capture_session where deleted_at_us is not null
            and state in ('created', 'stopped', 'exported', 'failed') order by id";
        let ids: Vec<String> = sqlx::query_scalar(SQL).fetch_all(&self.readers).await.or_broken()?;
        ids.into_iter().map(|id| id.parse()).collect()
    }

    /// Rtstreams that are marked for deletion by themselves, not with their session.
    pub async fn list_deletable_rtstreams(&self) -> Result<Vec<RtStreamId>> {
        const SQL: &str = "select r.id from rtstream r left join capture_session s on s.id = r.session_id
            where r.deleted_at_us is not null and s.deleted_at_us is null order by r.id";
        let ids: Vec<String> = sqlx::query_scalar(SQL).fetch_all(&self.readers).await.or_broken()?;
        ids.into_iter().map(|id| id.parse()).collect()
    }
}

/// From now on the session and its rtstreams are there for nobody who asks.
pub async fn mark_session(tx: &mut Tx, id: &CaptureSessionId, now: WallTime) -> Result<()> {
    const SESSION: &str = "update capture_session set deleted_at_us = coalesce(deleted_at_us, $2) where id = $1";
    const STREAMS: &str = "update rtstream set deleted_at_us = coalesce(deleted_at_us, $2) where session_id = $1";
    for sql in [SESSION, STREAMS] {
        sqlx::query(sql).bind(id.as_str()).bind(now.0).execute(&mut *tx).await.or_broken()?;
    }
    Ok(())
}

/// From now on the rtstream is there for nobody who asks.
pub async fn mark_rtstream(tx: &mut Tx, id: &RtStreamId, now: WallTime) -> Result<()> {
    const SQL: &str = "update rtstream set deleted_at_us = coalesce(deleted_at_us, $2) where id = $1";
    sqlx::query(SQL).bind(id.as_str()).bind(now.0).execute(tx).await.or_broken()?;
    Ok(())
}

/// The session, its channels and its rtstreams with all that they hold. Its exported assets keep their ranges.
pub async fn delete_session(tx: &mut Tx, id: &CaptureSessionId, now: WallTime) -> Result<Dropped> {
    const STREAMS: &str = "select id from rtstream where session_id = $1";
    const HELD: &str = "select id from track where session_id = $1
        union select t.id from track t join rtstream r on r.id = t.rtstream_id where r.session_id = $1";
    const TRACKS: &str = "update track set session_id = null, open = false where session_id = $1";
    const JOB: &str = "delete from job where state = 'queued' and kind = 'export_session' and payload = $1";
    const SESSION: &str = "delete from capture_session where id = $1";
    let held: Vec<String> = sqlx::query_scalar(HELD).bind(id.as_str()).fetch_all(&mut *tx).await.or_broken()?;
    let streams: Vec<String> = sqlx::query_scalar(STREAMS).bind(id.as_str()).fetch_all(&mut *tx).await.or_broken()?;
    for stream in streams {
        forget_rtstream(tx, &stream).await?;
    }
    for sql in [TRACKS, JOB, SESSION] {
        sqlx::query(sql).bind(id.as_str()).execute(&mut *tx).await.or_broken()?;
    }
    drop_unowned(tx, &held, now).await
}

/// One rtstream with all that it holds, and its channel of a session.
pub async fn delete_rtstream(tx: &mut Tx, id: &RtStreamId, now: WallTime) -> Result<Dropped> {
    const HELD: &str = "select id from track where rtstream_id = $1";
    let held: Vec<String> = sqlx::query_scalar(HELD).bind(id.as_str()).fetch_all(&mut *tx).await.or_broken()?;
    forget_rtstream(tx, id.as_str()).await?;
    drop_unowned(tx, &held, now).await
}

async fn forget_rtstream(tx: &mut Tx, id: &str) -> Result<()> {
    const STATEMENTS: [&str; 5] = [
        "delete from transcript_record where rtstream_id = $1",
        "update stream set title = null, description = null where rtstream_id = $1",
        "delete from capture_channel where rtstream_id = $1",
        "update track set rtstream_id = null, session_id = null, open = false where rtstream_id = $1",
        "delete from rtstream where id = $1",
    ];
    for sql in STATEMENTS {
        sqlx::query(sql).bind(id).execute(&mut *tx).await.or_broken()?;
    }
    Ok(())
}

/// A video and the ranges that it owned. What an rtstream recorded stays with the rtstream.
/// Its thumbnails go with it.
pub async fn delete_video(tx: &mut Tx, id: &VideoId, now: WallTime) -> Result<Dropped> {
    const STATEMENTS: [&str; 6] = [
        "update stream set title = null, description = null where video_id = $1",
        "update rtstream set exported_asset_id = null where exported_asset_id = $1",
        "update capture_channel set exported_video_id = null where exported_video_id = $1",
        "update capture_session set exported_video_id = null where exported_video_id = $1",
        "delete from video_part where video_id = $1",
        "delete from video where id = $1",
    ];
    image::drop_of_video(tx, id, now).await?;
    let media = media_of(tx, id).await?;
    for sql in STATEMENTS {
        sqlx::query(sql).bind(id.as_str()).execute(&mut *tx).await.or_broken()?;
    }
    let dropped = drop_unowned(tx, &media.tracks, now).await?;
    release_original(tx, media.original, dropped, now).await
}

/// What a video plays, and nothing else of it. What an rtstream or another asset owns too stays with that.
pub async fn drop_storage(tx: &mut Tx, id: &VideoId, now: WallTime) -> Result<Dropped> {
    const PARTS: &str = "delete from video_part where video_id = $1";
    const VIDEO: &str =
        "update video set dropped_at_us = coalesce(dropped_at_us, $2), original_id = null, bytes = 0 where id = $1";
    let media = media_of(tx, id).await?;
    sqlx::query(PARTS).bind(id.as_str()).execute(&mut *tx).await.or_broken()?;
    sqlx::query(VIDEO).bind(id.as_str()).bind(now.0).execute(&mut *tx).await.or_broken()?;
    let dropped = drop_unowned(tx, &media.tracks, now).await?;
    release_original(tx, media.original, dropped, now).await
}

/// The tracks and the uploaded file that a video is made of.
struct Media {
    tracks: Vec<String>,
    original: Option<String>,
}

async fn media_of(tx: &mut Tx, id: &VideoId) -> Result<Media> {
    const HELD: &str = "select track_id from video_part where video_id = $1";
    const ORIGINAL: &str = "select original_id from video where id = $1 and original_id is not null";
    Ok(Media {
        tracks: sqlx::query_scalar(HELD).bind(id.as_str()).fetch_all(&mut *tx).await.or_broken()?,
        original: sqlx::query_scalar(ORIGINAL).bind(id.as_str()).fetch_optional(&mut *tx).await.or_broken()?,
    })
}

pub async fn delete_audio(tx: &mut Tx, id: &AudioId, now: WallTime) -> Result<Dropped> {
    const STATEMENTS: [&str; 5] = [
        "update stream set title = null, description = null where audio_id = $1",
        "update rtstream set exported_asset_id = null where exported_asset_id = $1",
        "update capture_session set exported_video_id = null where exported_video_id = $1",
        "delete from audio_part where audio_id = $1",
        "delete from audio where id = $1",
    ];
    const HELD: &str = "select track_id from audio_part where audio_id = $1";
    const ORIGINAL: &str = "select original_id from audio where id = $1 and original_id is not null";
    let held: Vec<String> = sqlx::query_scalar(HELD).bind(id.as_str()).fetch_all(&mut *tx).await.or_broken()?;
    let original = sqlx::query_scalar(ORIGINAL).bind(id.as_str()).fetch_optional(&mut *tx).await.or_broken()?;
    for sql in STATEMENTS {
        sqlx::query(sql).bind(id.as_str()).execute(&mut *tx).await.or_broken()?;
    }
    let dropped = drop_unowned(tx, &held, now).await?;
    release_original(tx, original, dropped, now).await
}

/// The uploaded file that a deleted asset was made of goes with the last of them.
async fn release_original(tx: &mut Tx, id: Option<String>, dropped: Dropped, now: WallTime) -> Result<Dropped> {
    let Some(id) = id else { return Ok(dropped) };
    Ok(Dropped { bytes: dropped.bytes + original::release(tx, &id, now).await?, ..dropped })
}

/// The chunks of track $1 that lie in $2..$3 as a whole, except those that an asset owns a part of.
macro_rules! chosen {
    ($head:literal) => {
        concat!(
            $head,
            " from chunk as c where track_id = $1 and start_us >= $2 and end_us <= $3
            and not exists (select 1 from video_part p
                where p.track_id = c.track_id and p.start_us < c.end_us and p.end_us > c.start_us)
            and not exists (select 1 from audio_part p
                where p.track_id = c.track_id and p.start_us < c.end_us and p.end_us > c.start_us)"
        )
    };
}

/// Lets go of the chunks of a track that lie in `range` as a whole, except those that an asset needs.
pub async fn drop_range(tx: &mut Tx, track: &TrackId, range: TimeRange, now: WallTime) -> Result<Dropped> {
    // What is kept begins where the first chunk that remains does.
    const KEPT: &str = "update track set kept_from_us =
            coalesce((select min(start_us) from chunk where track_id = $1), max(coalesce(kept_from_us, 0), $2))
        where id = $1 and not exists (select 1 from chunk where track_id = $1 and start_us < $3)";
    let dropped = move_out(tx, track.as_str(), range.start().0, range.end().0, now).await?;
    if dropped.chunks > 0 {
        let query = sqlx::query(KEPT).bind(track.as_str()).bind(range.end().0).bind(range.start().0);
        query.execute(tx).await.or_broken()?;
    }
    Ok(dropped)
}

/// Lets go of what of these tracks belongs to no rtstream, no session and no asset any more.
async fn drop_unowned(tx: &mut Tx, held: &[String], now: WallTime) -> Result<Dropped> {
    const UNOWNED: &str = "select count(*) from track where id = $1 and rtstream_id is null and session_id is null";
    const TRACK: &str = "delete from track where id = $1 and not exists (select 1 from chunk where track_id = $1)
        and not exists (select 1 from video_part where track_id = $1)
        and not exists (select 1 from audio_part where track_id = $1)";
    let mut all = Dropped::default();
    for track in held {
        let unowned: i64 = sqlx::query_scalar(UNOWNED).bind(track).fetch_one(&mut *tx).await.or_broken()?;
        if unowned == 0 {
            continue;
        }
        let dropped = move_out(tx, track, i64::MIN, i64::MAX, now).await?;
        all = Dropped { chunks: all.chunks + dropped.chunks, bytes: all.bytes + dropped.bytes };
        sqlx::query(TRACK).bind(track).execute(&mut *tx).await.or_broken()?;
    }
    Ok(all)
}

/// Moves chunks from `chunk` to `dropped_object`.
async fn move_out(tx: &mut Tx, track: &str, from: i64, to: i64, now: WallTime) -> Result<Dropped> {
    const COUNT: &str = chosen!("select count(*), coalesce(sum(bytes), 0)");
    const KEEP: &str = concat!(
        "insert into dropped_object (object, track_id, bytes, dropped_at_us) ",
        chosen!("select object, track_id, bytes, $4"),
        // What is promised has no object, and what lies in an uploaded file goes with that.
        " and object <> '' and not exists (select 1 from original o where o.object = c.object)
        on conflict (object) do nothing"
    );
    const DELETE: &str = chosen!("delete");
    const BYTES: &str = "update track set bytes = bytes - $2 where id = $1";
    let query = sqlx::query_as(COUNT).bind(track).bind(from).bind(to);
    let (chunks, bytes): (i64, i64) = query.fetch_one(&mut *tx).await.or_broken()?;
    if chunks == 0 {
        return Ok(Dropped::default());
    }
    sqlx::query(KEEP).bind(track).bind(from).bind(to).bind(now.0).execute(&mut *tx).await.or_broken()?;
    sqlx::query(DELETE).bind(track).bind(from).bind(to).execute(&mut *tx).await.or_broken()?;
    sqlx::query(BYTES).bind(track).bind(bytes).execute(tx).await.or_broken()?;
    Ok(Dropped { chunks: chunks as u64, bytes })
}

/// The object is gone from the disk.
pub async fn forget_object(tx: &mut Tx, object: &str) -> Result<()> {
    sqlx::query("delete from dropped_object where object = $1").bind(object).execute(tx).await.or_broken()?;
    Ok(())
}
