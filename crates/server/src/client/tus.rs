//! Sending a file in pieces (tus 1.0), so that nothing is sent twice: after a broken connection, a restart of the server or another run of
//! the command, the server says how much it has, and it goes on there. Each piece is all that is left, streamed from the disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Body, Method, RequestBuilder, Response};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use tokio::time::{Instant, interval, sleep, timeout};
use vitascope_model::{Error, ErrorKind, Result};

use super::api::{Api, refusal};
use super::meter::Meter;
use super::remembered::{LocalFile, Memory, Place, unreadable};

const VERSION: &str = "1.0.0";
const BLOCK: usize = 256 << 10;
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A connection that takes no byte for so long is given up.
const STALL: Duration = Duration::from_secs(60);
/// When all bytes are there, the server sums them up before it answers.
const SUM_UP: Duration = Duration::from_secs(900);
/// Before each try after one that brought nothing: about a minute, in which a server may be started again.
const PAUSES: [u64; 9] = [200, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000];

/// A file that lies at the server.
pub(super) struct Arrived {
    pub place: Place,
    /// Bytes that the server had from a run before this one.
    pub resumed_from: u64,
}

/// One file on its way.
pub(super) struct Sender<'a> {
    pub api: &'a Api,
    pub memory: &'a Memory,
    pub file: &'a LocalFile,
    pub collection: &'a str,
    pub meter: &'a mut Meter,
}

/// A try that did not bring all of it.
enum Stopped {
    /// Worth another try.
    Broken(Error),
    /// The server has let the upload go.
    Gone,
    Refused(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Stopped {
        match error.kind {
            ErrorKind::Unavailable => Stopped::Broken(error),
            ErrorKind::NotFound | ErrorKind::Gone => Stopped::Gone,
            _ => Stopped::Refused(error),
        }
    }
}

impl Sender<'_> {
    pub(super) async fn send(mut self) -> Result<Arrived> {
        let mut started_again = false;
        let (mut place, mut resumed_from) = (self.memory.find(self.file), 0);
        loop {
            let known = match place.take() {
                Some(known) => known,
                None => self.create().await?,
            };
            match self.send_to(&known, &mut resumed_from).await {
                Ok(()) => {
                    // What was sent is what was looked at, or it is of no use.
                    if let Err(changed) = self.file.check_unchanged() {
                        self.memory.forget(self.file);
                        return Err(changed);
                    }
                    return Ok(Arrived { place: known, resumed_from });
                }
                Err(Stopped::Gone) if !started_again => (started_again, resumed_from) = (true, 0),
                Err(Stopped::Gone) => return Err(Error::gone("the server let the upload go while it was sent")),
                Err(Stopped::Refused(error)) => return Err(error),
                Err(Stopped::Broken(error)) => {
                    let more = "; the same command goes on where it broke off";
                    return Err(Error::new(error.kind, format!("{error}{more}")));
                }
            }
        }
    }

    /// Remembered before the first byte is sent.
    async fn create(&self) -> Result<Place> {
        let length = self.file.bytes.to_string();
        let name = format!("filename {}", STANDARD.encode(self.file.name()));
        let request = self.api.post_to(&["collection", self.collection, "tus"])?;
        let request = request.header("upload-length", length).header("upload-metadata", name);
        let response = self.ask(request).await?;
        let url = |header: &str| response.headers().get(header).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let (Some(tus), Some(upload_url)) = (url("location"), url("x-upload-url")) else {
            return Err(Error::internal(
                "the server took the upload, but does not say where; is it a Vitascope server?",
            ));
        };
        let place = Place::new(self.file, tus, upload_url);
        if let Err(error) = self.memory.keep(self.file, &place) {
            eprintln!("vitascope: {error}; if this upload is interrupted, the next one begins at the beginning");
        }
        Ok(place)
    }

    async fn send_to(&mut self, place: &Place, resumed_from: &mut u64) -> Result<(), Stopped> {
        let (mut offset, mut is_first) = (0, true);
        let mut pauses = PAUSES.iter();
        loop {
            let broken = match self.try_once(place, &mut offset, &mut is_first, resumed_from, &mut pauses).await {
                Ok(()) => return Ok(()),
                Err(Stopped::Broken(error)) => error,
                Err(other) => return Err(other),
            };
            self.file.check_unchanged()?;
            let Some(pause) = pauses.next() else { return Err(Stopped::Broken(broken)) };
            self.meter.word(&format!("{}; trying again", broken.message));
            sleep(Duration::from_millis(*pause)).await;
        }
    }

