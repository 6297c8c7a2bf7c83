//! The success envelope: every 2xx body is `{"success": true, "data": …}`. The SDKs raise on anything else.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::error::ApiError;

pub(super) type Answer = Result<Reply, ApiError>;

/// A successful answer.
pub(super) struct Reply(Response);

/// Written straight to text: a tree of values in between costs more than reading the data did.
#[derive(Serialize)]
struct Envelope<T> {
    success: bool,
    data: T,
}

impl Reply {
    pub(super) fn ok(data: impl Serialize) -> Reply {
        Reply(Json(Envelope { success: true, data }).into_response())
    }

    pub(super) fn message(message: &str) -> Reply {
        Reply(Json(json!({ "success": true, "message": message, "data": {} })).into_response())
    }

    /// A body that is no plain success: the async envelope.
    pub(super) fn raw(body: serde_json::Value) -> Reply {
        Reply(Json(body).into_response())
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        self.0
    }
}
