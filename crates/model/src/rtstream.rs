//! An rtstream: a live input and the tracks it grows; and the track itself, as the database knows it.

use crate::capture::{Category, MediaKind};
use crate::id::{CaptureSessionId, CollectionId, OriginalId, RtStreamId, TrackId, UserId};
use crate::stream::AssetId;
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

/// Contract: frames a second that visual indexes look at; the SDKs' default.
pub const SAMPLE_RATE: i64 = 30;

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
    /// Frames a second that visual indexes look at.
    pub sample_rate: i64,
    /// Whether retention leaves what it recorded alone.
    pub keep: bool,
    /// The export of what it had recorded then.
    pub exported: Option<AssetId>,
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
    /// Encoded here, from an uploaded file that cannot be cut as it is.
    Encoded,
}

impl TrackRole {
    pub fn as_str(self) -> &'static str {
        match self {
            TrackRole::Source => "source",
            TrackRole::Mix => "mix",
            TrackRole::Encoded => "encoded",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [TrackRole::Source, TrackRole::Mix, TrackRole::Encoded].into_iter().find(|r| r.as_str() == text)
    }
}

/// One elementary stream as stored. Its chunks are rows of their own.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    pub id: TrackId,
    pub owner: UserId,
    pub collection_id: CollectionId,
    pub rtstream_id: Option<RtStreamId>,
    pub session_id: Option<CaptureSessionId>,
    /// The uploaded file that it was made from.
    pub original_id: Option<OriginalId>,
    pub role: TrackRole,
    pub kind: MediaKind,
    /// Whether it still grows.
    pub open: bool,
    /// What was recorded before this moment was deleted.
    pub kept_from: Option<WallTime>,
}

/// Where a chunk stands in the live playlist of its track: segments before it, and gaps in the recording up to its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LivePlace {
    pub first_segment: i64,
    pub gaps: i64,
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
    /// How many segments of a live playlist it makes.
    pub segments: i64,
    pub place: LivePlace,
}

/// What playing a sealed chunk needs of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkMedia {
    pub start: WallTime,
    pub end: WallTime,
    pub object: String,
    pub index: Vec<u8>,
}

impl From<SealedChunk> for ChunkMedia {
    fn from(chunk: SealedChunk) -> ChunkMedia {
        ChunkMedia { start: chunk.start, end: chunk.end, object: chunk.object, index: chunk.index }
    }
}

impl SealedChunk {
    /// Where a chunk stands that follows this one, with or without a gap between them.
    pub fn place_after(&self, gap: bool) -> LivePlace {
        LivePlace { first_segment: self.place.first_segment + self.segments, gaps: self.place.gaps + i64::from(gap) }
    }
}
