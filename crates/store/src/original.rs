//! Uploaded files, one row for each owner and content. Nothing is shared across owners. A file goes with the last asset that was made of it,
//! and its tracks count in the collection of an asset that still is.

use sqlx::FromRow;
use vitascope_model::id::{AudioId, OriginalId, UserId, VideoId};
use vitascope_model::upload::Original;
use vitascope_model::{Error, Result, WallTime};

use crate::db::OrBroken;
use crate::{Store, Tx};

#[derive(FromRow)]
struct OriginalRow {
    id: String,
    user_id: String,
    collection_id: String,
    sha256: String,
    bytes: i64,
    loose_bytes: i64,
    object: String,
    container: String,
    created_at_us: i64,
    dropped_at_us: Option<i64>,
}

impl OriginalRow {
    fn into_model(self) -> Result<Original> {
        Ok(Original {
            id: self.id.parse()?,
            owner: self.user_id.parse()?,
            collection_id: self.collection_id.parse()?,
            sha256: self.sha256,
            bytes: self.bytes,
            loose_bytes: self.loose_bytes,
            object: self.object,
            container: self.container,
            created_at: WallTime(self.created_at_us),
            is_dropped: self.dropped_at_us.is_some(),
        })
    }
}

impl Store {
    pub async fn get_original(&self, id: &OriginalId) -> Result<Original> {
        const SQL: &str = "select * from original where id = $1";
        let row: Option<OriginalRow> =
            sqlx::query_as(SQL).bind(id.as_str()).fetch_optional(&self.readers).await.or_broken()?;
        row.ok_or_else(|| Error::not_found(format_args!("original {id}")))?.into_model()
    }

    /// What this owner has of the same content.
    pub async fn find_original(&self, owner: &UserId, sha256: &str) -> Result<Option<Original>> {
        const SQL: &str = "select * from original where user_id = $1 and sha256 = $2 and dropped_at_us is null";
        let query = sqlx::query_as(SQL).bind(owner.as_str()).bind(sha256);
        let row: Option<OriginalRow> = query.fetch_optional(&self.readers).await.or_broken()?;
        row.map(OriginalRow::into_model).transpose()
    }

    /// A video that was made of it.
    pub async fn find_video_of(&self, original: &OriginalId) -> Result<Option<VideoId>> {
        const SQL: &str = "select id from video where original_id = $1 limit 1";
        let id: Option<String> =
            sqlx::query_scalar(SQL).bind(original.as_str()).fetch_optional(&self.readers).await.or_broken()?;
        id.map(|id| id.parse()).transpose()
    }

    /// An audio that was made of it.
    pub async fn find_audio_of(&self, original: &OriginalId) -> Result<Option<AudioId>> {
        const SQL: &str = "select id from audio where original_id = $1 limit 1";
        let id: Option<String> =
            sqlx::query_scalar(SQL).bind(original.as_str()).fetch_optional(&self.readers).await.or_broken()?;
        id.map(|id| id.parse()).transpose()
    }
}

pub async fn insert(tx: &mut Tx, o: &Original) -> Result<()> {
    const SQL: &str =
        "insert into original (id, user_id, collection_id, sha256, bytes, loose_bytes, object, container, created_at_us)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let query = sqlx::query(SQL).bind(o.id.as_str()).bind(o.owner.as_str()).bind(o.collection_id.as_str());
    let query = query.bind(&o.sha256).bind(o.bytes).bind(o.loose_bytes).bind(&o.object).bind(&o.container);
    query.bind(o.created_at.0).execute(tx).await.or_broken()?;
    Ok(())
}

/// After an asset that was made of it went: lets go of the file if it was the last one, and else counts what is left of it in a collection
/// where one still lies. How many bytes went beside those of chunks.
pub(crate) async fn release(tx: &mut Tx, id: &str, now: WallTime) -> Result<i64> {
    const HOMES: &str = "select collection_id from video where original_id = $1
        union select collection_id from audio where original_id = $1 order by 1";
    const KEEP: &str = "insert into dropped_object (object, track_id, bytes, dropped_at_us)
        select object, id, bytes, $2 from original where id = $1 and dropped_at_us is null on conflict (object) do nothing";
    const DELETE: &str =
        "delete from original where id = $1 returning case when dropped_at_us is null then loose_bytes else 0 end";
    const REHOME: [&str; 2] = [
        "update original set collection_id = $2 where id = $1",
        "update track set collection_id = $2 where original_id = $1",
    ];
    let homes: Vec<String> = sqlx::query_scalar(HOMES).bind(id).fetch_all(&mut *tx).await.or_broken()?;
    let Some(home) = homes.first() else {
        sqlx::query(KEEP).bind(id).bind(now.0).execute(&mut *tx).await.or_broken()?;
        return sqlx::query_scalar(DELETE).bind(id).fetch_one(&mut *tx).await.or_broken();
    };
    let is_home: Option<String> = sqlx::query_scalar("select collection_id from original where id = $1")
        .bind(id)
        .fetch_optional(&mut *tx)
        .await
        .or_broken()?;
    if is_home.is_some_and(|now| !homes.contains(&now)) {
        for sql in REHOME {
            sqlx::query(sql).bind(id).bind(home).execute(&mut *tx).await.or_broken()?;
        }
    }
    Ok(0)
}
