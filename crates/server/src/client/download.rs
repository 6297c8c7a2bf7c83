//! `clip` and `download`: an exact range as a stream, and a stream as a file. A server that makes MP4 files is asked for one; from any other
//! the segments themselves are taken, which in a row are a fragmented MP4. A file appears when all of it is here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use reqwest::{Method, Response, Url};
use serde_json::{Value, json};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};
use vitascope_model::error::Context;
use vitascope_model::{Error, ErrorKind, Result};

use super::api::{Api, refusal};
use super::library::find;
use super::meter::{Manner, Meter};
use super::playlist::Playlist;
use super::{Said, Terms, show};
use crate::config::ClientConfig;

/// A line that brings nothing for so long is given up.
const STALL: Duration = Duration::from_secs(60);
/// Before each try after one that failed; a server may be started again meanwhile.
const PAUSES: [u64; 7] = [200, 500, 1_000, 2_000, 4_000, 8_000, 15_000];
const ASK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub struct ClipArguments {
    /// The id of a video (m-…) or an rtstream (rts-…).
    id: String,
    /// Where it begins: seconds, or as in 1:02:03.5; of an rtstream, seconds since 1970.
    #[arg(value_parser = show::seconds)]
    start: f64,
    /// Where it ends.
    #[arg(value_parser = show::seconds)]
    end: f64,
    /// Saves the clip as this file, too.
    #[arg(long, value_name = "FILE")]
    download: Option<PathBuf>,
    /// Writes over a file that is there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pub(super) terms: Terms,
}

#[derive(Debug, Args)]
pub struct DownloadArguments {
    /// The id of a video, audio or image, or the URL of a stream.
    #[arg(value_name = "ID|STREAM_URL")]
    what: String,
    /// The file; without it, what the asset is called, here.
    #[arg(long, short)]
    output: Option<PathBuf>,
    /// Writes over a file that is there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pub(super) terms: Terms,
}

pub(super) async fn clip(wish: &ClipArguments, config: &ClientConfig) -> Result<Said> {
    let api = wish.terms.api(config)?;
    if wish.end <= wish.start {
        return Err(Error::invalid("a clip ends after it begins"));
    }
    if let Some(file) = &wish.download {
        check_free(file, wish.force)?;
    }
    let made = match wish.id.split_once('-').map(|(prefix, _)| prefix) {
        Some("m") => {
            let body = json!({ "timeline": [[wish.start, wish.end]] });
            api.post(&["video", &wish.id, "stream"], body, &|_, _| {}).await?
        }
        Some("rts") => {
            let (start, end) = (wish.start.to_string(), wish.end.to_string());
            api.get(&["rtstream", &wish.id, "stream"], &[("start", &start), ("end", &end)]).await?
        }
        _ => return Err(Error::invalid("clips are made of videos (m-…) and rtstreams (rts-…)")),
    };
    let of = |key: &str| made[key].as_str().unwrap_or_default().to_owned();
    let mut json = json!({
        "success": true, "id": wish.id, "start": wish.start, "end": wish.end,
        "stream_url": made["stream_url"], "player_url": made["player_url"],
    });
    let mut text = format!("{}\n{}", of("stream_url"), of("player_url"));
    if let Some(file) = &wish.download {
        let bytes = save_stream(&api, &of("stream_url"), &wish.id, file, wish.terms.json).await?;
        json["file"] = json!({ "path": file, "bytes": bytes });
        text += &format!("\n{}", file.display());
    }
    Ok(Said::new(text, json))
}

pub(super) async fn download(wish: &DownloadArguments, config: &ClientConfig) -> Result<Said> {
    let api = wish.terms.api(config)?;
    let is_url = wish.what.starts_with("http://") || wish.what.starts_with("https://");
    let found = if is_url { json!({ "stream_url": wish.what }) } else { find(&api, &wish.what).await? };
    let name = found["name"].as_str().unwrap_or("stream");
    let file = wish.output.clone().unwrap_or_else(|| PathBuf::from(file_name(name, &found)));
    check_free(&file, wish.force)?;
    let bytes = match (found["stream_url"].as_str(), found["url"].as_str()) {
        (Some(stream), _) => save_stream(&api, stream, name, &file, wish.terms.json).await?,
        (None, Some(url)) => save_file(&api, url, &file, &mut meter(&file, wish.terms.json)).await?,
        (None, None) => {
            return Err(Error::new(ErrorKind::NotFound, format!("nothing of {} can be downloaded yet", wish.what)));
        }
    };
    let json = json!({ "success": true, "file": { "path": file, "bytes": bytes }, "stream_url": found["stream_url"] });
    Ok(Said::new(file.display().to_string(), json))
}

