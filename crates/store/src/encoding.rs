//! Tracks that are encoded from an original: how each is made, and which of its chunks are still promised. A promised chunk has no
//! object; whoever encodes it first fills it, and nobody changes it again. What a recipe says is `media`'s business.

use vitascope_model::id::TrackId;
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
