//! Audios: names, and the ranges of tracks that they own.

use sqlx::FromRow;
use vitascope_model::account::Scope;
use vitascope_model::id::{AudioId, CollectionId, OriginalId};
use vitascope_model::stream::{AssetPart, Audio};
use vitascope_model::{Error, Result, Span, WallTime};

use crate::db::{OrBroken, bound_to};
use crate::video::PartRow;
use crate::{Store, Tx};

#[derive(FromRow)]
struct AudioRow {
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
}

impl AudioRow {
    fn into_model(self, parts: Vec<AssetPart>) -> Result<Audio> {
        Ok(Audio {
            id: self.id.parse()?,
            owner: self.user_id.parse()?,
            collection_id: self.collection_id.parse()?,
            name: self.name,
            description: self.description,
            original_id: self.original_id.map(|id| id.parse()).transpose()?,
            length: Span(self.length_us),
            bytes: self.bytes,
            stream_id: self.stream_id,
            keep: self.keep,
            created_at: WallTime(self.created_at_us),
            parts,
        })
    }
}

impl Store {
    pub async fn get_audio(&self, scope: &Scope, id: &AudioId) -> Result<Audio> {
        let found = self.find_audio(id).await?.filter(|a| scope.covers(&a.owner, &a.collection_id));
        found.ok_or_else(|| Error::not_found(format_args!("audio {id}")))
    }

    pub async fn find_audio(&self, id: &AudioId) -> Result<Option<Audio>> {
        const AUDIO: &str = "select * from audio where id = $1";
        const PARTS: &str =
            "select track_id, start_us, end_us, purpose from audio_part where audio_id = $1 order by position";
        let row: Option<AudioRow> =
            sqlx::query_as(AUDIO).bind(id.as_str()).fetch_optional(&self.readers).await.or_broken()?;
        let Some(row) = row else { return Ok(None) };
        let rows: Vec<PartRow> = sqlx::query_as(PARTS).bind(id.as_str()).fetch_all(&self.readers).await.or_broken()?;
        row.into_model(rows.into_iter().map(PartRow::into_model).collect::<Result<_>>()?).map(Some)
    }

    /// Newest first, without their parts.
    pub async fn list_audios(&self, scope: &Scope, collection: Option<&CollectionId>) -> Result<Vec<Audio>> {
        const SQL: &str = "select * from audio where user_id = $1 and ($2 is null or collection_id = $2)
            and ($3 is null or instr($3, ' ' || collection_id || ' ') > 0) order by id desc";
        let query = sqlx::query_as(SQL).bind(scope.user().as_str()).bind(collection.map(CollectionId::as_str));
        let rows: Vec<AudioRow> = query.bind(bound_to(scope)).fetch_all(&self.readers).await.or_broken()?;
        rows.into_iter().map(|row| row.into_model(Vec::new())).collect()
    }
}

pub async fn insert(tx: &mut Tx, a: &Audio) -> Result<()> {
    const AUDIO: &str =
        "insert into audio (id, user_id, collection_id, name, length_us, bytes, stream_id, created_at_us, original_id, description)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    const PART: &str = "insert into audio_part (audio_id, position, track_id, start_us, end_us, purpose) values ($1, $2, $3, $4, $5, $6)";
    let query = sqlx::query(AUDIO).bind(a.id.as_str()).bind(a.owner.as_str()).bind(a.collection_id.as_str());
    let query = query.bind(&a.name).bind(a.length.0).bind(a.bytes).bind(&a.stream_id).bind(a.created_at.0);
    let query = query.bind(a.original_id.as_ref().map(OriginalId::as_str)).bind(&a.description);
    query.execute(&mut *tx).await.or_broken()?;
    for (position, part) in a.parts.iter().enumerate() {
        let query = sqlx::query(PART).bind(a.id.as_str()).bind(position as i64).bind(part.track_id.as_str());
        let query = query.bind(part.range.start().0).bind(part.range.end().0).bind(part.purpose.as_str());
        query.execute(&mut *tx).await.or_broken()?;
    }
    Ok(())
}

/// What is not given stays as it was.
pub async fn update(tx: &mut Tx, id: &AudioId, name: Option<&str>, keep: Option<bool>) -> Result<()> {
    const SQL: &str = "update audio set name = coalesce($2, name), keep = coalesce($3, keep) where id = $1";
    sqlx::query(SQL).bind(id.as_str()).bind(name).bind(keep).execute(tx).await.or_broken()?;
    Ok(())
}
