//! Streams: what may be played by who knows the id. A row outlives what it plays, so that a deleted recording is told as such.

use sqlx::FromRow;
use vitascope_model::stream::{Piece, Stream};
use vitascope_model::{Error, Result, TimeRange, WallTime};

use crate::db::OrBroken;
use crate::{Store, Tx};

#[derive(FromRow)]
struct StreamRow {
    id: String,
    user_id: String,
    rtstream_id: Option<String>,
    start_us: Option<i64>,
    end_us: Option<i64>,
    video_id: Option<String>,
    audio_id: Option<String>,
    title: Option<String>,
    description: Option<String>,
    is_gone: bool,
}

impl StreamRow {
    fn into_model(self) -> Result<Stream> {
        let range = self.start_us.zip(self.end_us).and_then(|(s, e)| TimeRange::new(WallTime(s), WallTime(e)));
        let piece = match (self.rtstream_id, range, self.video_id, self.audio_id) {
            (Some(id), Some(range), None, None) => Piece::RtStream { id: id.parse()?, range },
            (Some(id), None, None, None) => Piece::Live { id: id.parse()? },
            (None, None, Some(id), None) => Piece::Video { id: id.parse()? },
            (None, None, None, Some(id)) => Piece::Audio { id: id.parse()? },
            _ => {
                return Err(Error::internal(format!(
                    "stream {} is none of a range, an rtstream and an asset",
                    self.id
                )));
            }
        };
        let Self { id, title, description, is_gone, .. } = self;
        Ok(Stream { id, owner: self.user_id.parse()?, piece, title, description, is_gone })
    }
}

impl Store {
    pub async fn find_stream(&self, id: &str) -> Result<Option<Stream>> {
        const SQL: &str = "select s.*, case
                when s.rtstream_id is not null then
                    not exists (select 1 from rtstream r where r.id = s.rtstream_id and r.deleted_at_us is null)
                when s.video_id is not null then not exists (select 1 from video v where v.id = s.video_id)
                else not exists (select 1 from audio a where a.id = s.audio_id) end as is_gone
            from stream s where s.id = $1";
        let row: Option<StreamRow> = sqlx::query_as(SQL).bind(id).fetch_optional(&self.readers).await.or_broken()?;
        row.map(StreamRow::into_model).transpose()
    }
}

/// Rtstreams of earlier releases that have no live stream yet.
pub async fn list_rtstreams_without(tx: &mut Tx) -> Result<Vec<(String, String, String)>> {
    const SQL: &str = "select id, user_id, name from rtstream r where not exists
        (select 1 from stream s where s.rtstream_id = r.id and s.start_us is null)";
    sqlx::query_as(SQL).fetch_all(tx).await.or_broken()
}

/// The same id is the same pieces: a second time, only the title and the description may be new.
pub async fn insert(tx: &mut Tx, s: &Stream, now: WallTime) -> Result<()> {
    const SQL: &str = "insert into stream
            (id, user_id, rtstream_id, start_us, end_us, video_id, audio_id, title, description, created_at_us)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict (id) do update set
            title = coalesce(excluded.title, stream.title),
            description = coalesce(excluded.description, stream.description)";
    let (mut rtstream, mut range, mut video, mut audio) = (None, None, None, None);
    match &s.piece {
        Piece::RtStream { id, range: wanted } => (rtstream, range) = (Some(id.as_str()), Some(*wanted)),
        Piece::Live { id } => rtstream = Some(id.as_str()),
        Piece::Video { id } => video = Some(id.as_str()),
        Piece::Audio { id } => audio = Some(id.as_str()),
    }
    let query = sqlx::query(SQL).bind(&s.id).bind(s.owner.as_str()).bind(rtstream);
    let query = query.bind(range.map(|r| r.start().0)).bind(range.map(|r| r.end().0)).bind(video).bind(audio);
    query.bind(s.title.as_deref()).bind(s.description.as_deref()).bind(now.0).execute(tx).await.or_broken()?;
    Ok(())
}
