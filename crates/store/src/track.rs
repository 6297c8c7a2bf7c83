//! Tracks and their sealed chunks. The open end of a track is a journal file of `media`; here is only what is sealed.

use sqlx::FromRow;
use vitascope_model::capture::MediaKind;
use vitascope_model::error::Context;
use vitascope_model::id::{CaptureSessionId, RtStreamId, TrackId};
use vitascope_model::rtstream::{ChunkMedia, LivePlace, SealedChunk, Track, TrackRole};
use vitascope_model::{Error, Result, TimeRange, WallTime};

use crate::db::{OrBroken, unreadable};
use crate::{Store, Tx};

#[derive(FromRow)]
struct TrackRow {
    id: String,
    user_id: String,
    collection_id: Option<String>,
    rtstream_id: Option<String>,
    session_id: Option<String>,
    original_id: Option<String>,
    role: String,
    kind: String,
    open: bool,
    kept_from_us: Option<i64>,
}

impl TrackRow {
    fn into_model(self) -> Result<Track> {
        Ok(Track {
            id: self.id.parse()?,
            owner: self.user_id.parse()?,
            collection_id: self.collection_id.unwrap_or_default().parse()?,
            rtstream_id: self.rtstream_id.map(|id| id.parse()).transpose()?,
            session_id: self.session_id.map(|id| id.parse()).transpose()?,
            original_id: self.original_id.map(|id| id.parse()).transpose()?,
            role: TrackRole::parse(&self.role).ok_or_else(|| unreadable("track role", &self.role))?,
            kind: MediaKind::parse(&self.kind).ok_or_else(|| unreadable("media kind", &self.kind))?,
            open: self.open,
            kept_from: self.kept_from_us.map(WallTime),
        })
    }
}

#[derive(FromRow)]
struct ChunkRow {
    start_us: i64,
    end_us: i64,
    bytes: i64,
    samples: i64,
    object: String,
    sample_index: Vec<u8>,
    segments: i64,
    first_segment: i64,
    gaps: i64,
}

impl ChunkRow {
    fn into_model(self) -> SealedChunk {
        SealedChunk {
            start: WallTime(self.start_us),
            end: WallTime(self.end_us),
            bytes: self.bytes,
            samples: self.samples,
            object: self.object,
            index: self.sample_index,
            segments: self.segments,
            place: LivePlace { first_segment: self.first_segment, gaps: self.gaps },
        }
    }
}

/// Where a track begins and ends, and how much it is, as far as it is sealed.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct Extent {
    pub start_us: i64,
    pub end_us: i64,
    pub bytes: i64,
    pub samples: i64,
}

/// What is stored of an rtstream.
#[derive(Clone, Copy, Debug, Default, FromRow)]
pub struct Holding {
    pub bytes: i64,
    /// What was recorded before this moment was deleted.
    pub kept_from_us: Option<i64>,
    pub start_us: Option<i64>,
    pub end_us: Option<i64>,
}

impl Store {
    pub async fn get_track(&self, id: &TrackId) -> Result<Track> {
        const SQL: &str = "select * from track where id = $1";
        let row: Option<TrackRow> =
            sqlx::query_as(SQL).bind(id.as_str()).fetch_optional(&self.readers).await.or_broken()?;
        row.ok_or_else(|| Error::not_found(format_args!("track {id}")))?.into_model()
    }

