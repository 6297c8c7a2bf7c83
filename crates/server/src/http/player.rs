//! The pages of the player, and the files they need: everything is in the binary, nothing comes from anywhere else.

use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use vitascope_model::Error;

use super::error::ApiError;
use super::extract::Query;
use super::router::Routes;
use crate::app::{App, stream};

const WATCH: &str = include_str!("../../../../console/watch.html");
const HLS_JS: &str = include_str!("../../../../console/vendor/hls.min.js");

pub(super) fn routes() -> Routes {
    Routes::new().open("/watch", watch).open("/embed", watch).open("/console/{file}", asset)
}

#[derive(Deserialize)]
struct WatchQuery {
    v: Option<String>,
}

async fn watch(State(app): State<App>, Query(query): Query<WatchQuery>) -> Result<Response, ApiError> {
    let found = match &query.v {
        Some(id) => app.store.find_stream(id).await?,
        None => None,
    };
    let found = found.ok_or_else(|| Error::not_found("the stream"))?;
    let title = escape(found.title.as_deref().unwrap_or("Vitascope"));
    let page = WATCH.replace("{{title}}", &title).replace("{{stream_url}}", &escape(&stream::playlist_path(&found)));
    Ok(Html(page).into_response())
}

async fn asset(Path(file): Path<String>) -> Result<Response, ApiError> {
    match file.as_str() {
        "hls.min.js" => {
            let headers = [(CONTENT_TYPE, "text/javascript; charset=utf-8"), (CACHE_CONTROL, "public, max-age=86400")];
            Ok((headers, HLS_JS).into_response())
        }
        _ => Err(Error::not_found(format_args!("console file {file}")).into()),
    }
}

/// For text and for attribute values alike.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_cannot_become_markup() {
        assert_eq!(escape("<b a=\"1\">'&"), "&lt;b a=&quot;1&quot;&gt;&#39;&amp;");
    }
}
