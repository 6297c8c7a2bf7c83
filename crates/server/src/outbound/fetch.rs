//! Fetching what a client's URL names. Redirects are followed here, one by one, each checked as the first URL was;
//! time and stillness are bounded, and what comes is handed on as it comes, never decoded and never gathered.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_DISPOSITION, HeaderMap, LOCATION};
use reqwest::{Response, StatusCode, Url};
use tokio::time::{Instant, timeout};
use vitascope_model::{Error, Result};

use super::Outbound;

const REDIRECTS: usize = 5;
/// A source that sends nothing for so long is given up.
const STALL: Duration = Duration::from_secs(60);
/// However steadily it comes.
const TOTAL: Duration = Duration::from_secs(6 * 3600);

/// A file on its way here.
#[derive(Debug)]
pub struct Download {
    response: Response,
    until: Instant,
    /// How many bytes will come, if the source said so.
    pub total: Option<u64>,
    /// What the source calls it.
    pub name: Option<String>,
}

impl Outbound {
    /// What is wrong with a source's URL, if anything, before it is promised to be fetched.
    pub fn check_source(&self, url: &str) -> Result<()> {
        self.source_reach.check("url", url).map(drop)
    }

    /// Asks for a file; what it is has come when this returns, its bytes have not.
    pub async fn fetch(&self, url: &str) -> Result<Download> {
        let until = Instant::now() + TOTAL;
        let mut url = self.source_reach.check("url", url)?;
        for _ in 0..=REDIRECTS {
            let request = self.sources.get(url.clone()).header(ACCEPT, "*/*").header(ACCEPT_ENCODING, "identity");
            let answered = timeout(STALL, request.send()).await.map_err(|_| stalled())?;
            let response = answered.map_err(|error| unreached(&url, error))?;
            if let Some(next) = next_of(&url, &response)? {
                url = self.source_reach.check("the URL that url redirects to", next.as_str())?;
                continue;
            }
            check_status(response.status())?;
            let name = name_in(response.headers()).or_else(|| name_of(&url));
            return Ok(Download { total: response.content_length(), name, response, until });
        }
        Err(Error::invalid(format!("url redirects more than {REDIRECTS} times")))
    }
}

impl Download {
    /// The next bytes, or none after the last.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let hours = TOTAL.as_secs() / 3600;
            return Err(Error::invalid(format!("the source took longer than {hours} hours")));
        }
        let read = timeout(left.min(STALL), self.response.chunk()).await.map_err(|_| stalled())?;
        read.map_err(|error| Error::unavailable("the source broke off").because(error.without_url()))
    }
}

/// Where the answer sends us, if it does.
fn next_of(url: &Url, response: &Response) -> Result<Option<Url>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let wrong = || Error::invalid("url redirects to nowhere");
    let next = response.headers().get(LOCATION).and_then(|v| v.to_str().ok()).ok_or_else(wrong)?;
    url.join(next).map(Some).map_err(|_| wrong())
}

fn check_status(status: StatusCode) -> Result<()> {
    let message = format!("the source answered with {status}");
    match status.as_u16() {
        200 | 203 => Ok(()),
        408 | 425 | 429 | 500.. => Err(Error::unavailable(message)),
        _ => Err(Error::invalid(message)),
    }
}

fn stalled() -> Error {
    Error::unavailable(format!("the source sent nothing for {} s", STALL.as_secs()))
}

/// What the resolver refused is the client's mistake, all else may pass. The URL may hold secrets and is not told.
fn unreached(url: &Url, error: reqwest::Error) -> Error {
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(found) = cause {
        if let Some(ours) = found.downcast_ref::<Error>() {
            return Error::new(ours.kind, ours.message.clone());
        }
        cause = found.source();
    }
    let host = url.host_str().unwrap_or("the source").to_owned();
    Error::unavailable(format!("{host} could not be reached")).because(error.without_url())
}

