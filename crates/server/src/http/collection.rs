//! Collections over HTTP. `default` stands for the caller's own default collection wherever an id may stand.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use vitascope_model::collection::Collection;

use super::extract::{Body, Owner, WholeOwner, collection_of};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::App;
use crate::app::collection::{Wishes, create, default_of, delete, update};

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/collection", list_collections)
        .post("/collection", create_collection)
        .get("/collection/{collection}", show_collection)
        .patch("/collection/{collection}", update_collection)
        .delete("/collection/{collection}", delete_collection)
}

#[derive(Deserialize)]
struct CollectionRequest {
    name: Option<String>,
    description: Option<String>,
    is_public: Option<bool>,
}

impl From<CollectionRequest> for Wishes {
    fn from(request: CollectionRequest) -> Self {
        Wishes { name: request.name, description: request.description, is_public: request.is_public }
    }
}

fn view(c: &Collection) -> Value {
    json!({
        "id": c.id.as_str(), "name": c.name, "description": c.description, "is_public": c.is_public,
        "owner": c.owner.as_str(), "created_at": c.created_at.to_string(),
    })
}

async fn list_collections(State(app): State<App>, Owner(scope): Owner) -> Answer {
    let default = default_of(&app, &scope).await?;
    let found = app.store.list_collections(&scope).await?;
    let views: Vec<Value> = found.iter().map(view).collect();
    Ok(Reply::ok(json!({ "collections": views, "default_collection": default.id.as_str() })))
}

async fn create_collection(
    State(app): State<App>,
    WholeOwner(user): WholeOwner,
    Body(request): Body<CollectionRequest>,
) -> Answer {
    Ok(Reply::ok(view(&create(&app, &user, request.into()).await?)))
}

async fn show_collection(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    Ok(Reply::ok(view(&collection_of(&app, &scope, &id).await?)))
}

async fn update_collection(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(id): Path<String>,
    Body(request): Body<CollectionRequest>,
) -> Answer {
    let found = collection_of(&app, &scope, &id).await?;
    Ok(Reply::ok(view(&update(&app, scope.user(), found, request.into()).await?)))
}

async fn delete_collection(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    let found = collection_of(&app, &scope, &id).await?;
    delete(&app, scope.user(), found).await?;
    Ok(Reply::message("the collection is deleted"))
}