    /// Those of a list that are there, in no order.
    pub async fn list_tracks(&self, ids: &[TrackId]) -> Result<Vec<Track>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = sqlx::QueryBuilder::new("select * from track where id in (");
        let mut list = query.separated(", ");
        ids.iter().for_each(|id| {
            list.push_bind(id.as_str());
        });
        query.push(")");
        let rows: Vec<TrackRow> = query.build_query_as().fetch_all(&self.readers).await.or_broken()?;
        rows.into_iter().map(TrackRow::into_model).collect()
    }

    pub async fn find_rtstream_track(&self, rtstream: &RtStreamId) -> Result<Option<Track>> {
        const SQL: &str = "select * from track where rtstream_id = $1";
        let read = async {
            let query = sqlx::query_as(SQL).bind(rtstream.as_str());
            let row: Option<TrackRow> = query.fetch_optional(&self.readers).await.or_broken()?;
            row.map(TrackRow::into_model).transpose()
        };
        self.shelves.rtstream_tracks.get(rtstream.clone(), read).await
    }

    pub async fn find_mix_track(&self, session: &CaptureSessionId) -> Result<Option<Track>> {
        const SQL: &str = "select * from track where session_id = $1 and role = 'mix'";
        let query = sqlx::query_as(SQL).bind(session.as_str());
        let row: Option<TrackRow> = query.fetch_optional(&self.readers).await.or_broken()?;
        row.map(TrackRow::into_model).transpose()
    }

    /// Tracks that still grow, or did when a server was killed.
    pub async fn list_open_tracks(&self) -> Result<Vec<Track>> {
        let rows: Vec<TrackRow> =
            sqlx::query_as("select * from track where open order by id").fetch_all(&self.readers).await.or_broken()?;
        rows.into_iter().map(TrackRow::into_model).collect()
    }

    /// The chunks that hold something of `range`, in order.
    pub async fn list_chunks(&self, track: &TrackId, range: TimeRange) -> Result<Vec<SealedChunk>> {
        const SQL: &str = "select start_us, end_us, bytes, samples, object, sample_index, segments, first_segment, gaps
            from chunk where track_id = $1 and end_us > $2 and start_us < $3 order by start_us";
        let query = sqlx::query_as(SQL).bind(track.as_str()).bind(range.start().0).bind(range.end().0);
        let rows: Vec<ChunkRow> = query.fetch_all(&self.readers).await.or_broken()?;
        Ok(rows.into_iter().map(ChunkRow::into_model).collect())
    }

    pub async fn find_chunk(&self, track: &TrackId, start: WallTime) -> Result<Option<SealedChunk>> {
        const SQL: &str = "select start_us, end_us, bytes, samples, object, sample_index, segments, first_segment, gaps
            from chunk where track_id = $1 and start_us = $2";
        let query = sqlx::query_as(SQL).bind(track.as_str()).bind(start.0);
        let row: Option<ChunkRow> = query.fetch_optional(&self.readers).await.or_broken()?;
        Ok(row.map(ChunkRow::into_model))
    }

    /// Of each range of a track, the chunks that hold something of it and the one before: its last picture is held until the next one
    /// comes. One question for all of them, since what a question costs is mostly the way to the database and back.
    pub async fn list_chunks_about(&self, ranges: &[(&TrackId, TimeRange)]) -> Result<Vec<Vec<ChunkMedia>>> {
        const SQL: &str = "with wanted as (
                select key as place, value ->> 0 as track_id, value ->> 1 as from_us, value ->> 2 as to_us from json_each($1))
            select place, start_us, end_us, object, sample_index
            from wanted cross join chunk c on c.track_id = wanted.track_id and start_us < to_us and start_us >= coalesce(
                (select max(start_us) from chunk where track_id = wanted.track_id and start_us <= from_us), from_us)
            order by place, start_us";
        let wanted: Vec<_> = ranges.iter().map(|(id, range)| (id.as_str(), range.start().0, range.end().0)).collect();
        let wanted = serde_json::to_string(&wanted).internal("ask for chunks")?;
        let rows: Vec<(i64, i64, i64, String, Vec<u8>)> =
            sqlx::query_as(SQL).bind(wanted).fetch_all(&self.readers).await.or_broken()?;
        let mut found = vec![Vec::new(); ranges.len()];
        for (place, start, end, object, index) in rows {
            found[place as usize].push(ChunkMedia { start: WallTime(start), end: WallTime(end), object, index });
        }
        Ok(found)
    }

    /// The last chunk that is sealed and begins before `start`.
    pub async fn last_chunk_before(&self, track: &TrackId, start: WallTime) -> Result<Option<SealedChunk>> {
        Ok(self.list_last_chunks(track, start, 1).await?.pop())
    }

    /// The last so many chunks that are sealed and begin before `start`, in order.
    pub async fn list_last_chunks(&self, track: &TrackId, start: WallTime, limit: i64) -> Result<Vec<SealedChunk>> {
        const SQL: &str = "select start_us, end_us, bytes, samples, object, sample_index, segments, first_segment, gaps
            from chunk where track_id = $1 and start_us < $2 order by start_us desc limit $3";
        let query = sqlx::query_as(SQL).bind(track.as_str()).bind(start.0).bind(limit);
        let rows: Vec<ChunkRow> = query.fetch_all(&self.readers).await.or_broken()?;
        Ok(rows.into_iter().rev().map(ChunkRow::into_model).collect())
    }

    /// The first so many sealed chunks that end after `moment`, in order.
    pub async fn list_next_chunks(&self, track: &TrackId, moment: WallTime, limit: i64) -> Result<Vec<SealedChunk>> {
        const SQL: &str = "select start_us, end_us, bytes, samples, object, sample_index, segments, first_segment, gaps
            from chunk where track_id = $1 and end_us > $2 order by start_us limit $3";
        let query = sqlx::query_as(SQL).bind(track.as_str()).bind(moment.0).bind(limit);
        let rows: Vec<ChunkRow> = query.fetch_all(&self.readers).await.or_broken()?;
        Ok(rows.into_iter().map(ChunkRow::into_model).collect())
    }

    /// How much an rtstream has on the disk, and from when to when; none if it never recorded.
    pub async fn find_holding(&self, rtstream: &RtStreamId) -> Result<Option<Holding>> {
        const SQL: &str = "select t.bytes, t.kept_from_us,
                (select c.start_us from chunk c where c.track_id = t.id order by c.start_us limit 1) as start_us,
                (select c.end_us from chunk c where c.track_id = t.id order by c.start_us desc limit 1) as end_us
            from track t where t.rtstream_id = $1";
        sqlx::query_as(SQL).bind(rtstream.as_str()).fetch_optional(&self.readers).await.or_broken()
    }

    pub async fn track_extent(&self, track: &TrackId) -> Result<Option<Extent>> {
        const SQL: &str = "select min(start_us) as start_us, max(end_us) as end_us, sum(bytes) as bytes,
            sum(samples) as samples from chunk
            where track_id = $1 group by track_id";
        let query = sqlx::query_as(SQL).bind(track.as_str());
        let read = async { query.fetch_optional(&self.readers).await.or_broken() };
        self.shelves.extents.get(track.clone(), read).await
    }
}