fn meter(file: &Path, as_json: bool) -> Meter {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Meter::new(Manner::for_stderr(as_json), &name)
}

fn check_free(file: &Path, force: bool) -> Result<()> {
    if !force && file.exists() {
        return Err(Error::conflict(format!("{} is there already; --force writes over it", file.display())));
    }
    Ok(())
}

/// A stranger's name must stay in this folder.
fn file_name(name: &str, found: &Value) -> String {
    let id = found["id"].as_str().unwrap_or_default();
    let extension = match (found["mime_type"].as_str().and_then(|kind| kind.strip_prefix("image/")), id) {
        (Some("jpeg"), _) => "jpg",
        (Some(kind), _) => kind,
        (None, id) if id.starts_with("a-") => "m4a",
        _ => "mp4",
    };
    let kept: String = name.chars().map(|c| if c.is_control() || "/\\:".contains(c) { '_' } else { c }).collect();
    let kept = kept.trim().trim_start_matches('.');
    let stem = match kept.rsplit_once('.') {
        // The uploaded file's own extension says what that was, not what this is.
        Some((stem, last)) if !stem.is_empty() && (2..=4).contains(&last.len()) => stem,
        _ if kept.is_empty() => "download",
        _ => kept,
    };
    format!("{stem}.{extension}")
}

/// How many bytes the file has.
async fn save_stream(api: &Api, stream_url: &str, name: &str, file: &Path, as_json: bool) -> Result<u64> {
    let mut meter = meter(file, as_json);
    let body = json!({ "stream_link": stream_url, "name": name });
    let saved = match api.post(&["download"], body, &|_, _| {}).await {
        Ok(made) => {
            let url = made_url(api, made, &mut meter).await?;
            save_file(api, &url, file, &mut meter).await
        }
        Err(error) if error.kind == ErrorKind::Unimplemented => save_segments(api, stream_url, file, &mut meter).await,
        Err(error) => Err(error),
    };
    meter.end();
    saved
}

/// Where the file is, once it is made.
async fn made_url(api: &Api, mut made: Value, meter: &mut Meter) -> Result<String> {
    loop {
        if let Some(url) = made["download_url"].as_str() {
            return Ok(url.to_owned());
        }
        let (id, status) = (made["id"].as_str().map(str::to_owned), made["status"].as_str().unwrap_or_default());
        match id {
            Some(id) if status == "processing" => {
                meter.word("the server makes the file");
                sleep(ASK_AGAIN).await;
                made = api.get(&["download", &id], &[]).await?;
            }
            _ => return Err(Error::internal("the server made no file of the stream, and does not say why")),
        }
    }
}

/// A file that is still coming in; it goes if it does not come to its end.
struct Incoming {
    part: PathBuf,
    to: PathBuf,
    file: File,
    bytes: u64,
}

impl Incoming {
    async fn begin(to: &Path) -> Result<Incoming> {
        let mut name = to.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = to.with_file_name(name);
        let unwritable = |e| Error::invalid(format!("{} cannot be written", to.display())).because(e);
        let file = File::create(&part).await.map_err(unwritable)?;
        Ok(Incoming { part, to: to.to_owned(), file, bytes: 0 })
    }

    async fn write(&mut self, block: &[u8]) -> Result<()> {
        self.file.write_all(block).await.invalid(format_args!("{} cannot be written", self.to.display()))?;
        self.bytes += block.len() as u64;
        Ok(())
    }

    async fn finish(mut self) -> Result<u64> {
        let doing = format!("{} cannot be written", self.to.display());
        self.file.flush().await.invalid(&doing)?;
        tokio::fs::rename(&self.part, &self.to).await.invalid(&doing)?;
        Ok(self.bytes)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Where it was finished there is none any more.
        std::fs::remove_file(&self.part).ok();
    }
}

