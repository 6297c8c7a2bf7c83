//! Collections over HTTP. `default` stands for the caller's own default collection wherever an id may stand.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use vitascope_model::collection::{Collection, age_of_days, bytes_of_gb};
use vitascope_model::{Error, Result};

use super::extract::{Body, Owner, WholeOwner, collection_of, given};
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
    retention: Option<RetentionRequest>,
}

/// What stands there as null is as the server's settings say; what does not stand there stays as it is. Ours: no SDK sends it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetentionRequest {
    #[serde(default, deserialize_with = "given")]
    max_gb: Option<Option<f64>>,
    #[serde(default, deserialize_with = "given")]
    max_days: Option<Option<f64>>,
}

impl CollectionRequest {
    fn wishes(self) -> Result<Wishes> {
        let CollectionRequest { name, description, is_public, retention } = self;
        let mut wishes = Wishes { name, description, is_public, ..Wishes::default() };
        if let Some(RetentionRequest { max_gb, max_days }) = retention {
            wishes.max_bytes = max_gb.map(|gb| limit("max_gb", gb, bytes_of_gb)).transpose()?;
            wishes.max_age = max_days.map(|days| limit("max_days", days, age_of_days)).transpose()?;
        }
        Ok(wishes)
    }
}

fn limit<T>(name: &str, number: Option<f64>, read: impl Fn(f64) -> Option<T>) -> Result<Option<T>> {
    let wrong = |n| Error::invalid(format!("retention.{name} must be a positive number or null, and {n} is neither"));
    number.map(|n| read(n).ok_or_else(|| wrong(n))).transpose()
}

fn view(c: &Collection) -> Value {
    json!({
        "id": c.id.as_str(), "name": c.name, "description": c.description, "is_public": c.is_public,
        "owner": c.owner.as_str(), "created_at": c.created_at.to_string(),
        "retention": {
            "max_gb": c.retention.max_bytes.map(|n| n as f64 / 1e9),
            "max_days": c.retention.max_age.map(|age| age.to_seconds() / 86_400.0),
        },
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
    Ok(Reply::ok(view(&create(&app, &user, request.wishes()?).await?)))
}

async fn show_collection(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    let found = collection_of(&app, &scope, &id).await?;
    let mut view = view(&found);
    view["stored_bytes"] = json!(app.store.stored_bytes(&found.id).await?);
    Ok(Reply::ok(view))
}

async fn update_collection(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(id): Path<String>,
    Body(request): Body<CollectionRequest>,
) -> Answer {
    let found = collection_of(&app, &scope, &id).await?;
    Ok(Reply::ok(view(&update(&app, scope.user(), found, request.wishes()?).await?)))
}

async fn delete_collection(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    let found = collection_of(&app, &scope, &id).await?;
    delete(&app, scope.user(), found).await?;
    Ok(Reply::message("the collection is deleted"))
}
