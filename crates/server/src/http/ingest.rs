//! Uploads that become assets over HTTP: a source is named, the asset is answered. Files themselves come in by `upload.rs` and `tus.rs`.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::json;
use vitascope_model::asset::AssetKind;
use vitascope_model::{Error, Result};

use super::async_response::held;
use super::extract::{Body, Owner, check_name, collection_of, compat_callback};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::{App, ingest, source};

/// Words about an asset, for people.
const LONGEST_DESCRIPTION: usize = 10_000;

pub(super) fn routes() -> Routes {
    Routes::new().post("/collection/{collection}/upload", upload)
}

#[derive(Deserialize)]
struct UploadRequest {
    url: Option<String>,
    name: Option<String>,
    description: Option<String>,
    media_type: Option<String>,
    callback_url: Option<String>,
}

/// compat: with a callback the answer is no envelope that makes clients poll, and its `id` is no asset's: the Python SDK then returns None.
async fn upload(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(collection): Path<String>,
    Body(request): Body<UploadRequest>,
) -> Answer {
    let collection = collection_of(&app, &scope, &collection).await?;
    if collection.owner != *scope.user() {
        return Err(Error::denied("only its owner may add to a public collection").into());
    }
    let order = order_of(&app, &request).await?;
    let callback = compat_callback(&app, request.callback_url)?;
    let is_told = callback.is_some();
    let job = ingest::enqueue(&app, &scope, &collection, order, callback).await?;
    if is_told {
        let output_url = app.config.url(&format!("/async-response/{job}"));
        return Ok(Reply::raw(json!({
            "success": true,
            "message": "the upload is being processed; callback_url will be told",
            "data": { "id": job.as_str(), "output_url": output_url },
        })));
    }
    Ok(Reply::raw(held(&app, &scope, &job).await?))
}

/// compat: what is not set comes as null or as "".
async fn order_of(app: &App, request: &UploadRequest) -> Result<ingest::Order> {
    let set = |value: &Option<String>| value.as_deref().map(str::trim).filter(|v| !v.is_empty()).map(str::to_owned);
    let url =
        set(&request.url).ok_or_else(|| Error::invalid("url is required: an upload URL of ours or any http(s) URL"))?;
    let (name, description, media_type) = (set(&request.name), set(&request.description), set(&request.media_type));
    check_name(name.as_ref())?;
    if description.as_ref().is_some_and(|d| d.chars().count() > LONGEST_DESCRIPTION) {
        return Err(Error::invalid(format!("description must have at most {LONGEST_DESCRIPTION} characters")));
    }
    if media_type.as_deref().is_some_and(|t| AssetKind::parse(t).is_none()) {
        return Err(Error::invalid("media_type must be video, audio or image"));
    }
    Ok(ingest::Order { source: source::find(app, &url).await?, name, description, media_type })
}
