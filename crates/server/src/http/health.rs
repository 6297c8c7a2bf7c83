//! Whether the server is up, what it counts, and who it is.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::error::ApiError;
use super::extract::Owner;
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::App;

pub(super) fn routes() -> Routes {
    Routes::new().get("/", service).get("/health", health).get("/metrics", metrics).get("/user", user)
}

async fn service() -> Reply {
    Reply::ok(
        json!({ "service": "VideoDB Server", "implementation": "vitascope", "version": env!("CARGO_PKG_VERSION") }),
    )
}

/// 200 once the database answers and the listeners are open.
async fn health(State(app): State<App>) -> Answer {
    app.store.ping().await?;
    Ok(Reply::ok(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })))
}

async fn metrics(State(app): State<App>) -> Result<Response, ApiError> {
    let text = app.metrics.text(&app).await?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}

async fn user(State(app): State<App>, Owner(user): Owner) -> Answer {
    let collections = app.store.list_collections(&user).await?;
    let default = collections.iter().find(|c| c.is_default).map(|c| c.id.as_str());
    Ok(Reply::ok(json!({
        "user_id": user.as_str(),
        "user_name": app.store.user_name(&user).await?,
        "user_email": null,
        "collections": collections.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(),
        "default_collection": default,
    })))
}
