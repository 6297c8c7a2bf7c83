//! What videos, audios and images have in common: they are listed together, and looked for by name, length and size.
//! What each of them is for itself stands in `stream.rs` and `image.rs`.

use crate::id::CollectionId;
use crate::time::{Span, WallTime};

/// The kinds of assets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssetKind {
    Video,
    Audio,
    Image,
}

impl AssetKind {
    pub const ALL: [AssetKind; 3] = [AssetKind::Video, AssetKind::Audio, AssetKind::Image];

    pub fn as_str(self) -> &'static str {
        match self {
            AssetKind::Video => "video",
            AssetKind::Audio => "audio",
            AssetKind::Image => "image",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        AssetKind::ALL.into_iter().find(|k| k.as_str() == text)
    }
}

/// What a list is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AssetSort {
    Name,
    Duration,
    Size,
    #[default]
    CreatedAt,
}

/// Which assets, and in which order. Bounds are inclusive.
#[derive(Clone, Debug)]
pub struct AssetFilter {
    pub collection: Option<CollectionId>,
    pub kinds: Vec<AssetKind>,
    pub shortest: Option<Span>,
    pub longest: Option<Span>,
    /// Bytes.
    pub smallest: Option<i64>,
    pub largest: Option<i64>,
    pub sort: AssetSort,
    pub descending: bool,
}

/// An asset as a list has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    pub kind: AssetKind,
    pub id: String,
    pub collection_id: CollectionId,
    pub name: String,
    pub description: Option<String>,
    /// None of an image.
    pub length: Option<Span>,
    pub bytes: i64,
    /// The stream that plays it; none of an image.
    pub stream_id: Option<String>,
    pub keep: bool,
    pub created_at: WallTime,
}
