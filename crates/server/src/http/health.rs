//! Whether the server is up, what it counts, and what it is. Whoever asks is answered.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::error::ApiError;
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::App;

pub(super) fn routes() -> Routes {
    Routes::new().open("/", service).open("/health", health).open("/metrics", metrics)
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