/// By Content-Disposition: `filename*` (UTF-8) before `filename`.
fn name_in(headers: &HeaderMap) -> Option<String> {
    let value = String::from_utf8_lossy(headers.get(CONTENT_DISPOSITION)?.as_bytes()).into_owned();
    let parts = || value.split(';').filter_map(|part| part.trim().split_once('='));
    let of = |key: &str| parts().find(|(k, _)| k.trim().eq_ignore_ascii_case(key)).map(|(_, v)| v.trim());
    let extended = of("filename*").and_then(|v| v.rsplit_once('\'')).map(|(_, name)| decoded(name));
    extended.or_else(|| of("filename").map(|v| v.trim_matches('"').to_owned())).filter(|name| !name.is_empty())
}

/// The last part of the path.
fn name_of(url: &Url) -> Option<String> {
    url.path_segments()?.next_back().map(decoded).filter(|name| !name.is_empty())
}

/// Percent signs undone.
fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.filter(|_| *first == b'%').and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &tail[2..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::reach::Reach;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Answers each request with the next of `answers`, on loopback, which is all that the client of the test may reach.
    async fn asked(answers: Vec<String>) -> Result<Download> {
        let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://localhost:{}/x", door.local_addr().unwrap().port());
        tokio::spawn(async move {
            for answer in answers {
                let (mut line, _) = door.accept().await.unwrap();
                assert!(line.read(&mut [0; 4096]).await.unwrap() > 0);
                let answer = format!("HTTP/1.1 {answer}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
                line.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Outbound::reaching(Reach::LOOPBACK).unwrap().fetch(&url).await
    }

    #[tokio::test]
    async fn each_redirect_is_checked_as_the_url_was() {
        for to in
            ["http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "//192.168.0.1/x", "http://[fd00::1]/"]
        {
            let error = asked(vec![format!("302 Found\r\nlocation: {to}")]).await.unwrap_err();
            assert!(error.message.contains("private address"), "{to}: {error}");
        }
        for to in ["file:///etc/passwd", "gopher://127.0.0.1/", "ftp://127.0.0.1/", "data:,x"] {
            let error = asked(vec![format!("301 Moved\r\nlocation: {to}")]).await.unwrap_err();
            assert!(error.message.contains("must be http or https"), "{to}: {error}");
        }
        let followed = asked(vec!["307 T\r\nlocation: /films/one.mp4".to_owned(), "200 OK".to_owned()]).await.unwrap();
        assert_eq!(followed.name.as_deref(), Some("one.mp4"));
        let error = asked(vec!["302 Found\r\nlocation: /x".to_owned(); REDIRECTS + 1]).await.unwrap_err();
        assert!(error.message.contains("more than 5 times"), "{error}");
        assert!(asked(vec!["302 Found".to_owned()]).await.unwrap_err().message.contains("nowhere"));
        assert!(asked(vec!["404 Not Found".to_owned()]).await.unwrap_err().message.contains("404"));
    }

    #[test]
    fn a_file_is_called_as_its_source_says_else_as_its_url_does() {
        let named = |value: &'static [u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_DISPOSITION, reqwest::header::HeaderValue::from_bytes(value).unwrap());
            name_in(&headers)
        };
        assert_eq!(named(b"attachment; filename=\"a b.mp4\"").as_deref(), Some("a b.mp4"));
        assert_eq!(named(b"attachment; filename=x; filename*=UTF-8''%C3%BC.mp4").as_deref(), Some("ü.mp4"));
        assert_eq!(named(b"inline"), None);
        let of = |url: &str| name_of(&Url::parse(url).unwrap());
        assert_eq!(of("http://a.org/films/one%20two.mp4?token=1").as_deref(), Some("one two.mp4"));
        assert_eq!(of("http://a.org/"), None);
        assert_eq!(decoded("100%"), "100%");
        assert_eq!(decoded("%zz%4"), "%zz%4");
    }
}
