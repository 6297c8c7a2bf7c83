//! Audios over HTTP: what an export makes where there is no picture. Read, deleted, played, and fetched as one file by a signed URL.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use vitascope_model::usage::Meter;
use vitascope_model::{Error, Span, WallTime};

use super::error::ApiError;
use super::extract::{self, Owner, Query, check_name, collection_of};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::asset::{Wishes, update_audio as update};
use crate::app::playback::{layout, plan_of, segment};
use crate::app::{App, deletion, stream};
use crate::views::{self, AudioView};

/// How long a signed URL is good.
const SIGNED_FOR: Span = Span::seconds(86_400);

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/audio", list_audios)
        .get("/audio/{audio}", show_audio)
        .patch("/audio/{audio}", update_audio)
        .delete("/audio/{audio}", delete_audio)
        .post("/audio/{audio}/generate_url", sign_url)
        .open("/signed/{expires}/{mac}/{stream}/audio.m4a", signed_file)
}

#[derive(Deserialize)]
struct ListQuery {
    collection_id: Option<String>,
}

async fn list_audios(State(app): State<App>, Owner(scope): Owner, Query(query): Query<ListQuery>) -> Answer {
    let collection = match query.collection_id.filter(|id| !id.is_empty()) {
        Some(id) => Some(collection_of(&app, &scope, &id).await?.id),
        None => None,
    };
    let found = app.store.list_audios(&scope, collection.as_ref()).await?;
    let audios: Vec<AudioView> = found.iter().map(|a| views::audio(&app, a)).collect();
    Ok(Reply::ok(json!({ "audios": audios })))
}

async fn show_audio(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    let audio = app.store.get_audio(&scope, &id.parse()?).await?;
    Ok(Reply::ok(views::audio(&app, &audio)))
}

#[derive(Deserialize)]
struct UpdateRequest {
    name: Option<String>,
    keep: Option<bool>,
}

async fn update_audio(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(id): Path<String>,
    extract::Body(request): extract::Body<UpdateRequest>,
) -> Answer {
    let found = app.store.get_audio(&scope, &id.parse()?).await?;
    check_name(request.name.as_ref())?;
    update(&app, &found, Wishes { name: request.name, keep: request.keep }).await?;
    let changed = app.store.get_audio(&scope, &found.id).await?;
    Ok(Reply::ok(views::audio(&app, &changed)))
}

async fn delete_audio(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    let audio = app.store.get_audio(&scope, &id.parse()?).await?;
    deletion::delete_audio(&app, &audio).await?;
    Ok(Reply::message("the audio is deleted"))
}

/// A URL that gives the audio as one file to whoever has it, for a day. Its expiry and a MAC of it stand in the path.
async fn sign_url(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    let audio = app.store.get_audio(&scope, &id.parse()?).await?;
    let expires = app.now() + SIGNED_FOR;
    let mac = stream::signature(&app, &audio.stream_id, expires);
    let path = format!("/signed/{}/{mac}/{}/audio.m4a", expires.0, audio.stream_id);
    Ok(Reply::ok(json!({ "signed_url": app.config.url(&path), "expires_at": expires.to_string() })))
}

/// Init and all segments, one after the other: a fragmented MP4 that needs no playlist.
async fn signed_file(
    State(app): State<App>,
    Path((expires, mac, id)): Path<(i64, String, String)>,
) -> Result<Response, ApiError> {
    let expires = WallTime(expires);
    if !stream::is_signature(&app, &id, expires, &mac) {
        return Err(Error::not_found("the file").into());
    }
    if expires <= app.now() {
        return Err(Error::denied("this URL has expired").into());
    }
    let found = app.store.find_stream(&id).await?.ok_or_else(|| Error::not_found("the file"))?;
    let plan = plan_of(&app, &found).await?;
    let init = plan.file_init()?;
    let mut length = init.len() as u64;
    for n in 0..plan.segments() {
        // Its length has to be told before its bytes: what is still promised is encoded here.
        length += layout(&app, &plan, n).await?.size();
    }
    app.usage.add(&found.owner, Meter::BytesOut, length);
    let head = futures_util::stream::once(async move { Ok(init) });
    let rest = futures_util::stream::unfold(0, move |n| {
        let (app, plan) = (app.clone(), plan.clone());
        async move { if n < plan.segments() { Some((segment(&app, &plan, n).await, n + 1)) } else { None } }
    });
    let headers = [
        (CONTENT_TYPE, "audio/mp4".to_owned()),
        (CONTENT_LENGTH, length.to_string()),
        (CACHE_CONTROL, "private, max-age=3600".to_owned()),
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*".to_owned()),
    ];
    let body = Body::from_stream(futures_util::StreamExt::chain(head, rest));
    Ok((headers, body).into_response())
}
