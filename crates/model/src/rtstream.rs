//! An rtstream: a live input and the tracks it grows; and the track itself, as the database knows it.

use crate::capture::{Category, MediaKind};
use crate::id::{CaptureSessionId, CollectionId, RtStreamId, TrackId, UserId};
use crate::time::WallTime;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtStreamState {
    /// It records, or is about to.
    Connected,
    Stopped,
}

impl RtStreamState {
    pub fn as_str(self) -> &'static str {
        match self {
            RtStreamState::Connected => "connected",
            RtStreamState::Stopped => "stopped",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [RtStreamState::Connected, RtStreamState::Stopped].into_iter().find(|s| s.as_str() == text)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct RtStream {
    pub id: RtStreamId,
    pub owner: UserId,
    pub collection_id: CollectionId,
    pub session_id: Option<CaptureSessionId>,
    /// The device, as in `mic:default`.
    pub name: String,
    pub category: Option<Category>,
    pub kind: MediaKind,
    pub state: RtStreamState,
    pub store: bool,
    pub created_at: WallTime,
    /// Whether its speech is being written down, and since when.
    pub transcription: Transcription,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transcription {
    NotConfigured,
    Running { since: WallTime },
    Stopped { since: WallTime, until: WallTime },
}

/// What a track is to the one who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackRole {
    /// As it came from the source.
    Source,
    /// The mix of a session's stored audio channels.
    Mix,
}

impl TrackRole {
    pub fn as_str(self) -> &'static str {
        match self {
            TrackRole::Source => "source",
            TrackRole::Mix => "mix",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [TrackRole::Source, TrackRole::Mix].into_iter().find(|r| r.as_str() == text)
    }
}

/// One elementary stream as stored. Its chunks are rows of their own.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    pub id: TrackId,
    pub owner: UserId,
    pub rtstream_id: Option<RtStreamId>,
    pub session_id: Option<CaptureSessionId>,
    pub role: TrackRole,
    pub kind: MediaKind,
    /// Whether it still grows.
    pub open: bool,
}

/// A sealed piece of a track: its samples are one immutable object, its index is in the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedChunk {
    /// Of its first sample.
    pub start: WallTime,
    /// Of the end of its last sample.
    pub end: WallTime,
    pub bytes: i64,
    pub samples: i64,
    /// Key of the object with the samples back to back.
    pub object: String,
    /// Codec line and sample index, as `media::index` writes them.
    pub index: Vec<u8>,
}
