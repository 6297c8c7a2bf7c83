//! What was said: words with times, and the record of one utterance.

use crate::id::RtStreamId;
use crate::time::WallTime;

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
