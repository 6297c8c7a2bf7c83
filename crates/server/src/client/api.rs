//! Talking to the server: requests with the key, the envelope of answers undone, slow answers waited for, and errors in words that a
//! person at a terminal can act on. It is a client of its own, since it may go wherever its user points it, unlike those of `outbound`.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::{Value, json};
use tokio::time::sleep;
use vitascope_model::error::Context;
use vitascope_model::{Error, ErrorKind, Result};

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The server holds an answer for 20 s at most.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// While a job runs, the server may be away for so many questions: jobs survive its restart.
const AWAY_FOR: u32 = 30;
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Is told of a job that has to be waited for: its id and how far it is, in percent.
pub(super) type Heard<'a> = &'a (dyn Fn(&str, u64) + Sync);

#[derive(Clone, Debug)]
pub(super) struct Api {
    client: Client,
    server: Url,
    key: String,
}

impl Api {
    pub(super) fn new(server: &str, key: &str) -> Result<Api> {
        let wrong =
            || Error::invalid(format!("{server:?} is no URL of a server: it must begin with http:// or https://"));
        let server = Url::parse(server.trim_end_matches('/')).map_err(|_| wrong())?;
        if !matches!(server.scheme(), "http" | "https") || server.host_str().is_none() {
            return Err(wrong());
        }
        // Another part of this process may have installed it before.
        let _installed_before = rustls::crypto::ring::default_provider().install_default().is_err();
        let builder =
            || Client::builder().no_proxy().connect_timeout(CONNECT_WITHIN).redirect(reqwest::redirect::Policy::none());
        // A machine without certificates can still talk to a server without TLS.
        let client = builder().build().or_else(|_| builder().tls_certs_only([]).build());
        Ok(Api { client: client.internal("make an HTTP client")?, server, key: key.to_owned() })
    }

    pub(super) fn server(&self) -> &str {
        self.server.as_str()
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Words become parts of a path, whatever is in them.
    fn url(&self, path: &[&str]) -> Result<Url> {
        let mut url = self.server.clone();
        let mut parts = url.path_segments_mut().map_err(|()| Error::internal("a URL of http has a path"))?;
        parts.pop_if_empty().extend(path);
        drop(parts);
        Ok(url)
    }

    pub(super) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value> {
        let mut url = self.url(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.answer(self.request(Method::GET, url), &|_, _| {}).await
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.client.request(method, url).header("x-access-token", &self.key);
        request.header("x-videodb-client", concat!("vitascope/", env!("CARGO_PKG_VERSION")))
    }

    pub(super) async fn post(&self, path: &[&str], body: Value, heard: Heard<'_>) -> Result<Value> {
        self.answer(self.request(Method::POST, self.url(path)?).json(&body), heard).await
    }

    /// A POST that says all in its headers.
    pub(super) fn post_to(&self, path: &[&str]) -> Result<RequestBuilder> {
        Ok(self.request(Method::POST, self.url(path)?))
    }

    /// For a URL that the server gave out, which opens without the key.
    pub(super) fn at(&self, method: Method, url: &str) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// The end of a job that was begun before.
    pub(super) async fn wait_for(&self, job: &str, heard: Heard<'_>) -> Result<Value> {
        self.answer(self.request(Method::GET, self.url(&["async-response", job])?), heard).await
    }

    /// The `data` of an answer; where a job has to be waited for, of its end.
    async fn answer(&self, request: RequestBuilder, heard: Heard<'_>) -> Result<Value> {
        let mut body = self.body(request).await?;
        let mut away = 0;
        while body["status"] == "processing" {
            let id = body["data"]["id"].as_str().ok_or_else(|| odd("a job without an id"))?.to_owned();
            heard(&id, body["data"]["percentage"].as_u64().unwrap_or(0));
            match self.body(self.request(Method::GET, self.url(&["async-response", &id])?)).await {
                Ok(next) => (body, away) = (next, 0),
                Err(error) if error.kind == ErrorKind::Unavailable && away < AWAY_FOR => {
                    away += 1;
                    sleep(ASK_AGAIN).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(body["data"].take())
    }

    async fn body(&self, request: RequestBuilder) -> Result<Value> {
        let response = request.timeout(ANSWER_WITHIN).send().await.map_err(|e| self.unreached(e))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(redirected(&response));
        }
        let body: Value = match response.json().await {
            Ok(body) => body,
            Err(_) if !status.is_success() => json!({}),
            Err(error) => return Err(odd("an answer that is no JSON").because(error.without_url())),
        };
        if !status.is_success() || body["success"] == Value::Bool(false) {
            return Err(refusal(status, body["message"].as_str().unwrap_or_default()));
        }
        Ok(body)
    }

    pub(super) fn unreached(&self, error: reqwest::Error) -> Error {
        let what = if error.is_timeout() { "does not answer" } else { "cannot be reached; does it run there?" };
        let server = self.server.as_str().trim_end_matches('/');
        Error::unavailable(format!("the server at {server} {what} (--server or VITASCOPE_SERVER say where it is)"))
            .because(error.without_url())
    }
}

fn odd(what: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("the server gave {what}; is it a Vitascope server?"))
}

fn redirected(response: &Response) -> Error {
    let to = response.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or("somewhere else");
    Error::invalid(format!("the server sends us to {to}: give the right address with --server"))
}

/// In the server's words. A job that failed comes with 200.
pub(super) fn refusal(status: StatusCode, message: &str) -> Error {
    let code = status.as_u16();
    let message = match message {
        "" => format!("the server refused without a reason (HTTP {code})"),
        said => said.to_owned(),
    };
    match code {
        401 => Error::unauthenticated(format!("the key was refused: {message}")),
        403 => Error::denied(message),
        404 => Error::new(ErrorKind::NotFound, message),
        409 => Error::conflict(message),
        410 => Error::gone(message),
        501 => Error::new(ErrorKind::Unimplemented, message),
        507 => Error::new(ErrorKind::StorageFull, message),
        429 | 502.. => Error::unavailable(message),
        500 => Error::internal(message),
        _ => Error::invalid(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_leave_its_place_in_a_path() {
        let api = Api::new("http://127.0.0.1:1/base/", "sk-1").unwrap();
        let url = api.url(&["video", "../user/api_key?x=1#y"]).unwrap();
        assert_eq!(url.as_str(), "http://127.0.0.1:1/base/video/..%2Fuser%2Fapi_key%3Fx=1%23y");
        assert_eq!(Api::new("http://h:8484", "k").unwrap().url(&["video"]).unwrap().as_str(), "http://h:8484/video");
    }

    #[test]
    fn what_is_no_server_is_said() {
        for wrong in ["127.0.0.1:8484", "ftp://a.org", "nowhere", ""] {
            assert!(Api::new(wrong, "k").unwrap_err().message.contains("no URL of a server"), "{wrong}");
        }
    }

    #[test]
    fn a_refusal_keeps_the_servers_words() {
        let refused = |code: u16, message| refusal(StatusCode::from_u16(code).unwrap(), message);
        assert_eq!(refused(404, "video m-1 was not found").to_string(), "video m-1 was not found");
        assert_eq!(refused(401, "unknown").kind, ErrorKind::Unauthenticated);
        assert_eq!(refused(503, "").message, "the server refused without a reason (HTTP 503)");
        assert_eq!(refused(200, "the job failed").kind, ErrorKind::InvalidArgument);
    }
}
