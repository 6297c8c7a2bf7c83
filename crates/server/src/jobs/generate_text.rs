//! A text by the language model. A client waits for it.

use vitascope_model::job::{Job, JobError};

use crate::app::{App, generate};

pub const KIND: &str = "generate_text";

pub async fn run(app: &App, job: &Job) -> Result<String, JobError> {
    // The model was asked as often as its provider bears: a job that failed is no use to who waits.
    generate::run(app, job).await.map_err(JobError::Fail)
}
