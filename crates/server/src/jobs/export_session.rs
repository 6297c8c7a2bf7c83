//! The export of a finished capture session. The work itself takes milliseconds; it is a job so that a crash cannot lose it.

use serde_json::json;
use vitascope_model::capture::{Failure, SessionState};
use vitascope_model::id::CaptureSessionId;
use vitascope_model::job::{Job, JobError};
use vitascope_model::stream::AssetId;

use crate::app::capture::advance;
use crate::app::{App, export};

pub const KIND: &str = "export_session";

pub async fn run(app: &App, job: &Job) -> Result<String, JobError> {
    let id: CaptureSessionId = job.payload.parse()?;
    let exported = export::export_session(app, &id).await.map_err(JobError::from);
    if let Err(JobError::Fail(error)) = &exported {
        let failure = Failure { code: "export_failed".to_owned(), message: error.message.clone() };
        advance(app, &id, SessionState::Failed, Some(failure)).await?;
    }
    let asset = exported?;
    let status = if asset.is_some() { "exported" } else { "failed" };
    let reply =
        json!({ "session_id": id.as_str(), "export_status": status, "video_id": asset.as_ref().map(AssetId::as_str) });
    Ok(reply.to_string())
}
