//! A look at everything that is stored, for who checks it: rows and objects side by side, read only, beside a running server or without one.
//! What it means that something is missing is the caller's business.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{FromRow, SqlitePool};
use vitascope_model::error::Context;
use vitascope_model::{Result, WallTime};

use crate::Objects;
use crate::db::OrBroken;

pub struct Audit(SqlitePool);

/// A sealed chunk as its row has it.
#[derive(Clone, Debug, FromRow)]
pub struct AuditChunk {
    pub track_id: String,
    pub start_us: i64,
    pub end_us: i64,
    pub bytes: i64,
    pub samples: i64,
    pub object: String,
    pub sample_index: Vec<u8>,
}

/// An object as the disk has it.
#[derive(Clone, Debug)]
pub struct StoredObject {
    pub key: String,
    pub bytes: u64,
    pub written: WallTime,
}

/// Rows whose object is a file of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Image,
    Original,
    Takeout,
}

impl Family {
    pub const ALL: [Family; 3] = [Family::Image, Family::Original, Family::Takeout];

    pub fn as_str(self) -> &'static str {
        match self {
            Family::Image => "image",
            Family::Original => "original",
            Family::Takeout => "download",
        }
    }
}

impl Audit {
    /// Opens a database that must be there.
    pub async fn open(file: &Path) -> Result<Audit> {
        let options = SqliteConnectOptions::new().filename(file).read_only(true).busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options);
        Ok(Audit(pool.await.internal(format_args!("open the database {}", file.display()))?))
    }

    /// What the database says of its own file; nothing if it is whole.
    pub async fn broken_pages(&self) -> Result<Vec<String>> {
        let said: Vec<String> = sqlx::query_scalar("pragma quick_check").fetch_all(&self.0).await.or_broken()?;
        Ok(said.into_iter().filter(|line| line != "ok").collect())
    }

    /// The chunks after one, in the order of track and start; `("", 0)` is before all of them.
    pub async fn list_chunks(&self, after: (&str, i64), limit: i64) -> Result<Vec<AuditChunk>> {
        const SQL: &str = "select track_id, start_us, end_us, bytes, samples, object, sample_index from chunk
            where (track_id, start_us) > ($1, $2) order by track_id, start_us limit $3";
        sqlx::query_as(SQL).bind(after.0).bind(after.1).bind(limit).fetch_all(&self.0).await.or_broken()
    }

    /// Whether a chunk is still there: somebody may have deleted it since it was listed.
    pub async fn has_chunk(&self, track: &str, start_us: i64) -> Result<bool> {
        const SQL: &str = "select count(*) from chunk where track_id = $1 and start_us = $2";
        let count: i64 = sqlx::query_scalar(SQL).bind(track).bind(start_us).fetch_one(&self.0).await.or_broken()?;
        Ok(count > 0)
    }

    /// Every track, with whether it still grows.
    pub async fn list_tracks(&self) -> Result<Vec<(String, bool)>> {
        sqlx::query_as("select id, open from track order by id").fetch_all(&self.0).await.or_broken()
    }

    /// Videos and audios of which a part has nothing recorded, with the part's track.
    pub async fn list_empty_parts(&self) -> Result<Vec<(String, String)>> {
        const SQL: &str = "select id, track_id from (
                select video_id as id, track_id, start_us, end_us from video_part
                union all select audio_id, track_id, start_us, end_us from audio_part) p
            where not exists (select 1 from chunk c
            where c.track_id = p.track_id and c.end_us > p.start_us and c.start_us < p.end_us) order by id";
        sqlx::query_as(SQL).fetch_all(&self.0).await.or_broken()
    }

    /// Rows that speak of a row which is not there: table, what it speaks of, and how many.
    pub async fn list_orphan_rows(&self) -> Result<Vec<(String, String, i64)>> {
        const SQL: &str =
            "select \"table\", parent, count(*) from pragma_foreign_key_check group by 1, 2 order by 1, 2";
        sqlx::query_as(SQL).fetch_all(&self.0).await.or_broken()
    }

    /// Tracks whose row says another size than their chunks have: id, what it says, what they have.
    pub async fn list_miscounted_tracks(&self) -> Result<Vec<(String, i64, i64)>> {
        const SQL: &str = "select id, bytes, counted from (select t.id, t.bytes,
                (select coalesce(sum(c.bytes), 0) from chunk c where c.track_id = t.id) as counted from track t)
            where bytes <> counted order by id";
        sqlx::query_as(SQL).fetch_all(&self.0).await.or_broken()
    }

    /// The rows of a family, with their objects and how many bytes these have.
    pub async fn list_files(&self, family: Family) -> Result<Vec<(String, String, i64)>> {
        let sql = match family {
            Family::Image => "select id, object, bytes from image order by id",
            Family::Original => "select id, object, bytes from original where dropped_at_us is null order by id",
            Family::Takeout => "select id, object, bytes from takeout where object is not null order by id",
        };
        sqlx::query_as(sql).fetch_all(&self.0).await.or_broken()
    }

    /// Whether such a row is still there: somebody may have deleted it since it was listed.
    pub async fn has_file(&self, family: Family, id: &str) -> Result<bool> {
        let sql = match family {
            Family::Image => "select count(*) from image where id = $1",
            Family::Original => "select count(*) from original where id = $1 and dropped_at_us is null",
            Family::Takeout => "select count(*) from takeout where id = $1",
        };
        let count: i64 = sqlx::query_scalar(sql).bind(id).fetch_one(&self.0).await.or_broken()?;
        Ok(count > 0)
    }

    /// Objects that were deleted and wait for the sweeper: how many, and their bytes.
    pub async fn waiting_objects(&self) -> Result<(i64, i64)> {
        const SQL: &str = "select count(*), coalesce(sum(bytes), 0) from dropped_object";
        sqlx::query_as(SQL).fetch_one(&self.0).await.or_broken()
    }

    /// Keys of all objects that rows speak of, and of those that the sweeper has yet to take.
    pub async fn known_objects(&self) -> Result<HashSet<String>> {
        const SQL: &str =
            "select object from chunk union all select object from image union all select object from dropped_object
            union all select object from original where dropped_at_us is null
            union all select object from takeout where object is not null";
        let keys: Vec<String> = sqlx::query_scalar(SQL).fetch_all(&self.0).await.or_broken()?;
        Ok(keys.into_iter().collect())
    }
}

impl Objects {
    /// Every object there is.
    pub async fn list(&self) -> Result<Vec<StoredObject>> {
        let stored = |o: object_store::ObjectMeta| StoredObject {
            key: o.location.to_string(),
            bytes: o.size,
            written: WallTime(o.last_modified.timestamp_micros()),
        };
        Ok(self.list_all().await?.into_iter().map(stored).collect())
    }
}
