//! What was said: words with times, the record of one utterance of a live input, and the transcript of a video or an audio.

use crate::id::{JobId, RtStreamId};
use crate::stream::AssetId;
use crate::time::{MediaTime, WallTime};

#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    pub text: String,
    pub start: WallTime,
    pub end: WallTime,
}

/// A final utterance of an rtstream, as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct TranscriptRecord {
    pub rtstream_id: RtStreamId,
    pub start: WallTime,
    pub end: WallTime,
    pub text: String,
    pub words: Vec<Word>,
    /// Mean probability of the words' tokens, 0 to 1.
    pub confidence: f64,
}

/// A word in the time of what it was heard in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpokenWord {
    /// With its punctuation.
    pub text: String,
    pub start: MediaTime,
    pub end: MediaTime,
}

/// What somebody said between two pauses.
#[derive(Clone, Debug, PartialEq)]
pub struct Utterance {
    pub start: MediaTime,
    pub end: MediaTime,
    pub words: Vec<SpokenWord>,
    /// Mean probability of the words' tokens, 0 to 1.
    pub confidence: f64,
}

/// The transcript of a video or an audio: how far it is. What was said are its utterances.
#[derive(Clone, Debug, PartialEq)]
pub struct Transcript {
    pub asset_id: AssetId,
    /// ISO 639-1.
    pub language: String,
    /// What is up to here was heard, and is never heard again.
    pub heard: MediaTime,
    pub is_complete: bool,
    /// The job that makes it, or made it.
    pub job_id: JobId,
    pub created_at: WallTime,
}
