//! A job: durable background work with progress and a final reply. Its row is the truth; a wake-up that gets lost loses nothing.

use crate::error::ErrorKind;
use crate::id::{JobId, UserId};
use crate::time::WallTime;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    Queued,
    Running,
    Done,
    Failed,
}

impl JobState {
    const ALL: [JobState; 4] = [JobState::Queued, JobState::Running, JobState::Done, JobState::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Queued => "queued",
            JobState::Running => "running",
            JobState::Done => "done",
            JobState::Failed => "failed",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    pub fn is_over(self) -> bool {
        matches!(self, JobState::Done | JobState::Failed)
    }
}

#[derive(Clone, Debug)]
pub struct Job {
    pub id: JobId,
    pub owner: UserId,
    /// Names the kind of work; never renamed once released, since rows outlive releases.
    pub kind: String,
    /// JSON: ids only, never media.
    pub payload: String,
    pub state: JobState,
    pub attempt: i64,
    /// 0 to 100.
    pub progress: i64,
    /// JSON: what the call that made the job would have returned.
    pub reply: Option<String>,
    pub error: Option<String>,
    /// Who is to be told when it has ended.
    pub callback_url: Option<String>,
    pub created_at: WallTime,
}

/// How a job's run ended when it did not succeed: its author must choose.
#[derive(Debug)]
pub enum JobError {
    /// Worth another try later.
    Retry(crate::Error),
    /// No use in trying again.
    Fail(crate::Error),
}

impl From<crate::Error> for JobError {
    /// What the request got wrong stays wrong; anything else may pass.
    fn from(error: crate::Error) -> Self {
        match error.kind {
            ErrorKind::Internal | ErrorKind::Unavailable | ErrorKind::ResourceExhausted => JobError::Retry(error),
            _ => JobError::Fail(error),
        }
    }
}
