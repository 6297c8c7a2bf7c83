//! URLs that expire, on request: `expires_in` in the query of any call that answers with URLs of streams. It is one rule for all of them,
//! so it stands before the handlers and changes what they answer; they know nothing of it.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::Next;
use axum::response::Response;
use serde_json::Value;
use vitascope_model::error::Context;
use vitascope_model::{Error, Span, WallTime};

use super::error::ApiError;
use crate::app::{App, expiry, stream};

/// A year.
const LONGEST: i64 = 31_536_000;
/// The longest list of assets has less.
const MOST_BYTES: usize = 256 << 20;

pub(super) async fn expire(State(app): State<App>, request: Request, next: Next) -> Result<Response, ApiError> {
    let Some(wish) = wish(request.uri().query().unwrap_or_default())? else { return Ok(next.run(request).await) };
    let response = next.run(request).await;
    if !response.status().is_success() {
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    let bytes = to_bytes(body, MOST_BYTES).await.internal("read an answer")?;
    let Ok(mut answer) = serde_json::from_slice::<Value>(&bytes) else {
        return Ok(Response::from_parts(parts, Body::from(bytes)));
    };
    change(&app, &mut answer, app.now() + wish);
    let text = serde_json::to_vec(&answer).internal("word an answer")?;
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    Ok(Response::from_parts(parts, Body::from(text)))
}

fn wish(query: &str) -> Result<Option<Span>, Error> {
    if !query.contains("expires_in") {
        return Ok(None);
    }
    let wrong = || Error::invalid(format!("expires_in must be a whole number of seconds from 1 to {LONGEST}"));
    let mut given = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "expires_in");
    let Some((_, text)) = given.next().filter(|(_, text)| !text.is_empty()) else { return Ok(None) };
    let seconds = text.parse().ok().filter(|s| (1..=LONGEST).contains(s)).ok_or_else(wrong)?;
    Ok(Some(Span::seconds(seconds)))
}

/// Every URL of a stream in an answer, wherever it stands.
fn change(app: &App, value: &mut Value, until: WallTime) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| change(app, item, until)),
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                match field {
                    Value::String(url) if name == "stream_url" => replace(app, url, "/streams/", until),
                    Value::String(url) if name == "player_url" => replace(app, url, "/watch?v=", until),
                    other => change(app, other, until),
                }
            }
        }
        _ => {}
    }
}

/// The id that comes after `mark`, up to the next part of the path; in a player's URL with words before it.
fn replace(app: &App, url: &mut String, mark: &str, until: WallTime) {
    let front = app.config.url(mark);
    let Some(rest) = url.strip_prefix(&front) else { return };
    let (named, tail) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let id = stream::id_in_slug(named);
    let words = &named[..named.len() - id.len()];
    if let Some(name) = expiry::name_of(app, id, until) {
        *url = format!("{front}{words}{name}{tail}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_is_said_in_whole_seconds() {
        assert_eq!(wish("").unwrap(), None);
        assert_eq!(wish("a=1&expires_in=").unwrap(), None);
        assert_eq!(wish("my_expires_in=x").unwrap(), None);
        assert_eq!(wish("start=1&expires_in=60").unwrap(), Some(Span::seconds(60)));
        for wrong in ["0", "-1", "1.5", "31536001", "soon"] {
            assert!(
                wish(&format!("expires_in={wrong}")).unwrap_err().message.starts_with("expires_in must"),
                "{wrong}"
            );
        }
    }
}
