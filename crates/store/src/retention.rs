//! Retention: how much each collection holds, up to which moment something has to go to come below a limit, and letting it go.
//! Never what is kept for ever, what such an asset refers to, the last minutes of what still grows, or what an export waits for:
//! that is said once, in `free`. Which limits there are is the caller's business.

use futures_util::TryStreamExt;
use sqlx::{FromRow, Row};
use vitascope_model::collection::Retention;
use vitascope_model::id::{CollectionId, ImageId, RtStreamId, TrackId, UserId};
use vitascope_model::stream::AssetId;
use vitascope_model::{Result, Span, TimeRange, WallTime};

use crate::db::OrBroken;
use crate::deletion::{self, Dropped};
use crate::image;
use crate::{Store, Tx};

/// Assets, and tracks, that go in one transaction: the writer has others to serve.
const BATCH: i64 = 50;

/// A collection as retention sees it.
#[derive(Clone, Debug)]
pub struct Shelf {
    pub collection: CollectionId,
    pub owner: UserId,
    pub retention: Retention,
    /// Of everything sealed in it.
    pub bytes: i64,
}

#[derive(FromRow)]
struct ShelfRow {
    id: String,
    user_id: String,
    max_bytes: Option<i64>,
    max_age_us: Option<i64>,
    bytes: i64,
}

impl ShelfRow {
    fn into_model(self) -> Result<Shelf> {
        Ok(Shelf {
            collection: self.id.parse()?,
            owner: self.user_id.parse()?,
            retention: Retention { max_bytes: self.max_bytes, max_age: self.max_age_us.map(Span) },
            bytes: self.bytes,
        })
    }
}

/// What went in one transaction.
#[derive(Clone, Debug, Default)]
pub struct Gone {
    pub dropped: Dropped,
    pub assets: Vec<AssetId>,
    pub images: Vec<ImageId>,
    /// Of which a part or all went.
    pub rtstreams: Vec<RtStreamId>,
}

impl Gone {
    pub fn is_nothing(&self) -> bool {
        self.assets.is_empty() && self.images.is_empty() && self.dropped.chunks == 0
    }

    fn add(&mut self, dropped: Dropped) {
        self.dropped.chunks += dropped.chunks;
        self.dropped.bytes += dropped.bytes;
    }
}

/// `free`: the tracks of collection $1 (null: of all) that may lose something, each up to a moment. What still grows keeps the ten
/// minutes that it recorded last. `asset`: what is made of them, until when it lasts (an upload: when it came), and whether it stays.
macro_rules! with_free {
    ($rest:literal) => {
        concat!(
            "with free as materialized (
                select t.id, t.collection_id, t.rtstream_id,
                    case when t.open or s.state in ('starting', 'active')
                        then coalesce((select c.end_us from chunk c where c.track_id = t.id order by c.start_us desc limit 1), 0)
                            - 600000000
                        else 9223372036854775807 end as until_us
                from track t left join rtstream r on r.id = t.rtstream_id left join capture_session s on s.id = t.session_id
                where ($1 is null or t.collection_id = $1) and not coalesce(r.keep, false) and not coalesce(s.keep, false)
                and coalesce(s.state, '') <> 'stopping'
                and not exists (select 1 from job j where j.kind = 'export_session' and j.payload = t.session_id
                    and j.state in ('queued', 'running'))
            ), asset as materialized (
                select v.id, v.collection_id, case when v.original_id is null then max(p.end_us) else v.created_at_us end as until_us,
                    v.keep or max(f.id is null or p.end_us > f.until_us) as stays
                from video v join video_part p on p.video_id = v.id left join free f on f.id = p.track_id group by v.id
                union all
                select a.id, a.collection_id, case when a.original_id is null then max(p.end_us) else a.created_at_us end as until_us,
                    a.keep or max(f.id is null or p.end_us > f.until_us) as stays
                from audio a join audio_part p on p.audio_id = a.id left join free f on f.id = p.track_id group by a.id
            )",
            $rest
        )
    };
}

impl Store {
    /// Every collection, with how much it holds: one sum over tracks.
    pub async fn list_shelves(&self) -> Result<Vec<Shelf>> {
        const SQL: &str = "select c.id, c.user_id, c.max_bytes, c.max_age_us, coalesce(sum(t.bytes), 0)
                + coalesce((select sum(o.loose_bytes) from original o where o.collection_id = c.id and o.dropped_at_us is null), 0)
                + coalesce((select sum(i.bytes) from image i where i.collection_id = c.id), 0) as bytes
            from collection c left join track t on t.collection_id = c.id group by c.id order by c.id";
        let rows: Vec<ShelfRow> = sqlx::query_as(SQL).fetch_all(&self.readers).await.or_broken()?;
        rows.into_iter().map(ShelfRow::into_model).collect()
    }

    /// How many bytes are sealed in a collection.
    pub async fn stored_bytes(&self, collection: &CollectionId) -> Result<i64> {
        const SQL: &str = "select (select coalesce(sum(bytes), 0) from track where collection_id = $1)
            + (select coalesce(sum(loose_bytes), 0) from original where collection_id = $1 and dropped_at_us is null)
            + (select coalesce(sum(bytes), 0) from image where collection_id = $1)";
        sqlx::query_scalar(SQL).bind(collection.as_str()).fetch_one(&self.readers).await.or_broken()
    }

