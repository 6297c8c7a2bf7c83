//! Films that a site shows on a page: `yt-dlp` finds and brings them. What it may do is fixed here: no configuration, no playlists, only
//! sites that it knows by name, into one folder, within limits. Whether a page may be asked for is the caller's business.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use vitascope_model::error::Context;
use vitascope_model::{Error, ErrorKind, Result};

use crate::process::{CommandLine, Program, output};

const LIMIT: Duration = Duration::from_secs(6 * 3600);
const MOST_OUTPUT: usize = 64 * 1024;
const LOOK_EVERY: Duration = Duration::from_secs(1);
const NAME: &str = "film";

/// A film that was brought.
#[derive(Debug)]
pub struct Brought {
    pub path: PathBuf,
    pub title: Option<String>,
}

/// Brings the film of a page into an empty folder. `check` is told each second how many bytes lie there; an error of it ends all.
pub async fn bring(url: &str, folder: &Path, most_bytes: u64, check: impl Fn(u64) -> Result<()>) -> Result<Brought> {
    let line = command_line(url, folder, most_bytes);
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = std::pin::pin!(output(&line, MOST_OUTPUT, LIMIT));
    let said = loop {
        tokio::select! {
            said = &mut said => break said.map_err(worded)?,
            _ = ticks.tick() => check(files(folder)?.iter().map(|(_, bytes)| bytes).sum())?,
        }
    };
    let found = files(folder)?.into_iter().find(|(path, _)| path.file_stem().is_some_and(|stem| stem == NAME));
    let nothing =
        || Error::invalid("yt-dlp found nothing to bring: the page may be live, or its film larger than the limit");
    let (path, bytes) = found.ok_or_else(nothing)?;
    check(bytes)?;
    let title = String::from_utf8_lossy(&said).lines().map(str::trim).find(|l| !l.is_empty()).map(str::to_owned);
    Ok(Brought { path, title })
}

/// The best picture up to 1080 lines, and of several as good ones what needs no encoding here.
fn command_line(url: &str, folder: &Path, most_bytes: u64) -> CommandLine {
    let options = format!(
        "--ignore-config --no-cache-dir --use-extractors default,-generic --no-playlist --playlist-items 1 --match-filters !is_live \
         --max-filesize {most_bytes} --socket-timeout 30 --retries 3 --fragment-retries 3 --no-part --no-continue --no-mtime \
         --no-progress --no-warnings --format bv*+ba/b --format-sort res:1080,vcodec:h264,acodec:aac --merge-output-format mp4/mkv \
         --no-simulate --print after_move:title --output {NAME}.%(ext)s --paths"
    );
    let words = options.split_whitespace().map(str::to_owned);
    CommandLine::new(
        Program::YtDlp,
        words.chain([format!("home:{}", folder.display()), "--".to_owned(), url.to_owned()]),
    )
}

fn files(folder: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).internal("read the folder of a site's film")? {
        let entry = entry.internal("read the folder of a site's film")?;
        // What is being renamed right now is counted the next time.
        if let Ok(meta) = entry.metadata()
            && meta.is_file()
        {
            found.push((entry.path(), meta.len()));
        }
    }
    Ok(found)
}

/// What it says, for who gave the URL.
fn worded(error: Error) -> Error {
    match error.kind {
        ErrorKind::Unavailable => Error::invalid(
            "url gives a web page, not a media file; films on pages of YouTube and other sites are brought by yt-dlp, which is not installed on the server",
        ),
        ErrorKind::Internal => {
            let words = error.message.rsplit("ERROR:").next().unwrap_or_default().trim();
            if words.contains("No suitable extractor") || words.contains("Unsupported URL") {
                return Error::invalid("url gives a web page, not a media file, and yt-dlp does not know its site");
            }
            Error::invalid(format!("yt-dlp could not bring the film of the page: {words}"))
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line() {
        let line = command_line("https://a.org/watch?v=1 --exec x", Path::new("/data/uploads/job-1.site"), 1000);
        insta::assert_snapshot!(line, @"yt-dlp --ignore-config --no-cache-dir --use-extractors default,-generic --no-playlist --playlist-items 1 --match-filters !is_live --max-filesize 1000 --socket-timeout 30 --retries 3 --fragment-retries 3 --no-part --no-continue --no-mtime --no-progress --no-warnings --format bv*+ba/b --format-sort res:1080,vcodec:h264,acodec:aac --merge-output-format mp4/mkv --no-simulate --print after_move:title --output film.%(ext)s --paths home:/data/uploads/job-1.site -- 'https://a.org/watch?v=1 --exec x'");
    }

    #[test]
    fn what_it_says_is_told() {
        let ended = |words: &str| worded(Error::internal(format!("yt-dlp ended with exit status: 1: {words}"))).message;
        assert_eq!(
            ended("x; ERROR: [youtube] abc: Private video"),
            "yt-dlp could not bring the film of the page: [youtube] abc: Private video"
        );
        assert!(
            ended("ERROR: No suitable extractor (Any) found for URL https://a.org").contains("does not know its site")
        );
        assert!(worded(Error::unavailable("yt-dlp could not be started")).message.contains("not installed"));
    }
}
