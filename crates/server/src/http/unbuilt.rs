//! Operations of the contract that are not built yet: they answer 501 with the envelope instead of pretending.
//! `docs/coverage.md` lists the same; a test holds the two together. A line is deleted here when its handler exists.

use axum::Router;
use axum::routing::{MethodFilter, on};
use vitascope_model::{Error, ErrorKind};

use super::error::ApiError;
use super::extract::Owner;
use super::router::Operation;
use crate::app::App;

pub(super) fn router() -> Router<App> {
    OPERATIONS.iter().fold(Router::new(), |router, (method, path)| {
        let method = match *method {
            "GET" => MethodFilter::GET,
            "POST" => MethodFilter::POST,
            "PUT" => MethodFilter::PUT,
            "PATCH" => MethodFilter::PATCH,
            _ => MethodFilter::DELETE,
        };
        router.route(path, on(method, not_built))
    })
}

async fn not_built(_: Owner) -> ApiError {
    ApiError(Error::new(ErrorKind::Unimplemented, "this operation is not built yet; docs/coverage.md lists what is"))
}

pub(super) const OPERATIONS: &[Operation] = &[
    ("POST", "/collection/{collection}/aggregate"),
    ("POST", "/collection/{collection}/ask"),
    ("POST", "/collection/{collection}/generate/audio"),
    ("POST", "/collection/{collection}/generate/image"),
    ("POST", "/collection/{collection}/generate/video"),
    ("POST", "/collection/{collection}/generate/video/dub"),
    ("POST", "/collection/{collection}/meeting/record"),
    ("GET", "/collection/{collection}/meeting/{meeting}"),
    ("POST", "/collection/{collection}/query"),
    ("POST", "/collection/{collection}/search/title"),
    ("POST", "/collection/{collection}/search/v2"),
    ("POST", "/collection/{collection}/search/web"),
    ("POST", "/collection/{collection}/semantic-search"),
    ("POST", "/collection/{collection}/video/{video}/translate"),
    ("POST", "/editor"),
    ("POST", "/editor/download"),
    ("GET", "/job/{job}"),
    ("POST", "/rtstream"),
    ("POST", "/rtstream/collection/{collection}/search"),
    ("GET", "/rtstream/event"),
    ("POST", "/rtstream/event"),
    ("GET", "/rtstream/{rtstream}/index/{index}/alert"),
    ("POST", "/rtstream/{rtstream}/index/{index}/alert"),
    ("PATCH", "/rtstream/{rtstream}/index/{index}/alert/{alert}/status"),
    ("GET", "/rtstream/{rtstream}/indexes"),
    ("POST", "/rtstream/{rtstream}/indexes"),
    ("GET", "/rtstream/{rtstream}/indexes/{index}"),
    ("GET", "/rtstream/{rtstream}/indexes/{index}/alert"),
    ("POST", "/rtstream/{rtstream}/indexes/{index}/alert"),
    ("PATCH", "/rtstream/{rtstream}/indexes/{index}/alert/{alert}/status"),
    ("GET", "/rtstream/{rtstream}/indexes/{index}/records"),
    ("PATCH", "/rtstream/{rtstream}/indexes/{index}/status"),
    ("POST", "/rtstream/{rtstream}/search"),
    ("GET", "/rtstream/{rtstream}/understand"),
    ("POST", "/rtstream/{rtstream}/understand"),
    ("GET", "/rtstream/{rtstream}/understand/{understanding}"),
    ("GET", "/rtstream/{rtstream}/understand/{understanding}/records"),
    ("PATCH", "/rtstream/{rtstream}/understand/{understanding}/status"),
    ("GET", "/sandbox"),
    ("POST", "/sandbox"),
    ("GET", "/sandbox/{sandbox}"),
    ("POST", "/sandbox/{sandbox}/stop"),
    ("POST", "/search"),
    ("POST", "/timeline"),
    ("POST", "/timeline_v2"),
    ("POST", "/timeline_v2/download"),
    ("POST", "/video/{video}/aggregate"),
    ("POST", "/video/{video}/ask"),
    ("POST", "/video/{video}/clip"),
    ("POST", "/video/{video}/frame/{frame}/describe"),
    ("GET", "/video/{video}/index/scene"),
    ("POST", "/video/{video}/index/scene"),
    ("DELETE", "/video/{video}/index/scene/{index}"),
    ("GET", "/video/{video}/index/scene/{index}"),
    ("GET", "/video/{video}/indexes"),
    ("POST", "/video/{video}/indexes"),
    ("DELETE", "/video/{video}/indexes/{index}"),
    ("GET", "/video/{video}/indexes/{index}"),
    ("GET", "/video/{video}/indexes/{index}/records"),
    ("GET", "/video/{video}/meeting"),
    ("POST", "/video/{video}/query"),
    ("POST", "/video/{video}/reframe"),
    ("GET", "/video/{video}/reframe/{reframe}"),
    ("POST", "/video/{video}/scene/{scene}/describe"),
    ("GET", "/video/{video}/scenes"),
    ("POST", "/video/{video}/scenes"),
    ("DELETE", "/video/{video}/scenes/{scene_collection}"),
    ("GET", "/video/{video}/scenes/{scene_collection}"),
    ("PATCH", "/video/{video}/scenes/{scene_collection}"),
    ("POST", "/video/{video}/search/v2"),
    ("POST", "/video/{video}/semantic-search"),
    ("GET", "/video/{video}/understand"),
    ("POST", "/video/{video}/understand"),
    ("DELETE", "/video/{video}/understand/{understanding}"),
    ("GET", "/video/{video}/understand/{understanding}"),
    ("GET", "/video/{video}/understand/{understanding}/analyzers/{analyzer}/output"),
    ("POST", "/video/{video}/workflow"),
    ("GET", "/voice_clone"),
    ("POST", "/voice_clone"),
    ("DELETE", "/voice_clone/{voice_clone}"),
    ("GET", "/voice_clone/{voice_clone}"),
];
