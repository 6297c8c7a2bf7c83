//! A live index: what an rtstream says, window by window, each with a text that was made of its words.
//! How words become windows is the server's `live/windows.rs`; here are the nouns, and the words by which clients name them.

use crate::id::{ConnectionId, LiveIndexId, RtStreamId};
use crate::time::WallTime;

/// What a window is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segmenter {
    Word,
    Sentence,
    /// Seconds.
    Time,
}

impl Segmenter {
    pub fn as_str(self) -> &'static str {
        match self {
            Segmenter::Word => "word",
            Segmenter::Sentence => "sentence",
            Segmenter::Time => "time",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Segmenter::Word, Segmenter::Sentence, Segmenter::Time].into_iter().find(|s| s.as_str() == text)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    pub segmenter: Segmenter,
    /// Words, sentences or seconds; at least one.
    pub size: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveIndexState {
    Running,
    Stopped,
}

impl LiveIndexState {
    pub fn as_str(self) -> &'static str {
        match self {
            LiveIndexState::Running => "running",
            LiveIndexState::Stopped => "stopped",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [LiveIndexState::Running, LiveIndexState::Stopped].into_iter().find(|s| s.as_str() == text)
    }
}

/// How far something has read a transcript: so many words of the utterance that begins at this moment, and all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bookmark {
    pub utterance: WallTime,
    pub words: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LiveIndex {
    pub id: LiveIndexId,
    pub rtstream_id: RtStreamId,
    pub name: Option<String>,
    /// What is to be made of the words.
    pub prompt: Option<String>,
    /// As the client named it; which model runs is the server's choice.
    pub model_name: Option<String>,
    pub segmentation: Segmentation,
    pub state: LiveIndexState,
    /// Who is told of records.
    pub ws_connection_id: Option<ConnectionId>,
    /// Words before this moment are not its own.
    pub from: WallTime,
    /// How far its records go; `None` before the first.
    pub done: Option<Bookmark>,
    pub created_at: WallTime,
}

/// A window of a live index, as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexRecord {
    pub start: WallTime,
    pub end: WallTime,
    pub text: String,
    /// What made the text.
    pub model: String,
    pub prompt_followed: bool,
    /// Why the text is only the words although a model should have made it.
    pub error: Option<String>,
}
