//! The queue of durable work: claimed under a lease, tried again with back-off, its final reply kept.

use sqlx::FromRow;
use vitascope_model::account::Scope;
use vitascope_model::id::{CollectionId, JobId, UserId};
use vitascope_model::job::{Job, JobState};
use vitascope_model::{Error, Result, Span, WallTime};

use crate::db::{OrBroken, bound_to, unreadable};
use crate::{Store, Tx};

#[derive(FromRow)]
struct JobRow {
    id: String,
    user_id: String,
    kind: String,
    payload: String,
    state: String,
    attempt: i64,
    progress: i64,
    reply: Option<String>,
    error: Option<String>,
    callback_url: Option<String>,
    created_at_us: i64,
}

impl JobRow {
    fn into_model(self) -> Result<Job> {
        Ok(Job {
            id: self.id.parse()?,
            owner: self.user_id.parse()?,
            kind: self.kind,
            payload: self.payload,
            state: JobState::parse(&self.state).ok_or_else(|| unreadable("job state", &self.state))?,
            attempt: self.attempt,
            progress: self.progress,
            reply: self.reply,
            error: self.error,
            callback_url: self.callback_url,
            created_at: WallTime(self.created_at_us),
        })
    }
}

impl Store {
    pub async fn get_job(&self, scope: &Scope, id: &JobId) -> Result<Job> {
        const SQL: &str = "select * from job where id = $1 and user_id = $2
            and ($3 is null or instr($3, ' ' || collection_id || ' ') > 0)";
        let query = sqlx::query_as(SQL).bind(id.as_str()).bind(scope.user().as_str()).bind(bound_to(scope));
        let row: Option<JobRow> = query.fetch_optional(&self.readers).await.or_broken()?;
        row.ok_or_else(|| Error::not_found(format_args!("job {id}")))?.into_model()
    }

    /// How a job stands; none if it is not kept any more.
    pub async fn find_job_state(&self, id: &JobId) -> Result<Option<JobState>> {
        const SQL: &str = "select state from job where id = $1";
        let query = sqlx::query_scalar(SQL).bind(id.as_str());
        let state: Option<String> = query.fetch_optional(&self.readers).await.or_broken()?;
        state.map(|s| JobState::parse(&s).ok_or_else(|| unreadable("job state", &s))).transpose()
    }

    /// How a job stands, how far it is in percent, and why it failed if it did.
    pub async fn find_job_end(&self, id: &JobId) -> Result<Option<(JobState, i64, Option<String>)>> {
        const SQL: &str = "select state, progress, error from job where id = $1";
        let query = sqlx::query_as(SQL).bind(id.as_str());
        let row: Option<(String, i64, Option<String>)> = query.fetch_optional(&self.readers).await.or_broken()?;
        let Some((state, progress, error)) = row else { return Ok(None) };
        Ok(Some((JobState::parse(&state).ok_or_else(|| unreadable("job state", &state))?, progress, error)))
    }

    /// When the next job of these kinds is due, if one waits.
    pub async fn next_job_due(&self, kinds: &[&str]) -> Result<Option<WallTime>> {
        const SQL: &str = "select min(case when state = 'queued' then run_at_us else leased_until_us end) from job
            where state in ('queued', 'running') and instr($1, ' ' || kind || ' ') > 0";
        let query = sqlx::query_scalar(SQL).bind(words(kinds));
        let due: Option<i64> = query.fetch_one(&self.readers).await.or_broken()?;
        Ok(due.map(WallTime))
    }
}

/// What a new job is.
#[derive(Debug)]
pub struct NewJob {
    pub id: JobId,
    pub owner: UserId,
    /// Where its thing lies; what belongs to the whole account is hidden from keys that are bound to collections.
    pub collection_id: Option<CollectionId>,
    pub kind: &'static str,
    pub payload: String,
    pub dedupe_key: Option<String>,
    /// Who is to be told when it has ended.
    pub callback_url: Option<String>,
}

