//! Indexes of videos and audios: what can be searched in an asset. An index has records, each a range of the asset with a text; a hit is
//! a record that was found.

use crate::id::{CollectionId, JobId, MediaIndexId, VideoId};
use crate::stream::AssetId;
use crate::time::{MediaTime, Span, WallTime};

/// What an index is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaIndexKind {
    /// Sentences that are said.
    SpokenWord,
}

impl MediaIndexKind {
    pub const ALL: [MediaIndexKind; 1] = [MediaIndexKind::SpokenWord];

    pub fn as_str(self) -> &'static str {
        match self {
            MediaIndexKind::SpokenWord => "spoken_word",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == text)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct MediaIndex {
    pub id: MediaIndexId,
    pub asset_id: AssetId,
    pub kind: MediaIndexKind,
    /// Whose vectors its records have: only vectors of one model can be compared.
    pub model: String,
    /// Only then is it searched.
    pub is_complete: bool,
    /// The job that makes it, or made it.
    pub job_id: JobId,
    pub created_at: WallTime,
}

/// A range of an asset, what is said in it, and its vector.
#[derive(Clone, Debug, PartialEq)]
pub struct MediaRecord {
    pub start: MediaTime,
    pub end: MediaTime,
    pub text: String,
    /// Of length 1.
    pub vector: Vec<f32>,
}

/// Where to look.
#[derive(Clone, Debug)]
pub enum Within {
    Video(VideoId),
    Collection(CollectionId),
}

/// A record that was found, in the video in which it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    pub video_id: VideoId,
    pub start: MediaTime,
    pub end: MediaTime,
    pub text: String,
    /// 0 to 1.
    pub score: f64,
}

impl Hit {
    pub fn length(&self) -> Span {
        self.end - self.start
    }
}
