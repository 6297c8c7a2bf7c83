//! Takeouts: their rows, read with the state of the job that makes them, and the objects that they let go of.

use sqlx::FromRow;
use vitascope_model::account::Scope;
use vitascope_model::id::{CollectionId, JobId, TakeoutId};
use vitascope_model::job::JobState;
use vitascope_model::takeout::{MadeFile, Takeout, TakeoutKind};
use vitascope_model::{Error, Result, Span, WallTime};

use crate::db::{OrBroken, bound_to, unreadable};
use crate::{Store, Tx};

#[derive(FromRow)]
struct TakeoutRow {
    id: String,
    user_id: String,
    collection_id: Option<String>,
    kind: String,
    name: String,
    stream_id: Option<String>,
    job_id: String,
    object: Option<String>,
    bytes: Option<i64>,
    length_us: Option<i64>,
    has_picture: Option<bool>,
    created_at_us: i64,
    expires_at_us: i64,
    job_state: Option<String>,
    progress: Option<i64>,
    error: Option<String>,
}

impl TakeoutRow {
    fn into_model(self) -> Result<Takeout> {
        let made = match (self.object, self.bytes, self.length_us, self.has_picture) {
            (Some(object), Some(bytes), Some(length), Some(has_picture)) => {
                Some(MadeFile { object, bytes, length: Span(length), has_picture })
            }
            _ => None,
        };
        // A job that is not there any more makes nothing.
        let state = self.job_state.as_deref().unwrap_or(JobState::Failed.as_str());
        Ok(Takeout {
            id: self.id.parse()?,
            owner: self.user_id.parse()?,
            collection_id: self.collection_id.map(|id| id.parse()).transpose()?,
            kind: TakeoutKind::parse(&self.kind).ok_or_else(|| unreadable("kind of a takeout", &self.kind))?,
            name: self.name,
            stream_id: self.stream_id,
            job_id: self.job_id.parse()?,
            job_state: JobState::parse(state).ok_or_else(|| unreadable("job state", state))?,
            progress: self.progress.unwrap_or(0),
            error: self.error,
            made,
            created_at: WallTime(self.created_at_us),
            expires_at: WallTime(self.expires_at_us),
        })
    }
}

/// With the job beside it. `$rest` says which.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select t.*, j.state as job_state, j.progress, j.error from takeout t left join job j on j.id = t.job_id ",
            $rest
        )
    };
}

impl Store {
    pub async fn get_takeout(&self, scope: &Scope, id: &TakeoutId) -> Result<Takeout> {
        const SQL: &str = select!(
            "where t.id = $1 and t.user_id = $2 and ($3 is null or instr($3, ' ' || t.collection_id || ' ') > 0)"
        );
        let query = sqlx::query_as(SQL).bind(id.as_str()).bind(scope.user().as_str()).bind(bound_to(scope));
        let row: Option<TakeoutRow> = query.fetch_optional(&self.readers).await.or_broken()?;
        row.ok_or_else(|| Error::not_found(format_args!("download {id}")))?.into_model()
    }

    pub async fn find_takeout(&self, id: &TakeoutId) -> Result<Option<Takeout>> {
        const SQL: &str = select!("where t.id = $1");
        let row: Option<TakeoutRow> =
            sqlx::query_as(SQL).bind(id.as_str()).fetch_optional(&self.readers).await.or_broken()?;
        row.map(TakeoutRow::into_model).transpose()
    }

    /// What a job makes, if it makes one.
    pub async fn find_takeout_of(&self, scope: &Scope, job: &JobId) -> Result<Option<Takeout>> {
        const SQL: &str = select!(
            "where t.job_id = $1 and t.user_id = $2 and ($3 is null or instr($3, ' ' || t.collection_id || ' ') > 0)"
        );
        let query = sqlx::query_as(SQL).bind(job.as_str()).bind(scope.user().as_str()).bind(bound_to(scope));
        let row: Option<TakeoutRow> = query.fetch_optional(&self.readers).await.or_broken()?;
        row.map(TakeoutRow::into_model).transpose()
    }

