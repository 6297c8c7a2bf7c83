//! Live indexes and their records. A record, how far the index has come with it, and its event are one commit, made by `app`:
//! whoever goes on after a crash finds all of it or nothing.

use sqlx::FromRow;
use vitascope_model::account::Scope;
use vitascope_model::id::{LiveIndexId, RtStreamId};
use vitascope_model::live_index::{Bookmark, IndexRecord, LiveIndex, LiveIndexState, Segmentation, Segmenter};
use vitascope_model::{Error, Result, TimeRange, WallTime};

use crate::db::{OrBroken, unreadable};
use crate::{Store, Tx};

#[derive(FromRow)]
struct IndexRow {
    id: String,
    rtstream_id: String,
    name: Option<String>,
    prompt: Option<String>,
    model_name: Option<String>,
    segmenter: String,
    segment_size: i64,
    state: String,
    ws_connection_id: Option<String>,
    from_us: i64,
    done_us: Option<i64>,
    done_words: Option<i64>,
    created_at_us: i64,
}

impl IndexRow {
    fn into_model(self) -> Result<LiveIndex> {
        let segmenter = Segmenter::parse(&self.segmenter).ok_or_else(|| unreadable("segmenter", &self.segmenter))?;
        let state = LiveIndexState::parse(&self.state).ok_or_else(|| unreadable("state of an index", &self.state))?;
        let done = self.done_us.map(|at| Bookmark {
            utterance: WallTime(at),
            words: self.done_words.and_then(|n| usize::try_from(n).ok()).unwrap_or_default(),
        });
        Ok(LiveIndex {
            id: self.id.parse()?,
            rtstream_id: self.rtstream_id.parse()?,
            name: self.name,
            prompt: self.prompt,
            model_name: self.model_name,
            segmentation: Segmentation { segmenter, size: self.segment_size },
            state,
            ws_connection_id: self.ws_connection_id.map(|id| id.parse()).transpose()?,
            from: WallTime(self.from_us),
            done,
            created_at: WallTime(self.created_at_us),
        })
    }
}

#[derive(FromRow)]
struct RecordRow {
    start_us: i64,
    end_us: i64,
    text: String,
    model: String,
    prompt_followed: bool,
    error: Option<String>,
}

impl RecordRow {
    fn into_model(self) -> IndexRecord {
        let RecordRow { start_us, end_us, text, model, prompt_followed, error } = self;
        IndexRecord { start: WallTime(start_us), end: WallTime(end_us), text, model, prompt_followed, error }
    }
}

impl Store {
    /// An index of this rtstream; of another one's it is not found.
    pub async fn get_live_index(&self, scope: &Scope, rtstream: &RtStreamId, id: &LiveIndexId) -> Result<LiveIndex> {
        self.get_rtstream(scope, rtstream).await?;
        let found = self.find_live_index(id).await?.filter(|i| i.rtstream_id == *rtstream);
        found.ok_or_else(|| Error::not_found(format_args!("index {id}")))
    }

    pub async fn find_live_index(&self, id: &LiveIndexId) -> Result<Option<LiveIndex>> {
        const SQL: &str = "select * from live_index where id = $1";
        let row: Option<IndexRow> =
            sqlx::query_as(SQL).bind(id.as_str()).fetch_optional(&self.readers).await.or_broken()?;
        row.map(IndexRow::into_model).transpose()
    }

    /// Oldest first.
    pub async fn list_live_indexes(&self, scope: &Scope, rtstream: &RtStreamId) -> Result<Vec<LiveIndex>> {
        const SQL: &str = "select * from live_index where rtstream_id = $1 order by created_at_us, id";
        self.get_rtstream(scope, rtstream).await?;
        let rows: Vec<IndexRow> =
            sqlx::query_as(SQL).bind(rtstream.as_str()).fetch_all(&self.readers).await.or_broken()?;
        rows.into_iter().map(IndexRow::into_model).collect()
    }

    /// Those that have words to come, or a last window to be written.
    pub async fn unsettled_live_indexes(&self) -> Result<Vec<LiveIndex>> {
        const SQL: &str = "select * from live_index where not is_settled";
        let rows: Vec<IndexRow> = sqlx::query_as(SQL).fetch_all(&self.readers).await.or_broken()?;
        rows.into_iter().map(IndexRow::into_model).collect()
    }

    /// Page `page` (from 1) of the windows that touch `range`, and how many there are in all.
    pub async fn list_index_records(
        &self,
        id: &LiveIndexId,
        range: TimeRange,
        page: i64,
        page_size: i64,
    ) -> Result<(Vec<IndexRecord>, i64)> {
        const COUNT: &str =
            "select count(*) from live_index_record where index_id = $1 and end_us > $2 and start_us < $3";
        const LIST: &str = "select * from live_index_record where index_id = $1 and end_us > $2 and start_us < $3
            order by position limit $4 offset $5";
        let (from, to) = (range.start().0, range.end().0);
        let query = sqlx::query_scalar(COUNT).bind(id.as_str()).bind(from).bind(to);
        let count: i64 = query.fetch_one(&self.readers).await.or_broken()?;
        let query = sqlx::query_as(LIST).bind(id.as_str()).bind(from).bind(to);
        let query = query.bind(page_size).bind((page - 1).saturating_mul(page_size));
        let rows: Vec<RecordRow> = query.fetch_all(&self.readers).await.or_broken()?;
        Ok((rows.into_iter().map(RecordRow::into_model).collect(), count))
    }
}

