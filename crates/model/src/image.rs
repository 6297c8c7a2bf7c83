//! Images: a file that was uploaded as it is, or a picture of a video. What an image may be (its kinds) is said here once.
//! How one is decoded is `media::image`'s business, where its bytes lie the store's.

use crate::id::{CollectionId, ImageId, UserId, VideoId};
use crate::time::{Span, WallTime};

/// The kinds of files that are taken. None of them can refer to another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageKind {
    Jpeg,
    Png,
    Webp,
    Gif,
    Bmp,
}

impl ImageKind {
    pub const ALL: [ImageKind; 5] = [ImageKind::Jpeg, ImageKind::Png, ImageKind::Webp, ImageKind::Gif, ImageKind::Bmp];

    /// What the first bytes of a file say. Names and declared types say nothing.
    pub fn sniff(head: &[u8]) -> Option<ImageKind> {
        match head {
            [0xff, 0xd8, 0xff, ..] => Some(ImageKind::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(ImageKind::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(ImageKind::Webp),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(ImageKind::Gif),
            [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Some(ImageKind::Bmp),
            _ => None,
        }
    }

    pub fn mime(self) -> &'static str {
        match self {
            ImageKind::Jpeg => "image/jpeg",
            ImageKind::Png => "image/png",
            ImageKind::Webp => "image/webp",
            ImageKind::Gif => "image/gif",
            ImageKind::Bmp => "image/bmp",
        }
    }

    pub fn parse(mime: &str) -> Option<ImageKind> {
        ImageKind::ALL.into_iter().find(|kind| kind.mime() == mime)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub id: ImageId,
    pub owner: UserId,
    pub collection_id: CollectionId,
    pub name: String,
    pub description: Option<String>,
    /// Key of the object that holds the file.
    pub object: String,
    /// Of an uploaded file: the same content of the same owner is one object.
    pub sha256: Option<String>,
    pub bytes: i64,
    pub width: u32,
    pub height: u32,
    pub kind: ImageKind,
    pub keep: bool,
    pub created_at: WallTime,
    /// Of a thumbnail.
    pub shows: Option<Moment>,
}

/// What a thumbnail shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    pub video: VideoId,
    /// From the video's beginning.
    pub at: Span,
    /// What it was to fit into; 0: as large as the video.
    pub fit_width: u32,
    pub fit_height: u32,
    /// Whether it stands for the video where nobody named a moment.
    pub is_poster: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_say_the_kind_and_text_is_none() {
        assert_eq!(ImageKind::sniff(b"\xff\xd8\xff\xe0\0\x10JFIF"), Some(ImageKind::Jpeg));
        assert_eq!(ImageKind::sniff(b"RIFF\x01\0\0\0WEBPVP8 "), Some(ImageKind::Webp));
        for other in [&b"<svg xmlns"[..], b"RIFF\x01\0\0\0WAVE", b"BM is text, too", b"", b"#EXTM3U"] {
            assert_eq!(ImageKind::sniff(other), None);
        }
        assert!(ImageKind::ALL.into_iter().all(|kind| ImageKind::parse(kind.mime()) == Some(kind)));
    }
}
