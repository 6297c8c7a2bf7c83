//! Videos over HTTP.

use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use serde_json::json;
use vitascope_model::stream::Video;

use super::extract::{Body, Owner, Query, check_name, collection_of};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::asset::{Wishes, update_video as update};
use crate::app::{App, deletion, stream};

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/video", list_videos)
        .get("/video/{video}", show_video)
        .patch("/video/{video}", update_video)
        .delete("/video/{video}", delete_video)
}

/// compat: `length` is never null (the Python SDK reads it as a float), and `thumbnail` stands beside `thumbnail_url`.
#[derive(Serialize)]
struct VideoView {
    id: String,
    collection_id: String,
    name: String,
    description: Option<String>,
    length: f64,
    size: String,
    stream_url: String,
    player_url: String,
    thumbnail_url: Option<String>,
    thumbnail: Option<String>,
    user_id: String,
    keep: bool,
    created_at: String,
}

fn view(app: &App, v: &Video) -> VideoView {
    VideoView {
        id: v.id.to_string(),
        collection_id: v.collection_id.to_string(),
        name: v.name.clone(),
        description: v.description.clone(),
        length: v.length.to_seconds(),
        size: v.bytes.to_string(),
        stream_url: app.config.url(&stream::asset_playlist_path(&v.stream_id)),
        player_url: app.config.url(&stream::player_path(&v.stream_id)),
        thumbnail_url: None,
        thumbnail: None,
        user_id: v.owner.to_string(),
        keep: v.keep,
        created_at: v.created_at.to_string(),
    }
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
    let videos: Vec<VideoView> = found.iter().map(|v| view(&app, v)).collect();
    Ok(Reply::ok(json!({ "videos": videos })))
}

async fn show_video(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    let video = app.store.get_video(&scope, &id.parse()?).await?;
    Ok(Reply::ok(view(&app, &video)))
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
    Ok(Reply::ok(view(&app, &changed)))
}

/// The collection that some clients name in the query does not matter: the owner does.
async fn delete_video(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    let video = app.store.get_video(&scope, &id.parse()?).await?;
    deletion::delete_video(&app, &video).await?;
    Ok(Reply::message("the video is deleted"))
}
