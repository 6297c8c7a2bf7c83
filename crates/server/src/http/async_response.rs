//! Slow work over HTTP: the async envelope and the hold rule. The SDKs poll at once and then sleep five seconds, so an answer that is
//! held until the job ends reaches them in its own time; only what takes longer than the hold is answered with the envelope.

use axum::extract::{Path, State};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use vitascope_model::Result;
use vitascope_model::account::Scope;
use vitascope_model::id::JobId;
use vitascope_model::job::Job;

use super::extract::Owner;
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::App;
use crate::views;

/// Clients give up after 30 s (Python) and 60 s (Node).
const HOLD: Duration = Duration::from_secs(20);

pub(super) fn routes() -> Routes {
    Routes::new().get("/async-response/{job}", show_response)
}

async fn show_response(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    held(&app, &scope, &id.parse()?).await.map(Reply::raw).map_err(Into::into)
}

/// The envelope of a job: its end, waited for as long as a client will; else where to ask again.
pub(super) async fn held(app: &App, scope: &Scope, id: &JobId) -> Result<Value> {
    views::job(app, &until_ended(app, scope, id).await?)
}

/// The job when it has ended, or when a client will wait no longer.
pub(super) async fn until_ended(app: &App, scope: &Scope, id: &JobId) -> Result<Job> {
    let deadline = Instant::now() + HOLD;
    loop {
        // Enrolled before the row is read: a job that ends in between is not missed.
        let ended = app.job_done.notified();
        let job = app.store.get_job(scope, id).await?;
        if job.state.is_over() || timeout_at(deadline, ended).await.is_err() {
            return Ok(job);
        }
    }
}
