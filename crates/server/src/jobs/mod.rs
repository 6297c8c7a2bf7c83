//! Durable background work: loops that claim due jobs, run them, and write down how they ended. One file per kind of work; a job is
//! idempotent, since after a crash it runs again. Each kind runs in a lane of its own pace, so that what takes hours holds up nothing
//! that takes milliseconds; a running job's lease is renewed until it ends.

pub mod encode;
pub mod export_session;
pub mod generate_text;
pub mod index_spoken_words;
pub mod ingest;
pub mod make_download;
pub mod sender;
pub mod sweeper;
pub mod transcode;
pub mod transcribe;
mod upkeep;

use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use vitascope_model::event::{Event, Webhook};
use vitascope_model::id::{EventId, JobId};
use vitascope_model::job::{Job, JobError, JobState};
use vitascope_model::{Error, ErrorKind, Result, Span};
use vitascope_store::{job, outbox};

use crate::app::{self, App, mint};
use crate::views;

pub use upkeep::run as run_upkeep;

/// A running job whose lease was not renewed for so long is taken to be lost.
const LEASE: Span = Span::seconds(60);
const RENEW_EACH: Duration = Duration::from_secs(20);
pub const TRIES: i64 = 5;
/// However quiet it is, look again after so long.
const IDLE: Duration = Duration::from_secs(60);

/// Jobs of similar length. Those of one lane wait for each other, those of different lanes never do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Milliseconds.
    Quick,
    /// What a client waits for, and which mostly takes seconds: an upload that becomes an asset.
    Awaited,
    /// Encoding: as long as the media, or longer.
    Long,
    /// Hearing and seeing: a fraction of the media, of which models take most.
    Analysis,
    /// Making records of what was heard and seen. It waits for the lane before it.
    Index,
    /// Files to be taken away in another form: nothing here waits for them.
    Transcode,
}

impl Lane {
    const ALL: [Lane; 6] = [Lane::Quick, Lane::Awaited, Lane::Long, Lane::Analysis, Lane::Index, Lane::Transcode];

    fn kinds(self) -> &'static [&'static str] {
        match self {
            Lane::Quick => &[export_session::KIND],
            Lane::Awaited => &[ingest::KIND, make_download::KIND, generate_text::KIND],
            Lane::Long => &[encode::KIND],
            Lane::Analysis => &[transcribe::KIND],
            Lane::Transcode => &[transcode::KIND],
            Lane::Index => &[index_spoken_words::KIND],
        }
    }

    /// How many run at once.
    fn width(self) -> usize {
        match self {
            Lane::Quick | Lane::Long | Lane::Transcode => 1,
            Lane::Analysis => 2,
            Lane::Awaited | Lane::Index => 4,
        }
    }

    /// Whether shutdown waits for its jobs; else the next start begins them again.
    fn is_finished_first(self) -> bool {
        self == Lane::Quick
    }
}

/// One bell for each lane, so that ringing wakes a loop of each.
#[derive(Debug, Default)]
pub struct Bells([Notify; Lane::ALL.len()]);

impl Bells {
    /// After a commit that left a job.
    pub fn ring(&self) {
        self.0.iter().for_each(Notify::notify_one);
    }

    fn of(&self, lane: Lane) -> &Notify {
        &self.0[lane as usize]
    }
}

/// Runs until shutdown.
pub async fn run(app: App) {
    let now = app.now();
    let released = app.store.write(move |tx| Box::pin(async move { job::release_all(tx, now).await })).await;
    if let Err(error) = released {
        tracing::error!(%error, "jobs of an earlier process could not be released");
    }
    if let Err(error) = app::encode::resume(&app).await {
        tracing::error!(%error, "what is still to be encoded could not be taken up again");
    }
    let loops = Lane::ALL.into_iter().flat_map(|lane| std::iter::repeat_n(lane, lane.width()));
    let mut running: JoinSet<()> = loops.map(|lane| run_lane(app.clone(), lane)).collect();
    while running.join_next().await.is_some() {}
}

async fn run_lane(app: App, lane: Lane) {
    while !app.shutdown.is_cancelled() {
        let wait = match run_next(&app, lane).await {
            Ok(true) => continue,
            Ok(false) => until_next(&app, lane).await,
            Err(error) => {
                tracing::error!(%error, ?lane, "the job queue failed");
                IDLE
            }
        };
        tokio::select! {
            () = app.job_bells.of(lane).notified() => {}
            () = tokio::time::sleep(wait) => {}
            () = app.shutdown.cancelled() => {}
        }
    }
}