/// The same dedupe key again is the same work: nothing is added.
pub async fn enqueue(tx: &mut Tx, job: &NewJob, now: WallTime) -> Result<()> {
    const SQL: &str =
        "insert into job (id, user_id, kind, payload, dedupe_key, state, attempt, progress, run_at_us, created_at_us, collection_id,
            callback_url)
        values ($1, $2, $3, $4, $5, 'queued', 0, 0, $6, $6, $7, $8) on conflict (dedupe_key) do nothing";
    let query = sqlx::query(SQL).bind(job.id.as_str()).bind(job.owner.as_str()).bind(job.kind).bind(&job.payload);
    let query = query.bind(job.dedupe_key.as_deref()).bind(now.0);
    let query = query.bind(job.collection_id.as_ref().map(CollectionId::as_str));
    query.bind(job.callback_url.as_deref()).execute(tx).await.or_broken()?;
    Ok(())
}

/// Kinds as one text, to look for one of them in it.
fn words(kinds: &[&str]) -> String {
    format!(" {} ", kinds.join(" "))
}

/// Takes the job of these kinds that is due the longest, for as long as `lease`; a job whose lease ran out is due again.
pub async fn claim(tx: &mut Tx, kinds: &[&str], now: WallTime, lease: Span) -> Result<Option<Job>> {
    const SQL: &str = "update job set state = 'running', attempt = attempt + 1, leased_until_us = $2 where id = (
            select id from job where instr($3, ' ' || kind || ' ') > 0
            and ((state = 'queued' and run_at_us <= $1) or (state = 'running' and leased_until_us < $1)) order by run_at_us limit 1)
        returning *";
    let query = sqlx::query_as(SQL).bind(now.0).bind((now + lease).0).bind(words(kinds));
    let row: Option<JobRow> = query.fetch_optional(tx).await.or_broken()?;
    row.map(JobRow::into_model).transpose()
}

pub async fn finish(tx: &mut Tx, id: &JobId, outcome: std::result::Result<&str, &str>, now: WallTime) -> Result<()> {
    const SQL: &str = "update job set state = $2, reply = $3, error = $4, progress = case when $2 = 'done' then 100 else progress end,
        leased_until_us = null, finished_at_us = $5 where id = $1";
    let state = if outcome.is_ok() { JobState::Done } else { JobState::Failed };
    let query = sqlx::query(SQL).bind(id.as_str()).bind(state.as_str()).bind(outcome.ok()).bind(outcome.err());
    query.bind(now.0).execute(tx).await.or_broken()?;
    Ok(())
}

/// What the job will answer is decided; if it is broken off now and run again, it finds that.
pub async fn set_reply(tx: &mut Tx, id: &JobId, reply: &str) -> Result<()> {
    sqlx::query("update job set reply = $2 where id = $1")
        .bind(id.as_str())
        .bind(reply)
        .execute(tx)
        .await
        .or_broken()?;
    Ok(())
}

/// How far a running job is, from 0 to 100.
pub async fn set_progress(tx: &mut Tx, id: &JobId, percent: i64) -> Result<()> {
    const SQL: &str = "update job set progress = $2 where id = $1 and state = 'running'";
    sqlx::query(SQL).bind(id.as_str()).bind(percent).execute(tx).await.or_broken()?;
    Ok(())
}

/// It is still being run.
pub async fn renew(tx: &mut Tx, id: &JobId, until: WallTime) -> Result<()> {
    const SQL: &str = "update job set leased_until_us = $2 where id = $1 and state = 'running'";
    sqlx::query(SQL).bind(id.as_str()).bind(until.0).execute(tx).await.or_broken()?;
    Ok(())
}

pub async fn retry_at(tx: &mut Tx, id: &JobId, at: WallTime, error: &str) -> Result<()> {
    const SQL: &str =
        "update job set state = 'queued', run_at_us = $2, error = $3, leased_until_us = null where id = $1";
    sqlx::query(SQL).bind(id.as_str()).bind(at.0).bind(error).execute(tx).await.or_broken()?;
    Ok(())
}

/// At start: nobody runs what an earlier process had claimed.
pub async fn release_all(tx: &mut Tx, now: WallTime) -> Result<()> {
    const SQL: &str = "update job set state = 'queued', run_at_us = $1, leased_until_us = null where state = 'running'";
    sqlx::query(SQL).bind(now.0).execute(tx).await.or_broken()?;
    Ok(())
}