/// After a break it goes on where it was.
async fn save_file(api: &Api, url: &str, to: &Path, meter: &mut Meter) -> Result<u64> {
    let mut incoming = Incoming::begin(to).await?;
    let mut pauses = PAUSES.iter();
    meter.begin(0);
    loop {
        let before = incoming.bytes;
        let Err(error) = pour(api, url, &mut incoming, meter).await else { break };
        if error.kind != ErrorKind::Unavailable {
            return Err(error);
        }
        if incoming.bytes > before {
            pauses = PAUSES.iter();
        }
        let Some(pause) = pauses.next() else { return Err(error) };
        sleep(Duration::from_millis(*pause)).await;
    }
    incoming.finish().await
}

/// What is not here yet.
async fn pour(api: &Api, url: &str, incoming: &mut Incoming, meter: &mut Meter) -> Result<()> {
    let mut request = api.at(Method::GET, url);
    if incoming.bytes > 0 {
        request = request.header("range", format!("bytes={}-", incoming.bytes));
    }
    let sent = timeout(STALL, request.send()).await.map_err(|_| stalled())?;
    let mut response = checked(sent.map_err(|e| api.unreached(e))?).await?;
    if incoming.bytes > 0 && response.status() != reqwest::StatusCode::PARTIAL_CONTENT {
        return Err(Error::internal("the server does not go on where the download broke off"));
    }
    let total = response.content_length().map(|left| left + incoming.bytes);
    while let Some(block) = next(&mut response).await? {
        incoming.write(&block).await?;
        meter.at(incoming.bytes, total);
    }
    Ok(())
}

async fn save_segments(api: &Api, stream_url: &str, to: &Path, meter: &mut Meter) -> Result<u64> {
    let wrong = || Error::invalid(format!("{stream_url:?} is no URL of a stream"));
    let base = Url::parse(stream_url).map_err(|_| wrong())?;
    let text = fetch(api, base.as_str()).await?;
    let list = Playlist::read(&String::from_utf8_lossy(&text))?;
    let mut incoming = Incoming::begin(to).await?;
    meter.begin(0);
    for name in list.files() {
        let url = base.join(name).map_err(|_| wrong())?;
        incoming.write(&fetch(api, url.as_str()).await?).await?;
        meter.at(incoming.bytes, None);
    }
    incoming.finish().await
}

/// A playlist or a segment: small enough to be held.
async fn fetch(api: &Api, url: &str) -> Result<Vec<u8>> {
    let mut pauses = PAUSES.iter();
    loop {
        let error = match fetch_once(api, url).await {
            Err(error) if error.kind == ErrorKind::Unavailable => error,
            other => return other,
        };
        let Some(pause) = pauses.next() else { return Err(error) };
        sleep(Duration::from_millis(*pause)).await;
    }
}

async fn fetch_once(api: &Api, url: &str) -> Result<Vec<u8>> {
    let sent = timeout(STALL, api.at(Method::GET, url).send()).await.map_err(|_| stalled())?;
    let mut response = checked(sent.map_err(|e| api.unreached(e))?).await?;
    let mut out = Vec::new();
    while let Some(block) = next(&mut response).await? {
        out.extend_from_slice(&block);
    }
    Ok(out)
}

async fn next(response: &mut Response) -> Result<Option<bytes::Bytes>> {
    let read = timeout(STALL, response.chunk()).await.map_err(|_| stalled())?;
    read.map_err(|error| Error::unavailable("the download broke off").because(error.without_url()))
}

async fn checked(response: Response) -> Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = timeout(STALL, response.json::<Value>()).await.ok().and_then(|read| read.ok()).unwrap_or_default();
    Err(refusal(status, body["message"].as_str().unwrap_or_default()))
}

fn stalled() -> Error {
    Error::unavailable(format!("the server sent nothing for {} s", STALL.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_folder_and_says_what_the_file_is() {
        let named = |name: &str, found: Value| file_name(name, &found);
        assert_eq!(named("../../etc/passwd", json!({})), "_.._etc_passwd.mp4");
        assert_eq!(named("Ein Film.mkv", json!({ "id": "m-1" })), "Ein Film.mp4");
        assert_eq!(named("v1.2 final cut", json!({ "id": "a-1" })), "v1.2 final cut.m4a");
        assert_eq!(named("x.png", json!({ "id": "img-1", "mime_type": "image/jpeg" })), "x.jpg");
        assert_eq!(named(" .\u{1b} ", json!({})), "_.mp4");
        assert_eq!(named("", json!({})), "download.mp4");
    }
}
