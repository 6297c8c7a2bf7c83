//! The transcript of an asset. It takes a fraction of what is heard, and gives way to what is said live.

use vitascope_model::job::{Job, JobError};

use crate::app::{App, speech};

pub const KIND: &str = "transcribe";

pub async fn run(app: &App, job: &Job) -> Result<String, JobError> {
    speech::run(app, job).await.map_err(JobError::from)
}
