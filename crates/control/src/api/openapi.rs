//! The OpenAPI document (3.1), made of the table of operations.

use axum::response::Response;
use http::StatusCode;
use serde_json::Value;

use super::{Call, problem::Problem};

pub(super) fn show(_call: &Call) -> Result<Response, Problem> {
    super::json(StatusCode::OK, &document())
}

/// The document.
#[must_use]
pub fn document() -> Value {
    Value::Null
}