pub async fn insert(tx: &mut Tx, t: &Track) -> Result<()> {
    const SQL: &str =
        "insert into track (id, user_id, rtstream_id, session_id, role, kind, open, collection_id, original_id)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let query = sqlx::query(SQL).bind(t.id.as_str()).bind(t.owner.as_str());
    let query =
        query.bind(t.rtstream_id.as_ref().map(|id| id.as_str())).bind(t.session_id.as_ref().map(|id| id.as_str()));
    let query = query.bind(t.role.as_str()).bind(t.kind.as_str()).bind(t.open).bind(t.collection_id.as_str());
    let query = query.bind(t.original_id.as_ref().map(|id| id.as_str()));
    query.execute(tx).await.or_broken()?;
    Ok(())
}

pub async fn set_open(tx: &mut Tx, id: &TrackId, open: bool) -> Result<()> {
    sqlx::query("update track set open = $2 where id = $1")
        .bind(id.as_str())
        .bind(open)
        .execute(tx)
        .await
        .or_broken()?;
    Ok(())
}

/// Sealing the same chunk again (after a crash between file and row) changes nothing.
pub async fn insert_chunk(tx: &mut Tx, track: &TrackId, c: &SealedChunk) -> Result<()> {
    const SQL: &str = "insert into chunk
            (track_id, start_us, end_us, bytes, samples, object, sample_index, segments, first_segment, gaps)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict (track_id, start_us) do nothing";
    const BYTES: &str = "update track set bytes = bytes + $2 where id = $1";
    let query = sqlx::query(SQL).bind(track.as_str()).bind(c.start.0).bind(c.end.0).bind(c.bytes).bind(c.samples);
    let query = query.bind(&c.object).bind(&c.index).bind(c.segments).bind(c.place.first_segment).bind(c.place.gaps);
    if query.execute(&mut *tx).await.or_broken()?.rows_affected() == 1 {
        sqlx::query(BYTES).bind(track.as_str()).bind(c.bytes).execute(tx).await.or_broken()?;
    }
    Ok(())
}
