//! The pages of the player, and the files they need: everything is in the binary, nothing comes from anywhere else.

use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use vitascope_model::Error;
use vitascope_model::stream::Piece;

use super::error::ApiError;
use super::extract::Query;
use super::router::Routes;
use crate::app::{App, stream};

const WATCH: &str = include_str!("../../../../console/watch.html");

/// The files that the pages ask for. Those of a library never change under their names; ours may with each version.
const ASSETS: &[(&str, &str, &str, &str)] = &[
    ("hls.min.js", JS, "public, max-age=86400", include_str!("../../../../console/vendor/hls.min.js")),
    ("capture.css", CSS, "no-cache", include_str!("../../../../console/capture.css")),
    ("capture.js", JS, "no-cache", include_str!("../../../../console/capture.js")),
    ("capture_channel.js", JS, "no-cache", include_str!("../../../../console/capture_channel.js")),
    ("capture_ticks.js", JS, "no-cache", include_str!("../../../../console/capture_ticks.js")),
];
const JS: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

pub(super) fn routes() -> Routes {
    Routes::new().open("/watch", watch).open("/embed", watch).open("/console/{file}", asset)
}

#[derive(Deserialize)]
struct WatchQuery {
    v: Option<String>,
}

async fn watch(State(app): State<App>, Query(query): Query<WatchQuery>) -> Result<Response, ApiError> {
    let found = match &query.v {
        Some(v) => app.store.find_stream(stream::id_in_slug(v)).await?,
        None => None,
    };
    let found = found.ok_or_else(|| Error::not_found("the stream"))?;
    if found.is_gone {
        return Err(Error::gone("this recording was deleted").into());
    }
    let title = escape(found.title.as_deref().unwrap_or("Vitascope"));
    let description = escape(found.description.as_deref().unwrap_or_default());
    let kind = if matches!(found.piece, Piece::Live { .. }) { "live" } else { "recording" };
    let page = WATCH.replace("{{stream_url}}", &escape(&stream::playlist_path(&found))).replace("{{kind}}", kind);
    let page = page.replace("{{description}}", &description).replace("{{title}}", &title);
    Ok(Html(page).into_response())
}

async fn asset(Path(file): Path<String>) -> Result<Response, ApiError> {
    let found = ASSETS.iter().find(|(name, ..)| *name == file);
    let (_, kind, keep, text) = found.ok_or_else(|| Error::not_found(format_args!("console file {file}")))?;
    Ok(([(CONTENT_TYPE, *kind), (CACHE_CONTROL, *keep)], *text).into_response())
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
