//! The three calls that a recorder makes to the server, with the session's token: start, look, stop; and the two of who records by
//! hand: making a session, and asking what became of it. Nothing is decided here.

use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vitascope_model::error::Context;
use vitascope_model::{Error, ErrorKind, Result};

const PATIENCE: Duration = Duration::from_secs(10);

/// A client for all sessions of this process.
pub(crate) fn client() -> Result<Client> {
    let builder = || Client::builder().no_proxy().connect_timeout(PATIENCE).timeout(PATIENCE);
    // A machine without certificates can still talk to a server without TLS.
    builder().build().or_else(|_| builder().tls_certs_only([]).build()).internal("make an HTTP client")
}

/// The server, as one session sees it.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub client: Client,
    /// Without a slash at its end.
    pub base: String,
    pub token: String,
    pub session_id: String,
}

/// A channel as it is announced.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Announced {
    pub channel_id: String,
    pub channel_name: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub store: bool,
    pub is_primary: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcript: Option<bool>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Start<'a> {
    pub session_id: &'a str,
    pub channels: &'a [Announced],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_video_channel_id: Option<&'a str>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Look {
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub channels: Vec<Place>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Place {
    pub channel_id: String,
    pub rtsp_url: Option<String>,
}

/// What an application would read of its session.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Outcome {
    pub status: String,
    pub exported_video_id: Option<String>,
    pub player_url: Option<String>,
    pub stream_url: Option<String>,
    pub error: Option<Value>,
}

impl Api {
    /// Makes a session, which takes an API key.
    pub(crate) async fn create(client: Client, base: &str, key: &str, name: &str) -> Result<Api> {
        let mut api = Api::of(client, base, key, "");
        let body = json!({ "end_user_id": name, "metadata": { "name": name } });
        let made = api.call(Method::POST, "/collection/default/capture/session", Some(body)).await?;
        let id = made["session_id"].as_str();
        api.session_id = id.ok_or_else(|| Error::unavailable("the server made a session without an id"))?.to_owned();
        Ok(api)
    }

    pub(crate) fn of(client: Client, base: &str, token: &str, session_id: &str) -> Api {
        let base = base.trim_end_matches('/').to_owned();
        Api { client, base, token: token.to_owned(), session_id: session_id.to_owned() }
    }

    pub(crate) async fn outcome(&self) -> Result<Outcome> {
        let path = format!("/collection/default/capture/session/{}", self.session_id);
        let seen = self.call(Method::GET, &path, None).await?;
        serde_json::from_value(seen).internal("read the session that the server describes")
    }

    pub(crate) async fn start(&self, body: &Start<'_>) -> Result<()> {
        let body = serde_json::to_value(body).internal("write a request")?;
        self.call(Method::POST, "/capture/session/start", Some(body)).await.map(|_| ())
    }

    pub(crate) async fn look(&self) -> Result<Look> {
        let seen = self.call(Method::GET, &format!("/capture/session/{}", self.session_id), None).await?;
        serde_json::from_value(seen).internal("read the session that the server describes")
    }

    pub(crate) async fn stop(&self) -> Result<()> {
        let path = format!("/capture/session/{}/stop", self.session_id);
        self.call(Method::POST, &path, Some(Value::Object(Default::default()))).await.map(|_| ())
    }

    /// The `data` of the answer.
    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let url = format!("{}{path}", self.base);
        let mut request = self.client.request(method, &url).header("x-access-token", &self.token);
        request = request.header("x-videodb-client", concat!("vitascope-capture/", env!("CARGO_PKG_VERSION")));
        if let Some(body) = &body {
            request = request.json(body);
        }
        let unreachable = |e: reqwest::Error| Error::unavailable(format!("{url} cannot be reached")).because(e);
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let mut answer: Value = match response.json().await {
            Ok(answer) => answer,
            Err(_) if !status.is_success() => Value::Null,
            Err(error) => return Err(Error::unavailable(format!("{url} does not speak our language")).because(error)),
        };
        if !status.is_success() || answer["success"] == Value::Bool(false) {
            return Err(refusal(status, answer["message"].as_str().unwrap_or_default()));
        }
        Ok(answer["data"].take())
    }
}

fn refusal(status: StatusCode, message: &str) -> Error {
    let kind = match status.as_u16() {
        401 | 403 => ErrorKind::Unauthenticated,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        500.. => ErrorKind::Unavailable,
        _ => ErrorKind::InvalidArgument,
    };
    let message = if message.is_empty() { "the server gives no reason" } else { message };
    Error::new(kind, format!("{message} (HTTP {})", status.as_u16()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_the_servers_words() {
        let error = refusal(StatusCode::UNAUTHORIZED, "token expired");
        assert_eq!((error.kind, error.to_string().as_str()), (ErrorKind::Unauthenticated, "token expired (HTTP 401)"));
    }

    #[test]
    fn an_announcement_has_the_fields_of_the_call() {
        let channel = Announced {
            channel_id: "mic:default".to_owned(),
            channel_name: "Mic".to_owned(),
            kind: "audio",
            store: false,
            is_primary: false,
            record: None,
            transcript: None,
        };
        let start = Start { session_id: "cap-1", channels: &[channel], primary_video_channel_id: None };
        assert_eq!(
            serde_json::to_string(&start).unwrap(),
            r#"{"session_id":"cap-1","channels":[{"channel_id":"mic:default","channel_name":"Mic","type":"audio","store":false,"is_primary":false}]}"#
        );
    }
}
