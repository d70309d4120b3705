//! JSON responses.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Responds with JSON bytes.
pub(super) fn json_bytes(status: StatusCode, body: impl Into<Body>) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        body.into(),
    )
        .into_response()
}

/// Responds with a JSON value.
pub(super) fn json_value(status: StatusCode, value: &Value) -> Response {
    json_bytes(status, value.to_string())
}

/// Responds with the `Status` of a success.
pub(super) fn success(details: &Value) -> Response {
    json_value(
        StatusCode::OK,
        &json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details,
        }),
    )
}
