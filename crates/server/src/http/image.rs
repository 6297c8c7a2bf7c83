//! Images over HTTP: read, renamed, deleted; their files by a URL that only who asked for the image knows, and by one that expires.

use axum::extract::{Path, State};
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use vitascope_model::id::ImageId;
use vitascope_model::usage::Meter;
use vitascope_model::{Error, Span, WallTime};

use super::deliver::{FOR_EVER, Wanted, open_to_all};
use super::error::ApiError;
use super::extract::{Body, Owner, Query, check_name, collection_of};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::asset::Wishes;
use crate::app::{App, image, stream};
use crate::views::{self, ImageView};

/// How long a signed URL is good.
const SIGNED_FOR: Span = Span::seconds(86_400);

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/image", list_images)
        .get("/image/{image}", show_image)
        .patch("/image/{image}", update_image)
        .delete("/image/{image}", delete_image)
        .post("/image/{image}/generate_url", sign_url)
        .open("/images/{image}/{secret}", file)
        .open("/signed/{expires}/{mac}/{stream}/image", signed_file)
}

#[derive(Deserialize)]
struct ListQuery {
    collection_id: Option<String>,
}

async fn list_images(State(app): State<App>, Owner(scope): Owner, Query(query): Query<ListQuery>) -> Answer {
    let collection = match query.collection_id.filter(|id| !id.is_empty()) {
        Some(id) => Some(collection_of(&app, &scope, &id).await?.id),
        None => None,
    };
    let found = app.store.list_images(&scope, collection.as_ref()).await?;
    let images: Vec<ImageView> = found.iter().map(|i| views::image(&app, i)).collect();
    Ok(Reply::ok(json!({ "images": images })))
}

async fn show_image(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    let found = app.store.get_image(&scope, &id.parse()?).await?;
    Ok(Reply::ok(views::image(&app, &found)))
}

#[derive(Deserialize)]
struct UpdateRequest {
    name: Option<String>,
    keep: Option<bool>,
}

async fn update_image(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(id): Path<String>,
    Body(request): Body<UpdateRequest>,
) -> Answer {
    let found = app.store.get_image(&scope, &id.parse()?).await?;
    check_name(request.name.as_ref())?;
    image::update(&app, &found, Wishes { name: request.name, keep: request.keep }).await?;
    let changed = app.store.get_image(&scope, &found.id).await?;
    Ok(Reply::ok(views::image(&app, &changed)))
}

async fn delete_image(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    let found = app.store.get_image(&scope, &id.parse()?).await?;
    image::delete(&app, &found).await?;
    Ok(Reply::message("the image is deleted"))
}

/// A URL that gives the file to whoever has it, for a day.
async fn sign_url(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    let found = app.store.get_image(&scope, &id.parse()?).await?;
    let expires = app.now() + SIGNED_FOR;
    let mac = stream::signature(&app, found.id.as_str(), expires);
    let url = app.config.url(&format!("/signed/{}/{mac}/{}/image", expires.0, found.id));
    // compat: the published document calls it `image_url`.
    Ok(Reply::ok(json!({ "signed_url": url, "image_url": url, "expires_at": expires.to_string() })))
}

async fn file(
    State(app): State<App>,
    Path((id, secret)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id: ImageId = id.parse()?;
    if !image::is_secret(&app, &id, &secret) {
        return Err(Error::not_found("the image").into());
    }
    send(&app, &id, &Wanted::new(method, headers), FOR_EVER).await
}

async fn signed_file(
    State(app): State<App>,
    Path((expires, mac, id)): Path<(i64, String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let expires = WallTime(expires);
    if !stream::is_signature(&app, &id, expires, &mac) {
        return Err(Error::not_found("the image").into());
    }
    if expires <= app.now() {
        return Err(Error::denied("this URL has expired").into());
    }
    send(&app, &id.parse()?, &Wanted::new(method, headers), "private, max-age=3600").await
}

/// It is a stranger's file: no browser may take it for anything else than a picture.
async fn send(app: &App, id: &ImageId, wanted: &Wanted, cache: &'static str) -> Result<Response, ApiError> {
    let found = app.store.find_image(id).await?.ok_or_else(|| Error::gone("this image was deleted"))?;
    let mut response = open_to_all(wanted.answer(found.kind.mime(), cache, image::read(app, &found).await?));
    app.usage.add(&found.owner, Meter::BytesOut, wanted.sends(&response));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}
