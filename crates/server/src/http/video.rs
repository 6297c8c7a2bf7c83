//! Videos over HTTP.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::json;

use super::extract::{Body, Owner, Query, check_name, collection_of};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::asset::{Wishes, update_video as update};
use crate::app::{App, deletion};
use crate::views::{self, VideoView};

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/video", list_videos)
        .get("/video/{video}", show_video)
        .patch("/video/{video}", update_video)
        .delete("/video/{video}", delete_video)
        .delete("/video/{video}/storage", drop_storage)
}

#[derive(Deserialize)]
struct ListQuery {
    collection_id: Option<String>,
}

async fn list_videos(State(app): State<App>, Owner(scope): Owner, Query(query): Query<ListQuery>) -> Answer {
    let collection = match query.collection_id.filter(|id| !id.is_empty()) {
        Some(id) => Some(collection_of(&app, &scope, &id).await?.id),
        None => None,
    };
    let found = app.store.list_videos(&scope, collection.as_ref()).await?;
    let videos: Vec<VideoView> = found.iter().map(|v| views::video(&app, v)).collect();
    Ok(Reply::ok(json!({ "videos": videos })))
}

async fn show_video(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    let video = app.store.get_video(&scope, &id.parse()?).await?;
    Ok(Reply::ok(views::video(&app, &video)))
}

#[derive(Deserialize)]
struct UpdateRequest {
    name: Option<String>,
    keep: Option<bool>,
}

async fn update_video(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(id): Path<String>,
    Body(request): Body<UpdateRequest>,
) -> Answer {
    let found = app.store.get_video(&scope, &id.parse()?).await?;
    check_name(request.name.as_ref())?;
    update(&app, &found, Wishes { name: request.name, keep: request.keep }).await?;
    let changed = app.store.get_video(&scope, &found.id).await?;
    Ok(Reply::ok(views::video(&app, &changed)))
}

/// The collection that some clients name in the query does not matter: the owner does.
async fn delete_video(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    let video = app.store.get_video(&scope, &id.parse()?).await?;
    deletion::delete_video(&app, &video).await?;
    Ok(Reply::message("the video is deleted"))
}

/// Asked for again, it is as it was.
async fn drop_storage(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    let video = app.store.get_video(&scope, &id.parse()?).await?;
    deletion::drop_storage(&app, &video).await?;
    Ok(Reply::message("the storage of the video is removed"))
}
