//! A stream: an ordered list of spans that is played as one. What it looks like to a player is `media`'s and `http`'s business.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::Error;
use crate::id::{AudioId, CollectionId, ImageId, OriginalId, RtStreamId, TrackId, UserId, VideoId};
use crate::time::{Span, TimeRange, WallTime};

/// One piece of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A range of a live input, by wall time.
    RtStream { id: RtStreamId, range: TimeRange },
    /// The last minute of a live input, on and on.
    Live { id: RtStreamId },
    /// A whole video.
    Video { id: VideoId },
    /// A whole audio.
    Audio { id: AudioId },
    /// Moments of any of them, in this order.
    Spans(Arc<[StreamSpan]>),
}

/// One span of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSpan {
    pub of: SpanOf,
    /// Of a video or an audio from its beginning, which is zero; of an rtstream by the wall clock.
    pub range: TimeRange,
}

/// What a span is a range of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SpanOf {
    Video(VideoId),
    Audio(AudioId),
    RtStream(RtStreamId),
}

impl SpanOf {
    /// The asset, if it is one.
    pub fn as_asset(&self) -> Option<AssetId> {
        match self {
            SpanOf::Video(id) => Some(AssetId::Video(id.clone())),
            SpanOf::Audio(id) => Some(AssetId::Audio(id.clone())),
            SpanOf::RtStream(_) => None,
        }
    }
}

impl fmt::Display for SpanOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SpanOf::Video(id) => id.as_str(),
            SpanOf::Audio(id) => id.as_str(),
            SpanOf::RtStream(id) => id.as_str(),
        })
    }
}

impl FromStr for SpanOf {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.starts_with(AudioId::PREFIX) {
            text.parse().map(SpanOf::Audio)
        } else if text.starts_with(RtStreamId::PREFIX) {
            text.parse().map(SpanOf::RtStream)
        } else {
            text.parse().map(SpanOf::Video)
        }
    }
}

/// A list of pieces under an unguessable id: who knows the id may play it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    pub id: String,
    pub owner: UserId,
    pub piece: Piece,
    pub title: Option<String>,
    pub description: Option<String>,
    /// Whether what it plays was deleted.
    pub is_gone: bool,
}

/// A video: a name, and the ranges of tracks that it owns. No media of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Video {
    pub id: VideoId,
    pub owner: UserId,
    pub collection_id: CollectionId,
    pub name: String,
    pub description: Option<String>,
    /// The file that it came as; none if it was recorded here.
    pub original_id: Option<OriginalId>,
    pub length: Span,
    pub bytes: i64,
    /// The stream that plays the whole of it.
    pub stream_id: String,
    /// The picture that stands for it, once one was made.
    pub thumbnail: Option<ImageId>,
    /// Since when there is nothing to play any more, though the video is still there.
    pub dropped_at: Option<WallTime>,
    /// Whether retention leaves it alone.
    pub keep: bool,
    pub created_at: WallTime,
    pub parts: Vec<AssetPart>,
}

/// An audio: as a video, of sound alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Audio {
    pub id: AudioId,
    pub owner: UserId,
    pub collection_id: CollectionId,
    pub name: String,
    pub description: Option<String>,
    /// The file that it came as; none if it was recorded here.
    pub original_id: Option<OriginalId>,
    pub length: Span,
    pub bytes: i64,
    /// The stream that plays the whole of it.
    pub stream_id: String,
    /// Whether retention leaves it alone.
    pub keep: bool,
    pub created_at: WallTime,
    pub parts: Vec<AssetPart>,
}

/// A video, or an audio: what an export makes, and what can be heard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AssetId {
    Video(VideoId),
    Audio(AudioId),
}

impl AssetId {
    pub fn as_str(&self) -> &str {
        match self {
            AssetId::Video(id) => id.as_str(),
            AssetId::Audio(id) => id.as_str(),
        }
    }

    pub fn as_video(&self) -> Option<&VideoId> {
        match self {
            AssetId::Video(id) => Some(id),
            AssetId::Audio(_) => None,
        }
    }

    pub fn as_audio(&self) -> Option<&AudioId> {
        match self {
            AssetId::Video(_) => None,
            AssetId::Audio(id) => Some(id),
        }
    }
}

impl fmt::Display for AssetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AssetId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.starts_with(AudioId::PREFIX) {
            text.parse().map(AssetId::Audio)
        } else {
            text.parse().map(AssetId::Video)
        }
    }
}

/// A range of a track that an asset owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssetPart {
    pub track_id: TrackId,
    pub range: TimeRange,
    pub purpose: Purpose,
}

/// What a range of a track is for. What was uploaded may be played as the file has it (`Whole`) while what can be cut anywhere is
/// still being encoded (`Cut`); what was recorded here, and files that can be cut as they are, serve both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Both,
    Whole,
    Cut,
}

impl Purpose {
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::Both => "both",
            Purpose::Whole => "whole",
            Purpose::Cut => "cut",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Purpose::Both, Purpose::Whole, Purpose::Cut].into_iter().find(|p| p.as_str() == text)
    }

    /// Whether it plays the whole asset.
    pub fn plays_whole(self) -> bool {
        self != Purpose::Cut
    }

    /// Whether moments are cut from it.
    pub fn is_cut_from(self) -> bool {
        self != Purpose::Whole
    }
}
