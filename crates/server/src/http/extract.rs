//! What a handler may ask of a request: who calls, the body, the query. Parsing is tolerant where the SDKs are loose,
//! and each tolerance is named `compat`.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use vitascope_model::account::Scope;
use vitascope_model::collection::Collection;
use vitascope_model::id::{ConnectionId, UserId};
use vitascope_model::{Error, Result};

use super::error::ApiError;
use crate::app::account::{Caller, Pass};
use crate::app::{App, collection};

/// The largest JSON body; timelines of an editor reach megabytes.
const MAX_BODY: usize = 10 << 20;

/// A name for people; a device's is far shorter.
const LONGEST_NAME: usize = 200;

/// The holder of an API key, and what it opens.
pub(super) struct Owner(pub(super) Scope);

/// The holder of an API key that opens the whole account.
pub(super) struct WholeOwner(pub(super) UserId);

/// The holder of an API key or of a client token.
pub(super) struct Anyone(pub(super) Caller);

impl FromRequestParts<App> for Anyone {
    type Rejection = ApiError;

    /// The guard put it there before any handler was asked.
    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Caller>().cloned();
        Ok(Anyone(caller.ok_or_else(|| Error::internal("an open route asks who calls"))?))
    }
}

impl FromRequestParts<App> for Owner {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Anyone(caller) = Anyone::from_request_parts(parts, app).await?;
        match caller.pass {
            Pass::Key(_) => Ok(Owner(caller.scope)),
            Pass::Token(_) => {
                Err(Error::denied("a client token may only start, read and stop a capture session").into())
            }
        }
    }
}

impl FromRequestParts<App> for WholeOwner {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Owner(scope) = Owner::from_request_parts(parts, app).await?;
        if !scope.is_whole() {
            return Err(Error::denied("this API key is bound to some collections: it may not touch the account").into());
        }
        Ok(WholeOwner(scope.user().clone()))
    }
}

/// compat: the SDKs send `x-access-token`; OpenAI clients on the same base URL send `Authorization: Bearer`.
pub(super) fn compat_access_token(headers: &HeaderMap) -> Result<&str, Error> {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let bearer =
        || header("authorization")?.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let token = header("x-access-token").or_else(|| bearer().map(|(_, token)| token.trim()));
    token.filter(|t| !t.is_empty()).ok_or_else(|| Error::unauthenticated("an API key is required in x-access-token"))
}

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = ApiError;

    /// compat: the Python SDK sends `Content-Type: application/json` with an empty body, which reads as `{}`.
    async fn from_request(request: Request, _: &App) -> Result<Self, ApiError> {
        let read = axum::body::to_bytes(request.into_body(), MAX_BODY).await;
        let bytes =
            read.map_err(|_| Error::invalid(format!("the body is larger than {MAX_BODY} bytes or broke off")))?;
        let text = if bytes.trim_ascii().is_empty() { &b"{}"[..] } else { &bytes[..] };
        let parsed = serde_json::from_slice(text)
            .map_err(|e| Error::invalid(format!("the body is not what this call takes: {e}")))?;
        Ok(Body(parsed))
    }
}

/// A whole number in a body. compat: JavaScript and Python write 600 and 600.0 alike.
pub(super) struct Whole(pub(super) i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        let whole = number.as_i64().or_else(|| {
            // Up to 2^53 a float holds every whole number exactly.
            number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 9_007_199_254_740_992.0).map(|n| n as i64)
        });
        whole.map(Whole).ok_or_else(|| serde::de::Error::custom(format!("{number} is not a whole number")))
    }
}

/// A key that stands there, if only as null: told apart from one that does not (with `default`).
pub(super) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

/// A name that people read, if one is given.
pub(super) fn check_name(name: Option<&String>) -> Result<(), Error> {
    if name.is_some_and(|n| n.trim().is_empty() || n.chars().count() > LONGEST_NAME) {
        return Err(Error::invalid(format!("name must have 1 to {LONGEST_NAME} characters")));
    }
    Ok(())
}

/// The query string.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        let parsed = axum::extract::Query::try_from_uri(&parts.uri);
        let axum::extract::Query(query) =
            parsed.map_err(|e| Error::invalid(format!("the query cannot be read: {}", e.body_text())))?;
        Ok(Query(query))
    }
}

/// The collection that a path names; `default` is the caller's own.
pub(super) async fn collection_of(app: &App, scope: &Scope, name: &str) -> Result<Collection, Error> {
    collection::named(app, scope, name).await
}

/// compat: an unset callback comes as null or as "".
pub(super) fn compat_callback(app: &App, url: Option<String>) -> Result<Option<String>, Error> {
    let url = url.filter(|u| !u.trim().is_empty());
    if let Some(url) = &url {
        app.outbound.check(url)?;
    }
    Ok(url)
}

/// compat: an unset connection comes as null or as ""; one that is long gone is no error, since nothing can be told to it.
pub(super) fn compat_connection(id: Option<String>) -> Option<ConnectionId> {
    id.and_then(|id| id.parse().ok())
}
