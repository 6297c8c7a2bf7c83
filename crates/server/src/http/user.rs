//! The account over HTTP: who it is, its API keys, and what each of them may see. A key that is bound to collections may not touch keys.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use vitascope_model::Error;
use vitascope_model::account::{ApiKey, Scope};

use super::extract::{Body, Owner, WholeOwner};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::{App, account, collection};

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/user", show_user)
        .get("/user/api_key", list_keys)
        .post("/user/api_key", mint_key)
        .delete("/user/api_key/{api_key}", revoke_key)
        .put("/user/api-key-collections", bind_key)
}

/// The collections are those that the caller's key may see. There is no mail address: an account is of this installation alone.
async fn show_user(State(app): State<App>, Owner(scope): Owner) -> Answer {
    let default = collection::default_of(&app, &scope).await?;
    let collections = app.store.list_collections(&scope).await?;
    Ok(Reply::ok(json!({
        "user_id": scope.user().as_str(),
        "user_name": app.store.user_name(scope.user()).await?,
        "user_email": null,
        "collections": collections.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(),
        "default_collection": default.id.as_str(),
    })))
}

/// `key` is how a key begins: more of it is not known. It names the key in DELETE, as its `id` does and the key itself.
fn view(key: &ApiKey) -> Value {
    let bound = key.scope.collections().map(|ids| ids.iter().map(|id| id.as_str()).collect::<Vec<_>>());
    json!({
        "key": key.hint,
        "id": key.id.as_str(),
        "created_at": key.created_at.to_string(),
        "collection_ids": bound,
    })
}

async fn list_keys(State(app): State<App>, WholeOwner(user): WholeOwner) -> Answer {
    let keys = app.store.api_keys_of(&user).await?;
    Ok(Reply::ok(keys.iter().map(view).collect::<Vec<_>>()))
}

async fn mint_key(State(app): State<App>, WholeOwner(user): WholeOwner) -> Answer {
    Ok(Reply::ok(json!({ "api_key": account::mint_key(&app, &user).await? })))
}

async fn revoke_key(State(app): State<App>, WholeOwner(user): WholeOwner, Path(name): Path<String>) -> Answer {
    account::revoke_key(&app, &user, name).await?;
    Ok(Reply::message("the API key is revoked"))
}

#[derive(Deserialize)]
struct BindRequest {
    api_key: Option<String>,
    collection_ids: Option<Vec<String>>,
}

async fn bind_key(State(app): State<App>, WholeOwner(user): WholeOwner, Body(request): Body<BindRequest>) -> Answer {
    let name = request.api_key.filter(|k| !k.is_empty()).ok_or_else(|| Error::invalid("api_key is required"))?;
    let names = request.collection_ids.filter(|ids| !ids.is_empty());
    let names = names.ok_or_else(|| Error::invalid("collection_ids must name at least one collection"))?;
    let ids = account::own_collections(&app, &Scope::whole(user.clone()), &names).await?;
    account::bind_key(&app, &user, name, ids).await?;
    Ok(Reply::message("the API key sees these collections only"))
}
