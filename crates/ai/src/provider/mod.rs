//! A provider: an OpenAI-compatible endpoint by base URL, key and model. Here is what every call needs: the address, the key, a time-out,
//! retries with back-off, and a cap on how many run at once. What a call says lives beside, one file per capability (`transcribe.rs`, `complete.rs`, `embed.rs`).
//! The key is sent in a header and appears nowhere else.

mod complete;
mod embed;
mod form;
mod relay;
mod transcribe;

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use serde_json::Value;
use tokio::sync::Semaphore;
use vitascope_model::error::Context;
use vitascope_model::{Error, Result};

pub use complete::{Completion, Message, Role, Style};
pub use relay::Relayed;
pub(crate) use transcribe::Habits;
pub use transcribe::{Transcript, TranscriptWord};

/// Before the second try; it doubles for each one after.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// However long a provider asks us to wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A host that does not answer at all is given up sooner than one that is at work.
const CONNECT: Duration = Duration::from_secs(5);
/// More than any answer to what we ask.
const LARGEST_ANSWER: usize = 16 << 20;
/// As much of a refusal as is worth a line in the log.
const LONGEST_REASON: usize = 300;

#[derive(Clone)]
pub struct ProviderConfig {
    /// The base URL, such as `https://host/v1`, without a slash at the end.
    pub url: String,
    pub key: Option<String>,
    pub model: String,
    /// For one try.
    pub timeout: Duration,
    pub tries: u32,
    /// Calls that run at once; the others wait.
    pub at_once: usize,
}

impl ProviderConfig {
    pub fn new(url: &str, key: Option<String>, model: &str) -> Result<ProviderConfig> {
        let parsed = reqwest::Url::parse(url).invalid(format_args!("{url:?} is no URL"))?;
        if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
            return Err(Error::invalid(format!("{url:?} is no http(s) URL")));
        }
        let url = url.trim_end_matches('/').to_owned();
        let timeout = Duration::from_secs(30);
        Ok(ProviderConfig { url, key, model: model.to_owned(), timeout, tries: 3, at_once: 4 })
    }
}

impl fmt::Debug for ProviderConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_ref().map(|_| "…");
        f.debug_struct("ProviderConfig").field("url", &self.url).field("key", &key).field("model", &self.model).finish()
    }
}

pub struct Provider {
    config: ProviderConfig,
    client: reqwest::Client,
    slots: Semaphore,
}

/// Why a call came to nothing, after all tries.
#[derive(Debug)]
struct Refusal {
    /// None if there was no answer.
    status: Option<u16>,
    reason: String,
    retry_after: Option<Duration>,
}

impl Refusal {
    fn silent(error: reqwest::Error) -> Refusal {
        // The URL is ours and known; without it the line is short.
        Refusal { status: None, reason: chain(&error.without_url()), retry_after: None }
    }

    /// Whether another try may end otherwise.
    fn may_pass(&self) -> bool {
        self.status.is_none_or(|s| matches!(s, 408 | 409 | 425 | 429) || s >= 500)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal.status {
            Some(status) => Error::unavailable(format!("the provider answered {status}: {}", refusal.reason)),
            None => Error::unavailable(format!("the provider gave no answer: {}", refusal.reason)),
        }
    }
}

impl Provider {
    pub fn new(config: ProviderConfig) -> Result<Provider> {
        // Whoever made a client before us in this process has installed it.
        let _installed_before = rustls::crypto::ring::default_provider().install_default().is_err();
        let client = reqwest::Client::builder()
            .timeout(config.timeout)
            .connect_timeout(CONNECT.min(config.timeout))
            // A redirect would carry the key elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .internal("make the provider's HTTP client")?;
        let slots = Semaphore::new(config.at_once.max(1));
        Ok(Provider { config, client, slots })
    }

    pub fn config(&self) -> &ProviderConfig {
        &self.config
    }

    /// Posts to `{base}/{path}` until there is an answer in JSON, the tries are used up or the refusal is for good.
    async fn post(&self, path: &str, kind: &str, body: Bytes) -> Result<Value, Refusal> {
        // Never closed, so there is nothing to fail.
        let _slot = self.slots.acquire().await.ok();
        let (mut pause, mut tried) = (FIRST_PAUSE, 1);
        loop {
            let refusal = match self.post_once(path, kind, body.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(refusal) => refusal,
            };
            if tried >= self.config.tries || !refusal.may_pass() {
                return Err(refusal);
            }
            tracing::debug!(provider = %self.config.url, status = refusal.status, reason = %refusal.reason, tried, "a provider is asked again");
            tokio::time::sleep(refusal.retry_after.unwrap_or(pause).min(LONGEST_PAUSE)).await;
            (pause, tried) = (pause * 2, tried + 1);
        }
    }

    async fn post_once(&self, path: &str, kind: &str, body: Bytes) -> Result<Value, Refusal> {
        let mut request = self.client.post(format!("{}/{path}", self.config.url)).header(CONTENT_TYPE, kind).body(body);
        if let Some(key) = &self.config.key {
            request = request.bearer_auth(key);
        }
        let mut response = request.send().await.map_err(Refusal::silent)?;
        let status = response.status();
        let wait = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse().ok());
        let mut answer = BytesMut::new();
        while let Some(piece) = response.chunk().await.map_err(Refusal::silent)? {
            answer.extend_from_slice(&piece);
            if answer.len() > LARGEST_ANSWER {
                return Err(Refusal { status: Some(413), reason: "the answer is too long".into(), retry_after: None });
            }
        }
        let refused = |reason: String| Refusal {
            status: Some(status.as_u16()),
            reason,
            retry_after: wait.map(Duration::from_secs),
        };
        if !status.is_success() {
            let text = String::from_utf8_lossy(&answer);
            return Err(refused(
                text.chars().take(LONGEST_REASON).map(|c| if c.is_control() { ' ' } else { c }).collect(),
            ));
        }
        serde_json::from_slice(&answer).map_err(|_| refused("the answer is no JSON".into()))
    }
}

/// What went wrong and why, in one line: the outer error alone says no more than "error sending request".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(cause) = inner {
        text = format!("{text}: {cause}");
        inner = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_read_and_the_key_is_not_shown() {
        let config = ProviderConfig::new("https://host/v1/", Some("sk-secret".into()), "m").unwrap();
        assert_eq!(config.url, "https://host/v1");
        assert!(!format!("{config:?}").contains("secret"));
        for wrong in ["host/v1", "ftp://host", "", "http://"] {
            assert!(ProviderConfig::new(wrong, None, "m").is_err(), "{wrong}");
        }
    }
}
