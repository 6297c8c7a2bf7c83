//! Downloads over HTTP: a stream of ours as one MP4 file. The call waits for the file as for any slow work; the list says of each how far
//! it is. The file itself goes to whoever has its URL.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::json;
use vitascope_model::id::TakeoutId;
use vitascope_model::stream::Stream;
use vitascope_model::takeout::TakeoutKind;
use vitascope_model::{Error, Result};

use super::async_response::held;
use super::deliver::{Wanted, open_to_all, preflight};
use super::error::ApiError;
use super::extract::{Body, Owner, Query, check_name};
use super::file::{File, send};
use super::link::{self, Link};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::{App, takeout};
use crate::views;

/// Of the published document.
const MOST: i64 = 5000;
const PAGE: i64 = 50;

pub(super) fn routes() -> Routes {
    Routes::new()
        .post("/download", make)
        .get("/download", list)
        .delete("/download", delete)
        .get("/download/{download}", show)
        .post("/download/{download}", retry)
        .open_on("GET", "/downloads/{download}/{secret}", get(file).options(preflight))
}

#[derive(Deserialize)]
struct MakeRequest {
    stream_link: Option<String>,
    name: Option<String>,
}

async fn make(State(app): State<App>, Owner(scope): Owner, Body(request): Body<MakeRequest>) -> Answer {
    let link = request.stream_link.unwrap_or_default();
    let name = request.name.map(|n| n.trim().to_owned()).filter(|n| !n.is_empty());
    check_name(name.as_ref())?;
    let found = stream_of(&app, &link).await?.filter(|s| s.owner == *scope.user());
    let found = found.ok_or_else(|| Error::not_found("the stream"))?;
    let asked = takeout::of_stream(&app, &scope, &found, name).await?;
    Ok(Reply::raw(held(&app, &scope, &asked.job_id).await?))
}

/// The stream that a URL of ours plays, if there is one.
async fn stream_of(app: &App, url: &str) -> Result<Option<Stream>> {
    let Some(Link::Stream(name)) = link::read(app, url) else {
        return Err(Error::invalid(
            "stream_link must be a stream or player URL of this server, such as the stream_url of a video",
        ));
    };
    link::stream_of(app, &name).await
}

#[derive(Deserialize)]
struct ListQuery {
    page_index: Option<String>,
    count: Option<String>,
}

/// compat: what is not set comes as no key or as "".
fn number(name: &str, value: Option<&String>, least: i64, most: i64) -> Result<Option<i64>> {
    let Some(text) = value.map(|v| v.trim()).filter(|v| !v.is_empty()) else { return Ok(None) };
    let wrong = || Error::invalid(format!("{name} must be a whole number from {least} to {most}"));
    text.parse().ok().filter(|n| (least..=most).contains(n)).map(Some).ok_or_else(wrong)
}

async fn list(State(app): State<App>, Owner(scope): Owner, Query(query): Query<ListQuery>) -> Answer {
    let page = number("page_index", query.page_index.as_ref(), 0, 1_000_000)?.unwrap_or(0);
    let count = number("count", query.count.as_ref(), 1, MOST)?.unwrap_or(PAGE);
    let found = app.store.list_takeouts(&scope, TakeoutKind::Download, page * count, count).await?;
    let downloads: Vec<_> = found.iter().map(|t| views::takeout(&app, t)).collect();
    Ok(Reply::ok(json!({ "downloads": downloads })))
}

async fn show(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    let found = app.store.get_takeout(&scope, &id.parse()?).await?;
    Ok(Reply::ok(views::takeout(&app, &found)))
}

/// Once more, if it failed; else this is how a client waits.
async fn retry(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    let found = app.store.get_takeout(&scope, &id.parse()?).await?;
    let job = takeout::retry(&app, &found).await?;
    Ok(Reply::raw(held(&app, &scope, &job).await?))
}

#[derive(Deserialize)]
struct DeleteQuery {
    download_id: Option<String>,
}

async fn delete(State(app): State<App>, Owner(scope): Owner, Query(query): Query<DeleteQuery>) -> Answer {
    let id = query.download_id.filter(|id| !id.is_empty()).ok_or_else(|| Error::invalid("download_id is required"))?;
    let found = app.store.get_takeout(&scope, &id.parse()?).await?;
    takeout::delete(&app, &found.id).await?;
    Ok(Reply::message("the download is deleted"))
}

async fn file(
    State(app): State<App>,
    Path((id, secret)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let wanted = Wanted::new(method, headers);
    found_file(&app, &wanted, &id, &secret).await.unwrap_or_else(|error| open_to_all(error.into_response()))
}

async fn found_file(app: &App, wanted: &Wanted, id: &str, secret: &str) -> Result<Response, ApiError> {
    let id: TakeoutId = id.parse()?;
    if !takeout::is_secret(app, &id, secret) {
        return Err(Error::not_found("the file").into());
    }
    let (found, made) = takeout::file_of(app, &id).await?;
    let file = File {
        owner: &found.owner,
        object: &made.object,
        bytes: made.bytes as u64,
        kind: made.mime(),
        cache: "private, max-age=3600",
        name: &found.file_name(),
    };
    Ok(send(app, wanted, &file))
}
