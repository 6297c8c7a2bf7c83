//! `upload`: files, folders and URLs become assets. A file is sent in pieces first and is an upload URL like any other then; what became
//! of each source is told, and one that fails does not keep the others from being sent.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use vitascope_model::{Error, ErrorKind, Result};

use super::api::Api;
use super::meter::{Manner, Meter};
use super::remembered::{LocalFile, Memory, unreadable};
use super::tus::Sender;
use super::{Said, Terms, described, exit_code, show};
use crate::config::ClientConfig;

/// Some of several sources failed.
const SOME_FAILED: u8 = 6;
/// What is taken out of a folder by its name. A file that is named itself is always sent: the server looks into it.
const MEDIA: &str = "3g2 3gp aac ac3 aif aiff amr asf avi bmp dv f4v flac flv gif heic jpeg jpg m2ts m2v m4a m4b m4v mka mkv mov mp2 mp3 \
                     mp4 mpeg mpg mts mxf oga ogg ogv opus png qt rm rmvb ts vob wav webm webp wma wmv";

#[derive(Debug, Args)]
pub struct UploadArguments {
    /// Files, folders (with all that is in them) and http(s) URLs.
    #[arg(required = true, value_name = "PATH|URL")]
    sources: Vec<String>,
    /// Where it shall lie: the id of a collection.
    #[arg(long, short = 'c', default_value = "default")]
    collection: String,
    /// What it shall be called; for one source only.
    #[arg(long)]
    name: Option<String>,
    /// What it shall become; without it, what it is. `audio` of a film is its sound.
    #[arg(long, value_enum)]
    media_type: Option<MediaType>,
    #[command(flatten)]
    pub(super) terms: Terms,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MediaType {
    Video,
    Audio,
    Image,
}

impl MediaType {
    fn as_str(self) -> &'static str {
        match self {
            MediaType::Video => "video",
            MediaType::Audio => "audio",
            MediaType::Image => "image",
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Source {
    Url(String),
    File(PathBuf),
}

impl Source {
    fn shown(&self) -> String {
        match self {
            Source::Url(url) => url.clone(),
            Source::File(path) => path.display().to_string(),
        }
    }
}

/// What was found where it was looked for.
#[derive(Debug, Default)]
struct Gathered {
    sources: Vec<Source>,
    /// Files of folders that are no media by their names.
    skipped: Vec<String>,
    failed: Vec<(String, Error)>,
}

pub(super) async fn upload(wish: &UploadArguments, config: &ClientConfig) -> Result<Said> {
    let api = wish.terms.api(config)?;
    let mut found = Gathered::default();
    for source in &wish.sources {
        found.add(source);
    }
    if wish.name.is_some() && found.sources.len() > 1 {
        return Err(Error::invalid("--name is for one source only, and there are several"));
    }
    let memory = Memory::new(config.state.as_deref(), &[api.server(), api.key(), &wish.collection]);
    let run = Run { api: &api, memory, wish, manner: Manner::for_stderr(wish.terms.json) };
    let mut made = Vec::new();
    let mut sources = found.sources.iter();
    for source in sources.by_ref() {
        match run.one(source).await {
            Ok(done) => {
                if !wish.terms.json {
                    show::text(&line_of(&done["asset"]));
                }
                made.push(done);
            }
            Err(error) => {
                let ends_all = ends_all(error.kind);
                found.failed.push((source.shown(), error));
                if ends_all {
                    break;
                }
            }
        }
    }
    let left: Vec<String> = sources.map(Source::shown).collect();
    Ok(outcome(made, &found.failed, &found.skipped, &left, wish.terms.json))
}

/// What will not be otherwise for the next source.
fn ends_all(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Unauthenticated | ErrorKind::PermissionDenied | ErrorKind::Unavailable | ErrorKind::StorageFull
    )
}

fn line_of(asset: &Value) -> String {
    let of = |key: &str| asset[key].as_str().unwrap_or_default();
    let url = asset["player_url"].as_str().unwrap_or_else(|| of("url"));
    format!("{}  {}  {url}", of("id"), show::printable(of("name")))
}

fn outcome(made: Vec<Value>, failed: &[(String, Error)], skipped: &[String], left: &[String], as_json: bool) -> Said {
    if !as_json {
        for (source, error) in failed {
            eprintln!("vitascope: {source}: {error}");
        }
        for (list, what) in
            [(skipped, "are no media by their names and were left out"), (left, "were not tried any more")]
        {
            if !list.is_empty() {
                eprintln!("vitascope: {} files {what}", list.len());
            }
        }
    }
    let code = match failed.first() {
        None => 0,
        Some(_) if !made.is_empty() => SOME_FAILED,
        Some((_, error)) => exit_code(error.kind),
    };
    let failed: Vec<Value> =
        failed.iter().map(|(s, error)| json!({ "source": s, "error": described(error) })).collect();
    let json = json!({
        "success": code == 0, "uploaded": made, "failed": failed, "skipped": skipped, "not_tried": left,
    });
    Said { text: String::new(), json, code }
}

impl Gathered {
    fn add(&mut self, source: &str) {
        let start = source.get(..8).unwrap_or(source).to_ascii_lowercase();
        if start.starts_with("http://") || start.starts_with("https://") {
            self.sources.push(Source::Url(source.to_owned()));
            return;
        }
        let path = Path::new(source);
        if path.is_dir() { self.add_folder(path) } else { self.sources.push(Source::File(path.to_owned())) }
    }

