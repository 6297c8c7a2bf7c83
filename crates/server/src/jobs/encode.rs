//! The encoding of an original, in the background: whatever of its tracks is still promised. It may take as long as the media.

use vitascope_model::job::{Job, JobError};

use crate::app::{App, encode};

pub const KIND: &str = "encode_tracks";

pub async fn run(app: &App, job: &Job) -> Result<String, JobError> {
    encode::run(app, job).await.map_err(JobError::from)
}
