//! The pages of the player, and the files they need: everything is in the binary, nothing comes from anywhere else.

use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use vitascope_model::Error;
use vitascope_model::capture::MediaKind;
use vitascope_model::stream::{Piece, Stream};

use super::error::ApiError;
use super::extract::Query;
use super::router::Routes;
use crate::app::playback::plan_of;
use crate::app::{App, captions, expiry, stream};

const WATCH: &str = include_str!("../../../../console/watch.html");

/// The files that the pages ask for. Those of a library never change under their names; ours may with each version.
const ASSETS: &[(&str, &str, &str, &str)] = &[
    ("hls.min.js", JS, "public, max-age=86400", include_str!("../../../../console/vendor/hls.min.js")),
    ("watch.css", CSS, "no-cache", include_str!("../../../../console/watch.css")),
    ("watch.js", JS, "no-cache", include_str!("../../../../console/watch.js")),
    ("capture.css", CSS, "no-cache", include_str!("../../../../console/capture.css")),
    ("capture.js", JS, "no-cache", include_str!("../../../../console/capture.js")),
    ("capture_channel.js", JS, "no-cache", include_str!("../../../../console/capture_channel.js")),
    ("capture_ticks.js", JS, "no-cache", include_str!("../../../../console/capture_ticks.js")),
];
/// The browser itself sees to it that nothing comes from anywhere else. Any page may embed it.
const POLICY: &str = "default-src 'self'; \
    img-src 'self' data:; media-src 'self' blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'";
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
    let unknown = || Error::not_found("the stream");
    let name = query.v.as_deref().map(stream::id_in_slug).ok_or_else(unknown)?;
    let found = app.store.find_stream(&expiry::resolve(&app, name)?.stream_id).await?.ok_or_else(unknown)?;
    if found.is_gone {
        return Err(Error::gone("this recording was deleted").into());
    }
    let beside = Beside::of(&app, &found).await?;
    // Under the name that was given: one that expires is not told the id.
    let file = |file: &str| format!("/streams/{name}/{file}");
    let list = stream::playlist_path(&found);
    let playlist = file(list.rsplit('/').next().unwrap_or_default());
    let when = |is_there: bool, text: String| if is_there { text } else { String::new() };
    let captions = format!(r#"<track kind="captions" srclang="en" label="Captions" src="{}">"#, file("captions.vtt"));
    let mut page = WATCH.to_owned();
    for (mark, text) in [
        ("{{stream_url}}", playlist.clone()),
        ("{{kind}}", if beside.is_live { "live" } else { "recording" }.to_owned()),
        ("{{poster}}", when(beside.has_picture, format!(r#" poster="{}""#, file("poster.jpg")))),
        ("{{strip}}", when(beside.has_picture, file("strip.vtt"))),
        ("{{captions}}", when(beside.has_captions, captions)),
        ("{{page_url}}", escape(&app.config.url(&format!("/watch?v={name}")))),
        ("{{embed_url}}", escape(&app.config.url(&format!("/embed?v={name}")))),
        ("{{video_url}}", escape(&app.config.url(&playlist))),
        ("{{image}}", when(beside.has_picture, image_tags(&app.config.url(&file("poster.jpg"))))),
        // What people wrote comes last, so that nothing in it is taken for a mark.
        ("{{description}}", escape(found.description.as_deref().unwrap_or_default())),
        ("{{title}}", escape(found.title.as_deref().unwrap_or("Vitascope"))),
    ] {
        page = page.replace(mark, &text);
    }
    Ok(([(CONTENT_SECURITY_POLICY, POLICY)], Html(page)).into_response())
}

/// What there is beside the recording itself.
struct Beside {
    is_live: bool,
    has_picture: bool,
    has_captions: bool,
}

impl Beside {
    async fn of(app: &App, found: &Stream) -> Result<Beside, Error> {
        let is_live = matches!(found.piece, Piece::Live { .. });
        let has_picture = match &found.piece {
            Piece::Live { .. } | Piece::Audio { .. } => false,
            Piece::RtStream { id, .. } => {
                app.store.find_rtstream(id).await?.is_some_and(|r| r.kind == MediaKind::Video)
            }
            // A list may be of sound alone; it is about to be played, so its plan is wanted anyway.
            Piece::Spans(_) => plan_of(app, found).await?.has_picture(),
            Piece::Video { .. } => true,
        };
        Ok(Beside { is_live, has_picture, has_captions: captions::has_any(app, found).await? })
    }
}

/// For who shows a link to the page.
fn image_tags(url: &str) -> String {
    let url = escape(url);
    format!(r#"<meta property="og:image" content="{url}">{}<meta name="twitter:image" content="{url}">"#, '\n')
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
