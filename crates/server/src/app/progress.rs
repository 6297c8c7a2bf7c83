//! How far a job is, written down for who asks: in steps of a percent, not more often than a second, and never backwards, also where
//! work has to begin anew. What a job does is no business of this one.

use tokio::time::{Duration, Instant};
use vitascope_model::Result;
use vitascope_model::id::JobId;
use vitascope_model::job::Job;
use vitascope_store::job;

use super::App;

const EACH: Duration = Duration::from_secs(1);

/// Of a part of a job's work.
pub(super) struct Progress {
    job: JobId,
    /// What the part begins and ends with, in percent of the job.
    from: u64,
    to: u64,
    told: u64,
    at: Option<Instant>,
}

impl Progress {
    pub(super) fn new(job: &Job, from: u64, to: u64) -> Progress {
        let told = from.max(job.progress.unsigned_abs());
        Progress { job: job.id.clone(), from, to, told, at: None }
    }

    /// So much of `total` is done.
    pub(super) async fn tell(&mut self, app: &App, done: u64, total: u64) -> Result<()> {
        let part = u128::from(done.min(total)) * u128::from(self.to - self.from) / u128::from(total.max(1));
        let percent = self.from + part as u64;
        if percent <= self.told || self.at.is_some_and(|at| at.elapsed() < EACH) {
            return Ok(());
        }
        (self.told, self.at) = (percent, Some(Instant::now()));
        let (id, percent) = (self.job.clone(), percent as i64);
        app.store.write(move |tx| Box::pin(async move { job::set_progress(tx, &id, percent).await })).await
    }
}
