//! All routes in one router, and what every request goes through: paths are made canonical before routing, each request has an id,
//! is logged and counted. No redirects: both SDKs turn a redirected POST into a GET.

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::handler::Handler;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use tokio::net::TcpListener;
use tower::Layer;
use tower::util::MapRequestLayer;
use tracing::Instrument;
use vitascope_model::error::Context;
use vitascope_model::{Error, Result};

use super::door::{Door, WireEnd};
use super::error::ApiError;
use super::expiring::expire;
use super::guard::guard;
use crate::app::App;
use crate::random;

/// Routes with their patterns kept beside them, for the tests that walk over all of them. They are behind the guard, but for those
/// that are declared open.
#[derive(Default)]
pub(super) struct Routes {
    guarded: Router<App>,
    open: Router<App>,
    list: Vec<Operation>,
    open_list: Vec<Operation>,
}

impl Routes {
    pub(super) fn new() -> Routes {
        Routes::default()
    }

    fn add(mut self, method: &'static str, path: &'static str, handler: MethodRouter<App>) -> Routes {
        self.guarded = self.guarded.route(path, handler);
        self.list.push((method, path));
        self
    }

    /// A GET that asks for no key: pages, and what is played or connected to by who knows its secret.
    pub(super) fn open<H: Handler<T, App>, T: 'static>(mut self, path: &'static str, handler: H) -> Routes {
        self.open = self.open.route(path, get(handler));
        self.list.push(("GET", path));
        self.open_list.push(("GET", path));
        self
    }

    /// Another method that asks for no key: its path is a secret that was given to who had one.
    pub(super) fn open_on(mut self, method: &'static str, path: &'static str, handler: MethodRouter<App>) -> Routes {
        self.open = self.open.route(path, handler);
        self.list.push((method, path));
        self.open_list.push((method, path));
        self
    }

    pub(super) fn get<H: Handler<T, App>, T: 'static>(self, path: &'static str, handler: H) -> Routes {
        self.add("GET", path, get(handler))
    }

    pub(super) fn post<H: Handler<T, App>, T: 'static>(self, path: &'static str, handler: H) -> Routes {
        self.add("POST", path, post(handler))
    }

    pub(super) fn put<H: Handler<T, App>, T: 'static>(self, path: &'static str, handler: H) -> Routes {
        self.add("PUT", path, put(handler))
    }

    pub(super) fn patch<H: Handler<T, App>, T: 'static>(self, path: &'static str, handler: H) -> Routes {
        self.add("PATCH", path, patch(handler))
    }

    pub(super) fn delete<H: Handler<T, App>, T: 'static>(self, path: &'static str, handler: H) -> Routes {
        self.add("DELETE", path, delete(handler))
    }

    fn merge(mut self, other: Routes) -> Routes {
        self.guarded = self.guarded.merge(other.guarded);
        self.open = self.open.merge(other.open);
        self.list.extend(other.list);
        self.open_list.extend(other.open_list);
        self
    }
}

fn built() -> Routes {
    Routes::new()
        .merge(super::health::routes())
        .merge(super::user::routes())
        .merge(super::collection::routes())
        .merge(super::capture::routes())
        .merge(super::capture_media::routes())
        .merge(super::capture_page::routes())
        .merge(super::websocket::routes())
        .merge(super::rtstream::routes())
        .merge(super::transcription::routes())
        .merge(super::live_index::routes())
        .merge(super::export::routes())
        .merge(super::video::routes())
        .merge(super::audio::routes())
        .merge(super::asset::routes())
        .merge(super::asset_transcript::routes())
        .merge(super::image::routes())
        .merge(super::thumbnail::routes())
        .merge(super::upload::routes())
        .merge(super::index::routes())
        .merge(super::ingest::routes())
        .merge(super::search::routes())
        .merge(super::language::routes())
        .merge(super::speech::routes())
        .merge(super::compile::routes())
        .merge(super::tus::routes())
        .merge(super::async_response::routes())
        .merge(super::playback::routes())
        .merge(super::player::routes())
        .merge(super::webhook::routes())
        .merge(super::billing::routes())
        .merge(super::download::routes())
        .merge(super::transcode::routes())
}