async fn until_next(app: &App, lane: Lane) -> Duration {
    let due = app.store.next_job_due(lane.kinds()).await.ok().flatten();
    due.map_or(IDLE, |at| (at - app.now()).to_duration()).clamp(Duration::from_millis(10), IDLE)
}

/// Whether there was one.
async fn run_next(app: &App, lane: Lane) -> Result<bool> {
    let now = app.now();
    let claim =
        app.store.write(move |tx| Box::pin(async move { job::claim(tx, lane.kinds(), now, LEASE).await })).await?;
    let Some(job) = claim else { return Ok(false) };
    // Another loop of the lane may take the next one.
    app.job_bells.of(lane).notify_one();
    let began = app.now();
    let outcome = tokio::select! {
        outcome = dispatch(app, &job) => outcome,
        never = renew(app, &job.id) => match never {},
        // It stays `running`, which the next start takes for broken off.
        () = app.shutdown.cancelled(), if !lane.is_finished_first() => return Ok(false),
    };
    let took = (app.now() - began).0 / 1000;
    tracing::info!(job.id = %job.id, job.kind, attempt = job.attempt, duration_ms = took, ok = outcome.is_ok(), "job ran");
    note(app, job, outcome).await?;
    app.job_done.notify_waiters();
    Ok(true)
}

/// Writes down how a run ended; an end that somebody wants to be told of is told in the same commit.
async fn note(app: &App, mut job: Job, outcome: std::result::Result<String, JobError>) -> Result<()> {
    let now = app.now();
    let ended = match outcome {
        Ok(reply) => Ok(reply),
        Err(JobError::Retry(error)) if job.attempt < TRIES => {
            let at = now + Span::seconds(1 << job.attempt.clamp(0, 10));
            let retry = app
                .store
                .write(move |tx| Box::pin(async move { job::retry_at(tx, &job.id, at, &error.to_string()).await }));
            return retry.await;
        }
        Err(JobError::Retry(error) | JobError::Fail(error)) => {
            tracing::info!(job.id = %job.id, %error, "job failed");
            // What is our fault is for the log, as in every answer.
            let is_ours = error.kind == ErrorKind::Internal;
            Err(if is_ours {
                "something went wrong in the server; its log says what".to_owned()
            } else {
                error.message
            })
        }
    };
    (job.state, job.reply, job.error) = match &ended {
        Ok(reply) => (JobState::Done, Some(reply.clone()), None),
        Err(message) => (JobState::Failed, None, Some(message.clone())),
    };
    let told = callback(app, &job)?;
    let is_told = told.is_some();
    app.store
        .write(move |tx| {
            Box::pin(async move {
                job::finish(tx, &job.id, ended.as_deref().map_err(String::as_str), now).await?;
                if let Some(event) = told {
                    outbox::insert(tx, &event).await?;
                }
                Ok(())
            })
        })
        .await?;
    if is_told {
        app.webhook_bell.notify_one();
    }
    Ok(())
}

/// The event of a job that has ended, where there is a callback.
fn callback(app: &App, ended: &Job) -> Result<Option<Event>> {
    let Some(url) = ended.callback_url.clone() else { return Ok(None) };
    let body = views::ended_job(app, ended)?.to_string();
    Ok(Some(Event {
        id: mint!(app, EventId),
        owner: ended.owner.clone(),
        collection_id: None,
        session_id: None,
        name: format!("job.{}", ended.state.as_str()),
        at: app.now(),
        frame: None,
        webhook: Some(Webhook { url, body }),
    }))
}

/// Tells again and again that the job is being run.
async fn renew(app: &App, id: &JobId) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(RENEW_EACH).await;
        let (job, until) = (id.clone(), app.now() + LEASE);
        let renewed = app.store.write(move |tx| Box::pin(async move { job::renew(tx, &job, until).await })).await;
        if let Err(error) = renewed {
            tracing::warn!(job.id = %id, %error, "the lease of a running job could not be renewed");
        }
    }
}

/// The reply of a job is the JSON that the call which made it would have returned.
async fn dispatch(app: &App, job: &Job) -> std::result::Result<String, JobError> {
    match job.kind.as_str() {
        export_session::KIND => export_session::run(app, job).await,
        ingest::KIND => ingest::run(app, job).await,
        encode::KIND => encode::run(app, job).await,
        make_download::KIND => make_download::run(app, job).await,
        generate_text::KIND => generate_text::run(app, job).await,
        transcribe::KIND => transcribe::run(app, job).await,
        transcode::KIND => transcode::run(app, job).await,
        index_spoken_words::KIND => index_spoken_words::run(app, job).await,
        other => Err(JobError::Fail(Error::internal(format!("no such kind of job: {other}")))),
    }
}
