//! Tracks that are encoded from an original: how each is made, and which of its chunks are still promised. A promised chunk has no
//! object; whoever encodes it first fills it, and nobody changes it again. What a recipe says is `media`'s business.

use std::collections::HashSet;

use vitascope_model::id::{CollectionId, OriginalId, TrackId, UserId};
use vitascope_model::{Result, WallTime};

use crate::db::OrBroken;
use crate::{Store, Tx};

/// What a promised chunk became. Where it begins and ends stays as it was promised.
#[derive(Clone, Debug)]
pub struct Filled {
    pub start: WallTime,
    pub bytes: i64,
    pub samples: i64,
    pub object: String,
    pub index: Vec<u8>,
}

impl Store {
    /// None of a track that is not encoded.
    pub async fn recipe_of(&self, track: &TrackId) -> Result<Option<String>> {
        const SQL: &str = "select recipe from track where id = $1";
        let found: Option<Option<String>> =
            sqlx::query_scalar(SQL).bind(track.as_str()).fetch_optional(&self.readers).await.or_broken()?;
        Ok(found.flatten())
    }

    /// The tracks of an original that have promised chunks, with how each is made; the picture first.
    pub async fn list_promised_tracks(&self, original: &OriginalId) -> Result<Vec<(TrackId, String)>> {
        const SQL: &str = "select id, recipe from track t where original_id = $1 and recipe is not null
            and exists (select 1 from chunk c where c.track_id = t.id and c.object = '') order by kind desc, id";
        let query = sqlx::query_as(SQL).bind(original.as_str());
        let rows: Vec<(String, String)> = query.fetch_all(&self.readers).await.or_broken()?;
        rows.into_iter().map(|(id, recipe)| Ok((id.parse()?, recipe))).collect()
    }

    /// Originals that are still to be encoded, with whose they are and where they lie.
    pub async fn list_unfinished_originals(&self) -> Result<Vec<(OriginalId, UserId, CollectionId)>> {
        const SQL: &str = "select distinct o.id, o.user_id, o.collection_id from chunk c
            join track t on t.id = c.track_id join original o on o.id = t.original_id where c.object = '' order by o.id";
        let rows: Vec<(String, String, String)> = sqlx::query_as(SQL).fetch_all(&self.readers).await.or_broken()?;
        rows.into_iter().map(|(id, owner, collection)| Ok((id.parse()?, owner.parse()?, collection.parse()?))).collect()
    }

    /// What the jobs of a kind that are not over are for.
    pub async fn list_queued_payloads(&self, kind: &str) -> Result<HashSet<String>> {
        const SQL: &str = "select payload from job where kind = $1 and state in ('queued', 'running')";
        let payloads: Vec<String> = sqlx::query_scalar(SQL).bind(kind).fetch_all(&self.readers).await.or_broken()?;
        Ok(payloads.into_iter().collect())
    }

    /// How much of what an original is encoded to is done, in percent.
    pub async fn encoded_percent(&self, original: &OriginalId) -> Result<i64> {
        const SQL: &str = "select coalesce(sum(case when object = '' then 0 else end_us - start_us end), 0),
            coalesce(sum(end_us - start_us), 0) from chunk
            where track_id in (select id from track where original_id = $1 and recipe is not null)";
        let query = sqlx::query_as(SQL).bind(original.as_str());
        let (done, all): (i64, i64) = query.fetch_one(&self.readers).await.or_broken()?;
        Ok(if all > 0 { done / (all / 100).max(1) } else { 100 }.min(100))
    }

    /// Where the first chunk begins that is still promised.
    pub async fn first_promised(&self, track: &TrackId) -> Result<Option<WallTime>> {
        const SQL: &str = "select min(start_us) from chunk where track_id = $1 and object = ''";
        let start: Option<i64> =
            sqlx::query_scalar(SQL).bind(track.as_str()).fetch_one(&self.readers).await.or_broken()?;
        Ok(start.map(WallTime))
    }
}

pub async fn set_recipe(tx: &mut Tx, track: &TrackId, recipe: &str) -> Result<()> {
    const SQL: &str = "update track set recipe = $2 where id = $1";
    sqlx::query(SQL).bind(track.as_str()).bind(recipe).execute(tx).await.or_broken()?;
    Ok(())
}

/// Whether the chunk was still promised; else it stays as it is, and its object is somebody else's.
pub async fn fill_chunk(tx: &mut Tx, track: &TrackId, chunk: &Filled) -> Result<bool> {
    const SQL: &str = "update chunk set object = $3, bytes = $4, samples = $5, sample_index = $6
        where track_id = $1 and start_us = $2 and object = ''";
    const BYTES: &str = "update track set bytes = bytes + $2 where id = $1";
    let query = sqlx::query(SQL).bind(track.as_str()).bind(chunk.start.0).bind(&chunk.object).bind(chunk.bytes);
    let query = query.bind(chunk.samples).bind(&chunk.index);
    if query.execute(&mut *tx).await.or_broken()?.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(BYTES).bind(track.as_str()).bind(chunk.bytes).execute(tx).await.or_broken()?;
    Ok(true)
}
