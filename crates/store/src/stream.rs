//! Streams: what may be played by who knows the id.

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
    title: Option<String>,
}

impl StreamRow {
    fn into_model(self) -> Result<Stream> {
        let range = self.start_us.zip(self.end_us).and_then(|(s, e)| TimeRange::new(WallTime(s), WallTime(e)));
        let piece = match (self.rtstream_id, range, self.video_id) {
            (Some(id), Some(range), None) => Piece::RtStream { id: id.parse()?, range },
            (None, None, Some(id)) => Piece::Video { id: id.parse()? },
            _ => return Err(Error::internal(format!("stream {} is neither a range nor a video", self.id))),
        };
        Ok(Stream { id: self.id, owner: self.user_id.parse()?, piece, title: self.title })
    }
}

impl Store {
    pub async fn find_stream(&self, id: &str) -> Result<Option<Stream>> {
        const SQL: &str = "select * from stream where id = $1";
        let row: Option<StreamRow> = sqlx::query_as(SQL).bind(id).fetch_optional(&self.readers).await.or_broken()?;
        row.map(StreamRow::into_model).transpose()
    }
}

/// The same id is the same pieces: a second time, only the title may be new.
pub async fn insert(tx: &mut Tx, s: &Stream, now: WallTime) -> Result<()> {
    const SQL: &str = "insert into stream (id, user_id, rtstream_id, start_us, end_us, video_id, title, created_at_us)
        values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (id) do update set title = coalesce(excluded.title, stream.title)";
    let (rtstream, range, video) = match &s.piece {
        Piece::RtStream { id, range } => (Some(id.as_str()), Some(*range), None),
        Piece::Video { id } => (None, None, Some(id.as_str())),
    };
    let query = sqlx::query(SQL).bind(&s.id).bind(s.owner.as_str()).bind(rtstream);
    let query = query.bind(range.map(|r| r.start().0)).bind(range.map(|r| r.end().0)).bind(video);
    query.bind(s.title.as_deref()).bind(now.0).execute(tx).await.or_broken()?;
    Ok(())
}
