//! Durable background work: a small loop that claims due jobs, runs them, and writes down how they ended.
//! One file per kind of work; a job is idempotent, since after a crash it runs again.

pub mod export_session;
pub mod sweeper;
mod upkeep;

use std::time::Duration;

use vitascope_model::job::{Job, JobError};
use vitascope_model::{Error, Result, Span};
use vitascope_store::job;

use crate::app::App;

pub use upkeep::run as run_upkeep;

/// A job that runs longer than this without ending is taken to be lost.
const LEASE: Span = Span::seconds(600);
const TRIES: i64 = 5;
/// However quiet it is, look again after so long.
const IDLE: Duration = Duration::from_secs(60);

/// Runs until shutdown. What is running then is finished first.
pub async fn run(app: App) {
    let now = app.now();
    let released = app.store.write(move |tx| Box::pin(async move { job::release_all(tx, now).await })).await;
    if let Err(error) = released {
        tracing::error!(%error, "jobs of an earlier process could not be released");
    }
    while !app.shutdown.is_cancelled() {
        let wait = match run_next(&app).await {
            Ok(true) => continue,
            Ok(false) => until_next(&app).await,
            Err(error) => {
                tracing::error!(%error, "the job queue failed");
                IDLE
            }
        };
        tokio::select! {
            () = app.job_bell.notified() => {}
            () = tokio::time::sleep(wait) => {}
            () = app.shutdown.cancelled() => {}
        }
    }
}

async fn until_next(app: &App) -> Duration {
    let due = app.store.next_job_due().await.ok().flatten();
    due.map_or(IDLE, |at| (at - app.now()).to_duration()).clamp(Duration::from_millis(10), IDLE)
}

/// Whether there was one.
async fn run_next(app: &App) -> Result<bool> {
    let now = app.now();
    let Some(job) = app.store.write(move |tx| Box::pin(async move { job::claim(tx, now, LEASE).await })).await? else {
        return Ok(false);
    };
    let began = app.now();
    let outcome = dispatch(app, &job).await;
    let (id, now) = (job.id.clone(), app.now());
    tracing::info!(job.id = %job.id, job.kind, attempt = job.attempt, duration_ms = (now - began).0 / 1000, ok = outcome.is_ok(), "job ran");
    app.store
        .write(move |tx| {
            Box::pin(async move {
                match outcome {
                    Ok(reply) => job::finish(tx, &id, Ok(&reply), now).await,
                    Err(JobError::Retry(error)) if job.attempt < TRIES => {
                        let wait = Span::seconds(1 << job.attempt.clamp(0, 10));
                        job::retry_at(tx, &id, now + wait, &error.to_string()).await
                    }
                    Err(JobError::Retry(error) | JobError::Fail(error)) => {
                        job::finish(tx, &id, Err(&error.to_string()), now).await
                    }
                }
            })
        })
        .await?;
    app.job_done.notify_waiters();
    Ok(true)
}

/// The reply of a job is the JSON that the call which made it would have returned.
async fn dispatch(app: &App, job: &Job) -> std::result::Result<String, JobError> {
    match job.kind.as_str() {
        export_session::KIND => export_session::run(app, job).await,
        other => Err(JobError::Fail(Error::internal(format!("no such kind of job: {other}")))),
    }
}
