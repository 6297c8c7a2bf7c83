//! A transcode. It may take longer than the media lasts, and a client asks now and then how far it is.

use vitascope_model::job::{Job, JobError};

use crate::app::{App, transcode};

pub const KIND: &str = "transcode";

pub async fn run(app: &App, job: &Job) -> Result<String, JobError> {
    transcode::make(app, job).await.map_err(JobError::from)
}
