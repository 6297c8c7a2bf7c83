//! An upload that becomes an asset. A client waits for it, so that it runs in a lane of its own.

use vitascope_model::job::{Job, JobError};

use crate::app::{App, ingest};

pub const KIND: &str = "ingest";

pub async fn run(app: &App, job: &Job) -> Result<String, JobError> {
    ingest::run(app, job).await.map_err(JobError::from)
}
