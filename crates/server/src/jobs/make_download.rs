//! A stream that becomes a file to be taken away. A client waits for it, and mostly it takes seconds.

use vitascope_model::job::{Job, JobError};

use crate::app::{App, download};

pub const KIND: &str = "make_download";

pub async fn run(app: &App, job: &Job) -> Result<String, JobError> {
    download::make(app, job).await.map_err(JobError::from)
}
