//! A stream: an ordered list of spans that is played as one. What it looks like to a player is `media`'s and `http`'s business.

use crate::id::{CollectionId, RtStreamId, TrackId, UserId, VideoId};
use crate::time::{Span, TimeRange, WallTime};

/// One piece of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A range of a live input, by wall time.
    RtStream { id: RtStreamId, range: TimeRange },
    /// A whole video.
    Video { id: VideoId },
}

/// A list of pieces under an unguessable id: who knows the id may play it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    pub id: String,
    pub owner: UserId,
    pub piece: Piece,
    pub title: Option<String>,
}

/// A video: a name, and the ranges of tracks that it owns. No media of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Video {
    pub id: VideoId,
    pub owner: UserId,
    pub collection_id: CollectionId,
    pub name: String,
    pub length: Span,
    pub bytes: i64,
    /// The stream that plays the whole of it.
    pub stream_id: String,
    pub created_at: WallTime,
    pub parts: Vec<AssetPart>,
}

/// A range of a track that an asset owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssetPart {
    pub track_id: TrackId,
    pub range: TimeRange,
}