    /// Asks how much is there, and sends the rest.
    async fn try_once(
        &mut self,
        place: &Place,
        offset: &mut u64,
        is_first: &mut bool,
        resumed_from: &mut u64,
        pauses: &mut std::slice::Iter<'_, u64>,
    ) -> Result<(), Stopped> {
        let there = self.standing(&place.tus).await?;
        if there > *offset {
            // It goes forward: patience begins anew.
            (*offset, *pauses) = (there, PAUSES.iter());
        }
        if std::mem::take(is_first) {
            *resumed_from = there;
            self.meter.begin(there);
        }
        if there == self.file.bytes {
            return Ok(());
        }
        self.rest(&place.tus, there).await
    }

    async fn standing(&self, tus: &str) -> Result<u64> {
        let response = self.ask(self.api.at(Method::HEAD, tus)).await?;
        let offset = response.headers().get("upload-offset").and_then(|v| v.to_str().ok()?.parse().ok());
        offset.ok_or_else(|| Error::internal("the server does not say how much of the upload it has"))
    }

    async fn rest(&mut self, tus: &str, from: u64) -> Result<(), Stopped> {
        let taken = Arc::new(AtomicU64::new(from));
        let body = body(&self.file.path, from, self.file.bytes, taken.clone()).await?;
        let request = self.api.at(Method::PATCH, tus).header("tus-resumable", VERSION);
        let request = request.header("content-type", "application/offset+octet-stream");
        let request = request.header("upload-offset", from.to_string());
        let request = request.header("content-length", (self.file.bytes - from).to_string()).body(body);
        let mut answer = std::pin::pin!(request.send());
        let (mut ticks, mut moved) = (interval(LOOK_EVERY), (from, Instant::now()));
        loop {
            tokio::select! {
                answered = &mut answer => {
                    let response = answered.map_err(|e| self.api.unreached(e))?;
                    checked(response).await?;
                    return Ok(());
                }
                _ = ticks.tick() => {
                    let now = taken.load(Ordering::Relaxed);
                    if now != moved.0 {
                        moved = (now, Instant::now());
                    }
                    self.meter.at(now, Some(self.file.bytes));
                    let limit = if now == self.file.bytes { SUM_UP } else { STALL };
                    if moved.1.elapsed() > limit {
                        return Err(Stopped::Broken(Error::unavailable("the server takes nothing any more")));
                    }
                }
            }
        }
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Response> {
        let sent = request.header("tus-resumable", VERSION).timeout(ANSWER_WITHIN).send().await;
        checked(sent.map_err(|e| self.api.unreached(e))?).await
    }
}

/// What another request still writes, or what stands elsewhere than we thought, is asked for again.
async fn checked(response: Response) -> Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    // A HEAD has no body to say why.
    let body = timeout(ANSWER_WITHIN, response.json::<serde_json::Value>()).await;
    let body = body.ok().and_then(|read| read.ok()).unwrap_or_default();
    let message = body["message"].as_str().unwrap_or_default();
    let error = refusal(status, message);
    Err(match status.as_u16() {
        409 | 423 => Error::unavailable(error.message),
        _ => error,
    })
}

/// The bytes from `from` on, block by block; `taken` says how far it was read.
async fn body(path: &Path, from: u64, to: u64, taken: Arc<AtomicU64>) -> Result<Body> {
    let opened = async {
        let mut file = File::open(path).await?;
        file.seek(SeekFrom::Start(from)).await?;
        Ok(file)
    };
    let file = opened.await.map_err(|error| unreadable(path, &error))?;
    let blocks = futures_util::stream::try_unfold((file.take(to - from), taken), |(mut file, taken)| async move {
        let mut block = vec![0; BLOCK];
        let count = file.read(&mut block).await?;
        block.truncate(count);
        taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok::<_, std::io::Error>((count > 0).then_some((block, (file, taken))))
    });
    Ok(Body::wrap_stream(blocks))
}