pub async fn insert(tx: &mut Tx, i: &LiveIndex) -> Result<()> {
    const SQL: &str = "insert into live_index (id, rtstream_id, name, prompt, model_name, segmenter, segment_size, state,
        is_settled, ws_connection_id, from_us, created_at_us) values ($1, $2, $3, $4, $5, $6, $7, $8, false, $9, $10, $11)";
    let query = sqlx::query(SQL).bind(i.id.as_str()).bind(i.rtstream_id.as_str()).bind(&i.name).bind(&i.prompt);
    let query = query.bind(&i.model_name).bind(i.segmentation.segmenter.as_str()).bind(i.segmentation.size);
    let query = query.bind(i.state.as_str()).bind(i.ws_connection_id.as_ref().map(|c| c.as_str()));
    query.bind(i.from.0).bind(i.created_at.0).execute(tx).await.or_broken()?;
    Ok(())
}

/// Running again: what is said from `from` on is its own.
pub async fn start(tx: &mut Tx, id: &LiveIndexId, from: WallTime) -> Result<()> {
    const SQL: &str = "update live_index set state = 'running', is_settled = false, from_us = $2
        where id = $1 and state = 'stopped'";
    sqlx::query(SQL).bind(id.as_str()).bind(from.0).execute(tx).await.or_broken()?;
    Ok(())
}

/// Stopped, with its last window still to be written.
pub async fn stop(tx: &mut Tx, id: &LiveIndexId) -> Result<()> {
    const SQL: &str = "update live_index set state = 'stopped' where id = $1 and state = 'running'";
    sqlx::query(SQL).bind(id.as_str()).execute(tx).await.or_broken()?;
    Ok(())
}

/// The same for all of an rtstream.
pub async fn stop_all(tx: &mut Tx, rtstream: &RtStreamId) -> Result<()> {
    const SQL: &str = "update live_index set state = 'stopped' where rtstream_id = $1 and state = 'running'";
    sqlx::query(SQL).bind(rtstream.as_str()).execute(tx).await.or_broken()?;
    Ok(())
}

/// Everything is written. False if there may be more: it was started again meanwhile.
pub async fn settle(tx: &mut Tx, id: &LiveIndexId) -> Result<bool> {
    const SQL: &str = "update live_index set state = 'stopped', is_settled = true where id = $1 and (state = 'stopped'
        or exists (select 1 from rtstream r where r.id = rtstream_id and r.state = 'stopped'))";
    let done = sqlx::query(SQL).bind(id.as_str()).execute(tx).await.or_broken()?;
    Ok(done.rows_affected() > 0)
}

pub async fn set_prompt(tx: &mut Tx, id: &LiveIndexId, prompt: &str) -> Result<()> {
    const SQL: &str = "update live_index set prompt = $2 where id = $1";
    sqlx::query(SQL).bind(id.as_str()).bind(prompt).execute(tx).await.or_broken()?;
    Ok(())
}

/// The next record, and how far the index has come with it. False if the index is gone.
pub async fn append(tx: &mut Tx, id: &LiveIndexId, r: &IndexRecord, done: Bookmark) -> Result<bool> {
    const DONE: &str = "update live_index set done_us = $2, done_words = $3 where id = $1";
    const RECORD: &str = "insert into live_index_record
        (index_id, position, start_us, end_us, text, model, prompt_followed, error)
        select $1, coalesce(max(position), 0) + 1, $2, $3, $4, $5, $6, $7 from live_index_record where index_id = $1";
    let words = i64::try_from(done.words).unwrap_or(i64::MAX);
    let query = sqlx::query(DONE).bind(id.as_str()).bind(done.utterance.0).bind(words);
    if query.execute(&mut *tx).await.or_broken()?.rows_affected() == 0 {
        return Ok(false);
    }
    let query = sqlx::query(RECORD).bind(id.as_str()).bind(r.start.0).bind(r.end.0).bind(&r.text).bind(&r.model);
    query.bind(r.prompt_followed).bind(&r.error).execute(tx).await.or_broken()?;
    Ok(true)
}

pub async fn count(tx: &mut Tx, rtstream: &RtStreamId) -> Result<i64> {
    const SQL: &str = "select count(*) from live_index where rtstream_id = $1";
    sqlx::query_scalar(SQL).bind(rtstream.as_str()).fetch_one(tx).await.or_broken()
}