/// Method and pattern of a route.
pub type Operation = (&'static str, &'static str);

/// Every route that is built, and every operation that answers 501.
pub struct RouteList {
    pub built: Vec<Operation>,
    /// Those of the built ones that ask for no key.
    pub open: Vec<Operation>,
    pub unbuilt: &'static [Operation],
}

pub fn route_list() -> RouteList {
    let built = built();
    RouteList { built: built.list, open: built.open_list, unbuilt: super::unbuilt::OPERATIONS }
}

fn router(app: App) -> Router {
    let Routes { guarded, open, .. } = built();
    let guarded = guarded.merge(super::unbuilt::router()).route_layer(from_fn_with_state(app.clone(), expire));
    let guarded = guarded.route_layer(from_fn_with_state(app.clone(), guard));
    let router = guarded.merge(open).fallback(unknown).method_not_allowed_fallback(wrong_method);
    router.layer(from_fn_with_state(app.clone(), observe)).with_state(app)
}

/// Answers requests until shutdown, then finishes those under way.
pub async fn serve(app: App, listener: TcpListener) -> Result<()> {
    let shutdown = app.shutdown.clone();
    let service = MapRequestLayer::new(canonical).layer(router(app));
    let service = axum::ServiceExt::<Request>::into_make_service_with_connect_info::<WireEnd>(service);
    axum::serve(Door(listener), service).with_graceful_shutdown(shutdown.cancelled_owned()).await.internal("serve HTTP")
}

/// compat: `/x/`, `//x` and `/x` are one path. The SDKs send no slash at the end, the published document has one, a base URL may have one.
fn canonical(mut request: Request) -> Request {
    let uri = request.uri();
    let path = uri.path();
    let is_canonical = path == "/" || !(path.contains("//") || path.ends_with('/'));
    if is_canonical {
        return request;
    }
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    let query = uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    let mut parts = uri.clone().into_parts();
    if let Ok(path) = format!("/{}{query}", segments.join("/")).parse::<PathAndQuery>() {
        parts.path_and_query = Some(path);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// An id for the log and the client, a line in the log, a count in the metrics.
async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let id = random::hex(&random::bytes::<8>());
    let route = request.extensions().get::<MatchedPath>().map_or("(none)", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let began = app.now();
    let span = tracing::info_span!("request", request.id = %id, %method, route);
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, took) = (response.status().as_u16(), (app.now() - began).to_duration());
    app.metrics.request(method.as_str(), &route, status, took);
    // Secrets may stand in a path (a key, a stream): the pattern is logged, not the path.
    span.in_scope(|| tracing::debug!(status, duration_ms = took.as_millis() as u64, "answered"));
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}

async fn unknown(request: Request) -> Response {
    ApiError(Error::not_found(format_args!("{} {}", request.method(), request.uri().path()))).into_response()
}

async fn wrong_method(request: Request) -> Response {
    let mut response =
        ApiError(Error::invalid(format!("{} is not a method of this path", request.method()))).into_response();
    *response.status_mut() = axum::http::StatusCode::METHOD_NOT_ALLOWED;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_do_not_matter_and_queries_stay() {
        for (sent, wanted) in [
            ("/collection/c-1/", "/collection/c-1"),
            ("//collection//c-1?a=1//2", "/collection/c-1?a=1//2"),
            ("/", "/"),
            ("//", "/"),
            ("/video", "/video"),
        ] {
            let request = Request::builder().uri(sent).body(axum::body::Body::empty()).unwrap();
            assert_eq!(canonical(request).uri().to_string(), wanted, "{sent}");
        }
    }

    #[test]
    fn no_operation_is_both_built_and_unbuilt() {
        let RouteList { built, unbuilt, .. } = route_list();
        let all: std::collections::HashSet<_> = built.iter().chain(unbuilt).collect();
        assert_eq!(all.len(), built.len() + unbuilt.len());
        // Merging panics on a conflict of patterns.
        drop(built_and_unbuilt());
    }

    fn built_and_unbuilt() -> Router<App> {
        let Routes { guarded, open, .. } = super::built();
        guarded.merge(open).merge(crate::http::unbuilt::router())
    }
}