    /// The moment before which everything has to go so that `excess` bytes are free, of one collection or of all. If there is not so much
    /// that may go, the moment of the last that may; none if nothing may.
    pub async fn find_cut(&self, collection: Option<&CollectionId>, excess: i64) -> Result<Option<WallTime>> {
        // A chunk goes with the last asset that owns a part of it.
        const SQL: &str = with_free!(
            ", held as materialized (
                select p.track_id, p.start_us, p.end_us,
                    case when a.stays then 9223372036854775807 else a.until_us end as until_us
                from asset a join video_part p on p.video_id = a.id
                union all
                select p.track_id, p.start_us, p.end_us,
                    case when a.stays then 9223372036854775807 else a.until_us end as until_us
                from asset a join audio_part p on p.audio_id = a.id
            )
            select bytes, gone_us from (
                select c.bytes, max(c.end_us, coalesce((select max(h.until_us) from held h
                    where h.track_id = c.track_id and h.start_us < c.end_us and h.end_us > c.start_us), c.end_us)) as gone_us
                from free f join chunk c on c.track_id = f.id where c.end_us <= f.until_us
                union all
                select o.loose_bytes, (select max(h.until_us) from held h join track t on t.id = h.track_id
                    where t.original_id = o.id)
                from original o where o.dropped_at_us is null and o.loose_bytes > 0 and ($1 is null or o.collection_id = $1)
                union all
                select i.bytes, i.created_at_us from image i
                where i.video_id is null and not i.keep and ($1 is null or i.collection_id = $1)
            ) where gone_us < 9223372036854775807 order by gone_us"
        );
        let mut rows = sqlx::query(SQL).bind(collection.map(CollectionId::as_str)).fetch(&self.readers);
        let (mut freed, mut cut) = (0, None);
        while let Some(row) = rows.try_next().await.or_broken()? {
            if freed >= excess {
                break;
            }
            freed += row.try_get::<i64, _>(0).or_broken()?;
            cut = Some(WallTime(row.try_get(1).or_broken()?));
        }
        Ok(cut)
    }

    /// Whether something of a collection lies wholly before `cut` and may go.
    pub async fn has_before(&self, collection: &CollectionId, cut: WallTime) -> Result<bool> {
        let mut connection = self.readers.acquire().await.or_broken()?;
        Ok(!list_assets(&mut connection, collection, cut, 1).await?.is_empty()
            || !list_images(&mut connection, collection, cut, 1).await?.is_empty()
            || !list_tracks(&mut connection, collection, cut, 1).await?.is_empty())
    }
}

/// Lets go of some of what lies wholly before `cut` and may go; nothing when there is no more of it.
pub async fn drop_before(tx: &mut Tx, collection: &CollectionId, cut: WallTime, now: WallTime) -> Result<Gone> {
    let mut gone = Gone::default();
    for id in list_assets(tx, collection, cut, BATCH).await? {
        let id: AssetId = id.parse()?;
        gone.add(match &id {
            AssetId::Video(id) => deletion::delete_video(tx, id, now).await?,
            AssetId::Audio(id) => deletion::delete_audio(tx, id, now).await?,
        });
        gone.assets.push(id);
    }
    for id in list_images(tx, collection, cut, BATCH).await? {
        let id: ImageId = id.parse()?;
        gone.dropped.bytes += image::delete(tx, &id, now).await?;
        gone.images.push(id);
    }
    for track in list_tracks(tx, collection, cut, BATCH).await? {
        let id: TrackId = track.id.parse()?;
        let Some(range) = TimeRange::new(WallTime(0), WallTime(track.until_us)) else { continue };
        gone.add(deletion::drop_range(tx, &id, range, now).await?);
        if let Some(rtstream) = track.rtstream_id {
            gone.rtstreams.push(rtstream.parse()?);
        }
    }
    Ok(gone)
}

async fn list_assets(tx: &mut Tx, collection: &CollectionId, cut: WallTime, limit: i64) -> Result<Vec<String>> {
    const SQL: &str = with_free!(
        " select id from asset where collection_id = $1 and until_us <= $2 and not stays order by until_us, id limit $3"
    );
    let query = sqlx::query_scalar(SQL).bind(collection.as_str()).bind(cut.0).bind(limit);
    query.fetch_all(tx).await.or_broken()
}

/// Uploaded images; those that show a moment of a video go with that.
async fn list_images(tx: &mut Tx, collection: &CollectionId, cut: WallTime, limit: i64) -> Result<Vec<String>> {
    const SQL: &str =
        "select id from image where collection_id = $1 and created_at_us <= $2 and video_id is null and not keep
        order by created_at_us, id limit $3";
    let query = sqlx::query_scalar(SQL).bind(collection.as_str()).bind(cut.0).bind(limit);
    query.fetch_all(tx).await.or_broken()
}

#[derive(FromRow)]
struct TrackRow {
    id: String,
    rtstream_id: Option<String>,
    until_us: i64,
}

/// Tracks with a chunk that no asset needs.
async fn list_tracks(tx: &mut Tx, collection: &CollectionId, cut: WallTime, limit: i64) -> Result<Vec<TrackRow>> {
    const SQL: &str = with_free!(
        " select f.id, f.rtstream_id, min(f.until_us, $2) as until_us from free f where exists (
            select 1 from chunk c where c.track_id = f.id and c.start_us < $2 and c.end_us <= min(f.until_us, $2)
            and not exists (select 1 from video_part p
                where p.track_id = c.track_id and p.start_us < c.end_us and p.end_us > c.start_us)
            and not exists (select 1 from audio_part p
                where p.track_id = c.track_id and p.start_us < c.end_us and p.end_us > c.start_us))
        order by f.id limit $3"
    );
    let query = sqlx::query_as(SQL).bind(collection.as_str()).bind(cut.0).bind(limit);
    query.fetch_all(tx).await.or_broken()
}
