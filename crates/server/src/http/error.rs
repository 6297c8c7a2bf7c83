//! The failure envelope, and the one place where a kind of error becomes an HTTP status.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use vitascope_model::{Error, ErrorKind};

/// An error on its way to a client.
#[derive(Debug)]
pub(super) struct ApiError(pub(super) Error);

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        ApiError(error)
    }
}

pub(super) fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidArgument => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Gone => StatusCode::GONE,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What a client is told; what is our fault is for the log.
pub(super) fn worded(error: &Error) -> String {
    match error.kind {
        ErrorKind::Internal => {
            tracing::error!(%error, "a request failed");
            "something went wrong inside the server; its log says what".to_owned()
        }
        ErrorKind::InvalidArgument => error.to_string(),
        _ => error.message.clone(),
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let ApiError(error) = self;
        let message = worded(&error);
        let body = json!({ "success": false, "message": message, "error_code": error.kind.code() });
        (status(error.kind), Json(body)).into_response()
    }
}
