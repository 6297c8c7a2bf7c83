//! What uploads have to remember from one run of the command to the next: where a file was being sent, so that it goes on there. One small
//! file for each upload in the user's state folder, readable by nobody else, since the URL in it is as good as a password.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vitascope_model::error::Context;
use vitascope_model::{Clock, Error, ErrorKind, Result, Span};

use crate::clock::SystemClock;
use crate::random;

/// The server lets an upload go after a day.
const KEPT_FOR: Span = Span::seconds(26 * 3600);

/// A file that is to be sent, as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LocalFile {
    /// Absolute.
    pub path: PathBuf,
    pub bytes: u64,
    /// Nanoseconds since the epoch.
    pub modified: i128,
}

impl LocalFile {
    pub(super) fn look(path: &Path) -> Result<LocalFile> {
        let unreadable = |error: std::io::Error| unreadable(path, &error);
        let found = fs::metadata(path).map_err(unreadable)?;
        if !found.is_file() {
            return Err(Error::invalid(format!("{} is neither a file nor a folder", path.display())));
        }
        // It may be there and still be forbidden: said now, and not after the upload began.
        fs::File::open(path).map_err(unreadable)?;
        let modified = found.modified().map_err(unreadable)?;
        let modified = modified.duration_since(std::time::UNIX_EPOCH).map_or(0, |age| age.as_nanos() as i128);
        Ok(LocalFile { path: fs::canonicalize(path).map_err(unreadable)?, bytes: found.len(), modified })
    }

    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// What was sent of a file that changes meanwhile is no file at all.
    pub(super) fn check_unchanged(&self) -> Result<()> {
        if LocalFile::look(&self.path)? == *self {
            return Ok(());
        }
        Err(Error::conflict(format!("{} changed while it was sent; send it again when it is finished", self.name())))
    }
}

pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::InvalidArgument,
    };
    Error::new(kind, format!("{} cannot be read: {error}", path.display()))
}

/// Where a file was being sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub tus: String,
    /// Where the file lies once it is whole.
    pub upload_url: String,
    /// The job that makes an asset of it, if that began.
    pub job: Option<String>,
    bytes: u64,
    modified: i128,
}

impl Place {
    pub(super) fn new(file: &LocalFile, tus: String, upload_url: String) -> Place {
        Place { tus, upload_url, job: None, bytes: file.bytes, modified: file.modified }
    }
}

/// The folder of what is remembered. Without one nothing is, and an upload begins at its beginning.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    folder: Option<PathBuf>,
    /// Server, key and collection: the same file may go to several.
    whither: String,
}

impl Memory {
    pub(super) fn new(state: Option<&Path>, whither: &[&str]) -> Memory {
        let folder = state.map(|state| state.join("uploads"));
        let memory = Memory { folder, whither: whither.join("\n") };
        memory.sweep();
        memory
    }

    /// Only if the file is still what it was.
    pub(super) fn find(&self, file: &LocalFile) -> Option<Place> {
        let text = fs::read(self.path_of(file)?).ok()?;
        let place: Place = serde_json::from_slice(&text).ok()?;
        (place.bytes == file.bytes && place.modified == file.modified).then_some(place)
    }

    /// Whole or not at all: a run that is killed in between leaves what was there before.
    pub(super) fn keep(&self, file: &LocalFile, place: &Place) -> Result<()> {
        let (Some(folder), Some(path)) = (&self.folder, self.path_of(file)) else { return Ok(()) };
        let doing = format!("remember in {} where the upload was", folder.display());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).internal(&doing)?;
        let beside = path.with_extension(random::secret_name());
        let text = serde_json::to_vec(place).internal(&doing)?;
        let opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside);
        opened.and_then(|mut file| file.write_all(&text)).internal(&doing)?;
        fs::rename(&beside, &path).internal(&doing)
    }

    pub(super) fn forget(&self, file: &LocalFile) {
        if let Some(path) = self.path_of(file) {
            fs::remove_file(path).ok();
        }
    }

    fn path_of(&self, file: &LocalFile) -> Option<PathBuf> {
        let named = format!("{}\n{}", self.whither, file.path.display());
        Some(self.folder.as_ref()?.join(format!("{}.json", random::digest(&named))))
    }

    /// Uploads that the server has let go of by now.
    fn sweep(&self) {
        let Some(entries) = self.folder.as_ref().and_then(|folder| fs::read_dir(folder).ok()) else { return };
        let before = SystemClock::new().now() - KEPT_FOR;
        for entry in entries.flatten() {
            let written = entry.metadata().ok().and_then(|found| found.modified().ok());
            let age = written.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
            if age.is_some_and(|age| (age.as_micros() as i64) < before.0) {
                fs::remove_file(entry.path()).ok();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_place_is_found_again_until_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mp4");
        fs::write(&path, b"0123").unwrap();
        let file = LocalFile::look(&path).unwrap();
        let memory = Memory::new(Some(folder.path()), &["http://a", "sk-1", "default"]);
        assert_eq!(memory.find(&file), None);
        let place = Place::new(&file, "http://a/tus/x".to_owned(), "http://a/uploads/x".to_owned());
        memory.keep(&file, &place).unwrap();
        memory.keep(&file, &place).unwrap();
        assert_eq!(memory.find(&file), Some(place));
        assert_eq!(Memory::new(Some(folder.path()), &["http://a", "sk-1", "c-2"]).find(&file), None);
        let kept: Vec<_> = fs::read_dir(folder.path().join("uploads")).unwrap().collect();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((kept.len(), mode(&folder.path().join("uploads"))), (1, 0o700));
        assert_eq!(mode(&kept[0].as_ref().unwrap().path()), 0o600);

        fs::write(&path, b"01234").unwrap();
        assert!(file.check_unchanged().unwrap_err().message.contains("changed"));
        let changed = LocalFile::look(&path).unwrap();
        assert_eq!(memory.find(&changed), None);
        memory.forget(&file);
        assert_eq!(memory.find(&file), None);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let missing = LocalFile::look(&folder.path().join("x")).unwrap_err();
        assert_eq!(missing.kind, ErrorKind::NotFound);
        assert!(LocalFile::look(Path::new("/dev/null")).unwrap_err().message.contains("neither a file"));
    }
}
