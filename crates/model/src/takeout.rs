//! A takeout: a file made to be taken away, of a stream or by a transcode. It is made by a job, and gone after a week.

use crate::id::{CollectionId, JobId, TakeoutId, UserId};
use crate::job::JobState;
use crate::{Span, WallTime};

/// What asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeoutKind {
    Download,
    Transcode,
}

impl TakeoutKind {
    pub fn as_str(self) -> &'static str {
        match self {
            TakeoutKind::Download => "download",
            TakeoutKind::Transcode => "transcode",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [TakeoutKind::Download, TakeoutKind::Transcode].into_iter().find(|k| k.as_str() == text)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Takeout {
    pub id: TakeoutId,
    pub owner: UserId,
    /// Where what it is made of lies; none if it is nobody's collection's.
    pub collection_id: Option<CollectionId>,
    pub kind: TakeoutKind,
    /// What the file is called when it is taken.
    pub name: String,
    /// The stream that it is made of, if it is one of ours: it goes with that.
    pub stream_id: Option<String>,
    /// The job that makes it, how that stands, and how far it is (0 to 100).
    pub job_id: JobId,
    pub job_state: JobState,
    pub progress: i64,
    /// Why it could not be made.
    pub error: Option<String>,
    /// The file, once it is there.
    pub made: Option<MadeFile>,
    pub created_at: WallTime,
    pub expires_at: WallTime,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeFile {
    /// Key of the object.
    pub object: String,
    pub bytes: i64,
    pub length: Span,
    pub has_picture: bool,
}

impl MadeFile {
    pub fn mime(&self) -> &'static str {
        if self.has_picture { "video/mp4" } else { "audio/mp4" }
    }
}

/// Where a takeout is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeoutState {
    Processing,
    Done,
    Failed,
}

impl Takeout {
    pub fn state(&self) -> TakeoutState {
        match (&self.made, self.job_state) {
            (Some(_), _) => TakeoutState::Done,
            (None, JobState::Queued | JobState::Running) => TakeoutState::Processing,
            (None, JobState::Done | JobState::Failed) => TakeoutState::Failed,
        }
    }

    /// Its name as that of a file: an extension that players know it by, and nothing that a file system minds.
    pub fn file_name(&self) -> String {
        let extension = if self.made.as_ref().is_none_or(|m| m.has_picture) { ".mp4" } else { ".m4a" };
        let is_bad = |c: char| c.is_control() || r#"/\:*?"<>|"#.contains(c);
        let clean: String = self.name.chars().map(|c| if is_bad(c) { '_' } else { c }).collect();
        let known = [".mp4", ".m4a", ".m4v", ".mov"];
        let lower = clean.to_ascii_lowercase();
        let stem = known.iter().find(|e| lower.ends_with(**e)).map_or(&clean[..], |e| &clean[..clean.len() - e.len()]);
        let stem = stem.trim_matches(['.', ' ']);
        if stem.is_empty() { format!("{}{extension}", self.id) } else { format!("{stem}{extension}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, has_picture: bool) -> String {
        let made = MadeFile { object: "o".into(), bytes: 1, length: Span(1), has_picture };
        let takeout = Takeout {
            id: TakeoutId::mint(WallTime(0), [0; 10]),
            owner: UserId::mint(WallTime(0), [0; 10]),
            collection_id: None,
            kind: TakeoutKind::Download,
            name: name.to_owned(),
            stream_id: None,
            job_id: JobId::mint(WallTime(0), [0; 10]),
            job_state: JobState::Done,
            progress: 100,
            error: None,
            made: Some(made),
            created_at: WallTime(0),
            expires_at: WallTime(0),
        };
        takeout.file_name()
    }

    #[test]
    fn a_file_has_a_name_that_every_disk_takes() {
        assert_eq!(named("Daily stand-up", true), "Daily stand-up.mp4");
        assert_eq!(named("film.MP4", true), "film.mp4");
        assert_eq!(named("film.mp4", false), "film.m4a");
        assert_eq!(named("../../etc/passwd", true), "_.._etc_passwd.mp4");
        assert_eq!(named("a\r\nb\"c\"", true), "a__b_c_.mp4");
        assert_eq!(named("漢字 ü.mov", true), "漢字 ü.mp4");
        assert!(named(".mp4", true).starts_with("dl-"));
        assert!(named("..", true).starts_with("dl-"));
    }
}