    /// Newest first: `count` of them after the first `before`.
    pub async fn list_takeouts(
        &self,
        scope: &Scope,
        kind: TakeoutKind,
        before: i64,
        count: i64,
    ) -> Result<Vec<Takeout>> {
        const SQL: &str = select!(
            "where t.user_id = $1 and t.kind = $2 and ($3 is null or instr($3, ' ' || t.collection_id || ' ') > 0)
            order by t.id desc limit $5 offset $4"
        );
        let query = sqlx::query_as(SQL).bind(scope.user().as_str()).bind(kind.as_str()).bind(bound_to(scope));
        let rows: Vec<TakeoutRow> = query.bind(before).bind(count).fetch_all(&self.readers).await.or_broken()?;
        rows.into_iter().map(TakeoutRow::into_model).collect()
    }

    /// Those whose time is over, and the streams that others are made of.
    pub async fn list_ending_takeouts(&self, now: WallTime) -> Result<(Vec<TakeoutId>, Vec<(TakeoutId, String)>)> {
        const EXPIRED: &str = "select id from takeout where expires_at_us <= $1 order by id";
        const MADE_OF: &str = "select id, stream_id from takeout where stream_id is not null and expires_at_us > $1";
        let ids: Vec<String> = sqlx::query_scalar(EXPIRED).bind(now.0).fetch_all(&self.readers).await.or_broken()?;
        let made: Vec<(String, String)> =
            sqlx::query_as(MADE_OF).bind(now.0).fetch_all(&self.readers).await.or_broken()?;
        let expired = ids.into_iter().map(|id| id.parse()).collect::<Result<_>>()?;
        let streams = made.into_iter().map(|(id, stream)| Ok((id.parse()?, stream))).collect::<Result<_>>()?;
        Ok((expired, streams))
    }
}

pub async fn insert(tx: &mut Tx, t: &Takeout) -> Result<()> {
    const SQL: &str =
        "insert into takeout (id, user_id, collection_id, kind, name, stream_id, job_id, created_at_us, expires_at_us)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let query = sqlx::query(SQL).bind(t.id.as_str()).bind(t.owner.as_str());
    let query = query.bind(t.collection_id.as_ref().map(CollectionId::as_str)).bind(t.kind.as_str()).bind(&t.name);
    let query = query.bind(t.stream_id.as_deref()).bind(t.job_id.as_str()).bind(t.created_at.0).bind(t.expires_at.0);
    query.execute(tx).await.or_broken()?;
    Ok(())
}

/// Its file is there. Whether the takeout still is.
pub async fn finish(tx: &mut Tx, id: &TakeoutId, made: &MadeFile, expires_at: WallTime) -> Result<bool> {
    const SQL: &str = "update takeout set object = $2, bytes = $3, length_us = $4, has_picture = $5, expires_at_us = $6
        where id = $1";
    let query = sqlx::query(SQL).bind(id.as_str()).bind(&made.object).bind(made.bytes).bind(made.length.0);
    let done = query.bind(made.has_picture).bind(expires_at.0).execute(tx).await.or_broken()?;
    Ok(done.rows_affected() == 1)
}

/// Another job makes it now.
pub async fn set_job(tx: &mut Tx, id: &TakeoutId, job: &JobId, expires_at: WallTime) -> Result<()> {
    const SQL: &str = "update takeout set job_id = $2, expires_at_us = $3 where id = $1";
    sqlx::query(SQL).bind(id.as_str()).bind(job.as_str()).bind(expires_at.0).execute(tx).await.or_broken()?;
    Ok(())
}

/// The row goes now, its object after the grace; a job that has not begun does not begin.
pub async fn delete(tx: &mut Tx, id: &TakeoutId, now: WallTime) -> Result<()> {
    const KEEP: &str = "insert into dropped_object (object, track_id, bytes, dropped_at_us)
        select object, id, bytes, $2 from takeout where id = $1 and object is not null on conflict (object) do nothing";
    const JOB: &str = "delete from job where state = 'queued' and id = (select job_id from takeout where id = $1)";
    sqlx::query(KEEP).bind(id.as_str()).bind(now.0).execute(&mut *tx).await.or_broken()?;
    sqlx::query(JOB).bind(id.as_str()).execute(&mut *tx).await.or_broken()?;
    sqlx::query("delete from takeout where id = $1").bind(id.as_str()).execute(tx).await.or_broken()?;
    Ok(())
}
