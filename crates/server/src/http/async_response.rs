//! Slow work over HTTP: the async envelope and the hold rule. The SDKs poll at once and then sleep five seconds, so an answer that is
//! held until the job ends reaches them in its own time; only what takes longer than the hold is answered with the envelope.

use axum::extract::{Path, State};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use vitascope_model::account::Scope;
use vitascope_model::id::JobId;
use vitascope_model::job::{Job, JobState};
use vitascope_model::{Error, Result};

use super::extract::Owner;
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::App;

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
    let deadline = Instant::now() + HOLD;
    loop {
        // Enrolled before the row is read: a job that ends in between is not missed.
        let ended = app.job_done.notified();
        let job = app.store.get_job(scope, id).await?;
        if job.state.is_over() || timeout_at(deadline, ended).await.is_err() {
            return envelope(app, &job);
        }
    }
}

/// compat: both forms at once, as Python (`response`) and Node (top level) read them. A failed job is HTTP 200 with `success: false`.
fn envelope(app: &App, job: &Job) -> Result<Value> {
    match job.state {
        JobState::Done => {
            let reply = job.reply.as_deref().unwrap_or("{}");
            let data: Value =
                serde_json::from_str(reply).map_err(|e| Error::internal("read a job's reply").because(e))?;
            let inner = json!({ "success": true, "message": "done", "data": data });
            Ok(json!({ "success": true, "status": "done", "message": "done", "data": data, "response": inner }))
        }
        JobState::Failed => {
            let message = job.error.as_deref().unwrap_or("the job failed");
            let inner = json!({ "success": false, "message": message });
            Ok(json!({ "success": false, "status": "failed", "message": message, "data": {}, "response": inner }))
        }
        JobState::Queued | JobState::Running => {
            let output_url = app.config.url(&format!("/async-response/{}", job.id));
            let data = json!({ "id": job.id.as_str(), "output_url": output_url, "percentage": job.progress });
            Ok(json!({ "success": true, "status": "processing", "request_type": "sync", "data": data }))
        }
    }
}
