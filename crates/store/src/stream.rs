//! Streams: what may be played by who knows the id. A row outlives what it plays, so that a deleted recording is told as such.

use sqlx::FromRow;
use vitascope_model::stream::{Piece, SpanOf, Stream, StreamSpan};
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

#[derive(FromRow)]
struct SpanRow {
    video_id: Option<String>,
    audio_id: Option<String>,
    rtstream_id: Option<String>,
    start_us: i64,
    end_us: i64,
}

impl SpanRow {
    fn into_model(self) -> Result<StreamSpan> {
        let wrong = || Error::internal("a span is of nothing, or empty");
        let of = match (self.video_id, self.audio_id, self.rtstream_id) {
            (Some(id), None, None) => SpanOf::Video(id.parse()?),
            (None, Some(id), None) => SpanOf::Audio(id.parse()?),
            (None, None, Some(id)) => SpanOf::RtStream(id.parse()?),
            _ => return Err(wrong()),
        };
        let range = TimeRange::new(WallTime(self.start_us), WallTime(self.end_us)).ok_or_else(wrong)?;
        Ok(StreamSpan { of, range })
    }
}

impl StreamRow {
    fn into_model(self, spans: Vec<StreamSpan>) -> Result<Stream> {
        let range = self.start_us.zip(self.end_us).and_then(|(s, e)| TimeRange::new(WallTime(s), WallTime(e)));
        let piece = match (self.rtstream_id, range, self.video_id, self.audio_id) {
            (Some(id), Some(range), None, None) => Piece::RtStream { id: id.parse()?, range },
            (Some(id), None, None, None) => Piece::Live { id: id.parse()? },
            (None, None, Some(id), None) => Piece::Video { id: id.parse()? },
            (None, None, None, Some(id)) => Piece::Audio { id: id.parse()? },
            (None, None, None, None) if !spans.is_empty() => Piece::Spans(spans.into()),
            _ => {
                return Err(Error::internal(format!(
                    "stream {} is none of a range, an rtstream, an asset and a list",
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
        self.shelves.streams.get(id.to_owned(), self.read_stream(id)).await
    }

    async fn read_stream(&self, id: &str) -> Result<Option<Stream>> {
        const SQL: &str = "select s.*, case
                when s.rtstream_id is not null then
                    not exists (select 1 from rtstream r where r.id = s.rtstream_id and r.deleted_at_us is null)
                when s.video_id is not null then not exists (select 1 from video v where v.id = s.video_id)
                when s.audio_id is not null then not exists (select 1 from audio a where a.id = s.audio_id)
                else exists (select 1 from stream_span p where p.stream_id = s.id and (
                    (p.video_id is not null and not exists (select 1 from video v where v.id = p.video_id))
                    or (p.audio_id is not null and not exists (select 1 from audio a where a.id = p.audio_id))
                    or (p.rtstream_id is not null and not exists
                        (select 1 from rtstream r where r.id = p.rtstream_id and r.deleted_at_us is null)))) end as is_gone
            from stream s where s.id = $1";
        const SPANS: &str = "select video_id, audio_id, rtstream_id, start_us, end_us from stream_span
            where stream_id = $1 order by position";
        let row: Option<StreamRow> = sqlx::query_as(SQL).bind(id).fetch_optional(&self.readers).await.or_broken()?;
        let Some(row) = row else { return Ok(None) };
        let is_list = row.rtstream_id.is_none() && row.video_id.is_none() && row.audio_id.is_none();
        let spans: Vec<SpanRow> = match is_list {
            true => sqlx::query_as(SPANS).bind(id).fetch_all(&self.readers).await.or_broken()?,
            false => Vec::new(),
        };
        row.into_model(spans.into_iter().map(SpanRow::into_model).collect::<Result<_>>()?).map(Some)
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
        Piece::Spans(_) => {}
    }
    let query = sqlx::query(SQL).bind(&s.id).bind(s.owner.as_str()).bind(rtstream);
    let query = query.bind(range.map(|r| r.start().0)).bind(range.map(|r| r.end().0)).bind(video).bind(audio);
    query.bind(s.title.as_deref()).bind(s.description.as_deref()).bind(now.0).execute(&mut *tx).await.or_broken()?;
    if let Piece::Spans(spans) = &s.piece {
        insert_spans(tx, &s.id, spans).await?;
    }
    Ok(())
}

/// Rows of one statement: far below what SQLite takes.
const AT_ONCE: usize = 500;

/// The same id is the same list: if it is there, it is there whole.
async fn insert_spans(tx: &mut Tx, stream_id: &str, spans: &[StreamSpan]) -> Result<()> {
    const KNOWN: &str = "select count(*) from stream_span where stream_id = $1";
    let known: i64 = sqlx::query_scalar(KNOWN).bind(stream_id).fetch_one(&mut *tx).await.or_broken()?;
    if known > 0 {
        return Ok(());
    }
    let numbered: Vec<(i64, &StreamSpan)> = (0..).zip(spans).collect();
    for some in numbered.chunks(AT_ONCE) {
        let mut query = sqlx::QueryBuilder::new(
            "insert into stream_span (stream_id, position, video_id, audio_id, rtstream_id, start_us, end_us) ",
        );
        query.push_values(some, |mut row, (position, span)| {
            let (mut video, mut audio, mut rtstream) = (None, None, None);
            match &span.of {
                SpanOf::Video(id) => video = Some(id.as_str()),
                SpanOf::Audio(id) => audio = Some(id.as_str()),
                SpanOf::RtStream(id) => rtstream = Some(id.as_str()),
            }
            row.push_bind(stream_id).push_bind(*position).push_bind(video).push_bind(audio).push_bind(rtstream);
            row.push_bind(span.range.start().0).push_bind(span.range.end().0);
        });
        query.build().execute(&mut *tx).await.or_broken()?;
    }
    Ok(())
}