    /// In the order of names. Links to folders are not followed, or it might never end; hidden files are not meant.
    fn add_folder(&mut self, folder: &Path) {
        let listed = std::fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        let mut entries = match listed {
            Ok(entries) => entries,
            Err(error) => return self.failed.push((folder.display().to_string(), unreadable(folder, &error))),
        };
        entries.sort_by_key(|entry| entry.file_name());
        for entry in entries {
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.add_folder(&path),
                Ok(kind) if kind.is_symlink() && path.is_dir() => {}
                Ok(_) if is_media(&path) => self.sources.push(Source::File(path)),
                Ok(_) => self.skipped.push(path.display().to_string()),
                Err(error) => self.failed.push((path.display().to_string(), unreadable(&path, &error))),
            }
        }
    }
}

fn is_media(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    extension.is_some_and(|extension| MEDIA.split_whitespace().any(|known| known == extension))
}

/// One run of the command.
struct Run<'a> {
    api: &'a Api,
    memory: Memory,
    wish: &'a UploadArguments,
    manner: Manner,
}

impl Run<'_> {
    async fn one(&self, source: &Source) -> Result<Value> {
        let mut meter = Meter::new(self.manner, &source_name(source));
        let done = match source {
            Source::Url(url) => self.url(url, &mut meter).await,
            Source::File(path) => self.file(path, &mut meter).await,
        };
        meter.end();
        let (asset, more) = done?;
        let mut told = Map::from_iter([("source".to_owned(), json!(source.shown())), ("asset".to_owned(), asset)]);
        told.extend(more);
        Ok(Value::Object(told))
    }

    async fn url(&self, url: &str, meter: &mut Meter) -> Result<(Value, Map<String, Value>)> {
        Ok((self.make(url, meter, |_| {}).await?, Map::new()))
    }

    async fn file(&self, path: &Path, meter: &mut Meter) -> Result<(Value, Map<String, Value>)> {
        let file = LocalFile::look(path)?;
        let collection = self.wish.collection.as_str();
        let sender = Sender { api: self.api, memory: &self.memory, file: &file, collection, meter };
        let arrived = sender.send().await?;
        let mut place = arrived.place;
        let asset = match self.made_before(place.job.as_deref(), meter).await? {
            Some(asset) => asset,
            None => {
                let url = place.upload_url.clone();
                // Another run then waits for the same job, and does not make a second asset.
                let begun = |job: &str| {
                    place.job = Some(job.to_owned());
                    self.memory.keep(&file, &place).ok();
                };
                self.make(&url, meter, begun).await?
            }
        };
        self.memory.forget(&file);
        let sent = json!({ "bytes": file.bytes, "resumed_from": arrived.resumed_from });
        Ok((asset, sent.as_object().cloned().unwrap_or_default()))
    }

    /// What a job that an earlier run began came to. One that failed is worth another try.
    async fn made_before(&self, job: Option<&str>, meter: &mut Meter) -> Result<Option<Value>> {
        let Some(job) = job else { return Ok(None) };
        let meter = Mutex::new(meter);
        match self.api.wait_for(job, &|_, percent| making(&meter, percent)).await {
            Ok(asset) => Ok(Some(asset)),
            Err(error) if matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Unauthenticated) => Err(error),
            Err(_) => Ok(None),
        }
    }

    async fn make(&self, url: &str, meter: &mut Meter, begun: impl FnMut(&str) + Send) -> Result<Value> {
        let mut body = json!({ "url": url });
        if let Some(name) = &self.wish.name {
            body["name"] = json!(name);
        }
        if let Some(kind) = self.wish.media_type {
            body["media_type"] = json!(kind.as_str());
        }
        let heard = Mutex::new((begun, false));
        let meter = Mutex::new(meter);
        let tell = |job: &str, percent: u64| {
            if let Ok(mut heard) = heard.lock()
                && !std::mem::replace(&mut heard.1, true)
            {
                (heard.0)(job);
            }
            making(&meter, percent);
        };
        self.api.post(&["collection", &self.wish.collection, "upload"], body, &tell).await
    }
}

fn making(meter: &Mutex<&mut Meter>, percent: u64) {
    if let Ok(mut meter) = meter.lock() {
        meter.word(&format!("the server works on it, {percent} %"));
    }
}

fn source_name(source: &Source) -> String {
    match source {
        Source::Url(url) => url.clone(),
        Source::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_its_media_in_order_and_nothing_twice() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("b/c")).unwrap();
        for name in ["z.MP4", "a.mkv", "b/c/d.wav", "notes.txt", ".hidden.mp4", "noext"] {
            std::fs::write(at(name), b"x").unwrap();
        }
        std::os::unix::fs::symlink(folder.path(), at("loop")).unwrap();
        std::os::unix::fs::symlink(at("a.mkv"), at("link.mkv")).unwrap();
        let mut found = Gathered::default();
        found.add(folder.path().to_str().unwrap());
        found.add("HTTPS://a.org/x.mp4");
        let shown: Vec<_> = found.sources.iter().map(source_name).collect();
        assert_eq!(shown, ["a.mkv", "d.wav", "link.mkv", "z.MP4", "HTTPS://a.org/x.mp4"]);
        assert_eq!((found.skipped.len(), found.failed.len()), (2, 0));
    }

    #[test]
    fn an_exit_code_says_whether_some_or_all_failed() {
        let failed = || vec![("a".to_owned(), Error::not_found("a"))];
        assert_eq!(outcome(vec![json!({})], &[], &[], &[], true).code, 0);
        assert_eq!(outcome(vec![json!({})], &failed(), &[], &[], true).code, SOME_FAILED);
        assert_eq!(outcome(vec![], &failed(), &[], &[], true).code, 5);
    }
}
