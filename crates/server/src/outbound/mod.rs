//! The one way to strangers' URLs: callbacks are posted, sources are fetched (`fetch.rs`). Where they may lead is said in `reach.rs`;
//! no client here follows a redirect by itself, decodes what comes, or goes through a proxy that would resolve names for us.

mod fetch;
mod reach;

use std::sync::Arc;
use std::time::Duration;

use vitascope_model::error::Context;
use vitascope_model::event::Attempt;
use vitascope_model::{Error, Result};

use crate::config::Config;

pub use self::fetch::Download;
use self::reach::{CheckedResolver, Reach};

/// Receivers call back into us before they answer, some for ten seconds a stream.
const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

pub struct Outbound {
    callbacks: reqwest::Client,
    callback_reach: Reach,
    sources: reqwest::Client,
    source_reach: Reach,
}

impl Outbound {
    pub fn new(config: &Config) -> Result<Outbound> {
        Outbound::with(Reach::of_callbacks(config), Reach::of_sources(config))
    }

    fn with(callback_reach: Reach, source_reach: Reach) -> Result<Outbound> {
        // The provider may have been installed before, by another server in the same process (tests).
        let _installed_before = rustls::crypto::ring::default_provider().install_default().is_err();
        let callbacks = client(callback_reach, "callback_url").timeout(TIMEOUT).build();
        let sources = client(source_reach, "url").connect_timeout(CONNECT_WITHIN).build();
        Ok(Outbound {
            callbacks: callbacks.internal("make the client of callbacks")?,
            callback_reach,
            sources: sources.internal("make the client of sources")?,
            source_reach,
        })
    }

    #[cfg(test)]
    fn reaching(sources: Reach) -> Result<Outbound> {
        Outbound::with(sources, sources)
    }

    /// What is wrong with a callback URL, if anything, before it is promised to be called.
    pub fn check(&self, url: &str) -> Result<()> {
        self.callback_reach.check("callback_url", url).map(drop)
    }

    /// Posts JSON text; any 2xx is success.
    pub async fn post_callback(&self, url: &str, headers: &[(&'static str, String)], body: String) -> Attempt {
        if let Err(error) = self.check(url) {
            return Attempt { response_code: None, error: Some(error) };
        }
        let mut request = self.callbacks.post(url).header("content-type", "application/json").body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        match request.send().await.map(|response| response.status()) {
            Ok(status) => {
                let refused = || Error::unavailable(format!("the callback was answered with {status}"));
                let error = (!status.is_success()).then(refused);
                Attempt { response_code: Some(status.as_u16()), error }
            }
            Err(error) => {
                let why = if error.is_timeout() {
                    format!("the callback did not answer within {} s", TIMEOUT.as_secs())
                } else {
                    "the callback could not be reached".to_owned()
                };
                Attempt { response_code: None, error: Some(Error::unavailable(why).because(error)) }
            }
        }
    }
}

fn client(reach: Reach, what: &'static str) -> reqwest::ClientBuilder {
    let resolver = CheckedResolver { reach, what };
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).dns_resolver(Arc::new(resolver)).no_proxy()
}
