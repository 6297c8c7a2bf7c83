//! Videos: names, and the ranges of tracks that they own.

use sqlx::FromRow;
use vitascope_model::account::Scope;
use vitascope_model::id::{CollectionId, OriginalId, VideoId};
use vitascope_model::stream::{AssetPart, Purpose, Video};
use vitascope_model::{Error, Result, Span, TimeRange, WallTime};

use crate::db::{OrBroken, bound_to, unreadable};
use crate::{Store, Tx};

#[derive(FromRow)]
struct VideoRow {
    id: String,
    user_id: String,
    collection_id: String,
    name: String,
    length_us: i64,
    bytes: i64,
    stream_id: String,
    keep: bool,
    created_at_us: i64,
    original_id: Option<String>,
    description: Option<String>,
    thumbnail_id: Option<String>,
    dropped_at_us: Option<i64>,
}

/// Of a video or of an audio.
#[derive(FromRow)]
pub(crate) struct PartRow {
    track_id: String,
    start_us: i64,
    end_us: i64,
    purpose: String,
}

impl PartRow {
    pub(crate) fn into_model(self) -> Result<AssetPart> {
        let range = TimeRange::new(WallTime(self.start_us), WallTime(self.end_us));
        let range =
            range.ok_or_else(|| Error::internal(format!("an asset owns nothing of track {}", self.track_id)))?;
        let purpose = Purpose::parse(&self.purpose).ok_or_else(|| unreadable("purpose of a part", &self.purpose))?;
        Ok(AssetPart { track_id: self.track_id.parse()?, range, purpose })
    }
}

/// Videos as rows: the poster stands for each, else the thumbnail that was made first.
macro_rules! videos {
    ($rest:literal) => {
        concat!(
            "select v.*, (select i.id from image i where i.video_id = v.id order by i.poster desc, i.id limit 1) as thumbnail_id
            from video v ",
            $rest
        )
    };
}

impl VideoRow {
    fn into_model(self, parts: Vec<AssetPart>) -> Result<Video> {
        Ok(Video {
            id: self.id.parse()?,
            owner: self.user_id.parse()?,
            collection_id: self.collection_id.parse()?,
            name: self.name,
            description: self.description,
            original_id: self.original_id.map(|id| id.parse()).transpose()?,
            length: Span(self.length_us),
            bytes: self.bytes,
            stream_id: self.stream_id,
            thumbnail: self.thumbnail_id.map(|id| id.parse()).transpose()?,
            dropped_at: self.dropped_at_us.map(WallTime),
            keep: self.keep,
            created_at: WallTime(self.created_at_us),
            parts,
        })
    }
}

impl Store {
    pub async fn get_video(&self, scope: &Scope, id: &VideoId) -> Result<Video> {
        let found = self.find_video(id).await?.filter(|v| scope.covers(&v.owner, &v.collection_id));
        found.ok_or_else(|| Error::not_found(format_args!("video {id}")))
    }

    pub async fn find_video(&self, id: &VideoId) -> Result<Option<Video>> {
        self.shelves.videos.get(id.clone(), self.read_video(id)).await
    }

    async fn read_video(&self, id: &VideoId) -> Result<Option<Video>> {
        const VIDEO: &str = videos!("where v.id = $1");
        const PARTS: &str =
            "select track_id, start_us, end_us, purpose from video_part where video_id = $1 order by position";
        let row: Option<VideoRow> =
            sqlx::query_as(VIDEO).bind(id.as_str()).fetch_optional(&self.readers).await.or_broken()?;
        let Some(row) = row else { return Ok(None) };
        let rows: Vec<PartRow> = sqlx::query_as(PARTS).bind(id.as_str()).fetch_all(&self.readers).await.or_broken()?;
        row.into_model(rows.into_iter().map(PartRow::into_model).collect::<Result<_>>()?).map(Some)
    }

    /// Newest first, without their parts.
    pub async fn list_videos(&self, scope: &Scope, collection: Option<&CollectionId>) -> Result<Vec<Video>> {
        const SQL: &str = videos!(
            "where v.user_id = $1 and ($2 is null or v.collection_id = $2)
            and ($3 is null or instr($3, ' ' || v.collection_id || ' ') > 0) order by v.id desc"
        );
        let query = sqlx::query_as(SQL).bind(scope.user().as_str()).bind(collection.map(CollectionId::as_str));
        let query = query.bind(bound_to(scope));
        let rows: Vec<VideoRow> = query.fetch_all(&self.readers).await.or_broken()?;
        rows.into_iter().map(|row| row.into_model(Vec::new())).collect()
    }
}

pub async fn insert(tx: &mut Tx, v: &Video) -> Result<()> {
    const VIDEO: &str =
        "insert into video (id, user_id, collection_id, name, length_us, bytes, stream_id, created_at_us, original_id, description)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    const PART: &str = "insert into video_part (video_id, position, track_id, start_us, end_us, purpose) values ($1, $2, $3, $4, $5, $6)";
    let query = sqlx::query(VIDEO).bind(v.id.as_str()).bind(v.owner.as_str()).bind(v.collection_id.as_str());
    let query = query.bind(&v.name).bind(v.length.0).bind(v.bytes).bind(&v.stream_id).bind(v.created_at.0);
    let query = query.bind(v.original_id.as_ref().map(OriginalId::as_str)).bind(&v.description);
    query.execute(&mut *tx).await.or_broken()?;
    for (position, part) in v.parts.iter().enumerate() {
        let query = sqlx::query(PART).bind(v.id.as_str()).bind(position as i64).bind(part.track_id.as_str());
        let query = query.bind(part.range.start().0).bind(part.range.end().0).bind(part.purpose.as_str());
        query.execute(&mut *tx).await.or_broken()?;
    }
    Ok(())
}

/// What is not given stays as it was.
pub async fn update(tx: &mut Tx, id: &VideoId, name: Option<&str>, keep: Option<bool>) -> Result<()> {
    const SQL: &str = "update video set name = coalesce($2, name), keep = coalesce($3, keep) where id = $1";
    sqlx::query(SQL).bind(id.as_str()).bind(name).bind(keep).execute(tx).await.or_broken()?;
    Ok(())
}
