//! The index of the words that are spoken in an asset. It may wait for the job that writes them down, which is of another lane.

use vitascope_model::job::{Job, JobError};

use crate::app::{App, spoken_index};

pub const KIND: &str = "index_spoken_words";

pub async fn run(app: &App, job: &Job) -> Result<String, JobError> {
    spoken_index::run(app, job).await.map_err(JobError::from)
}
