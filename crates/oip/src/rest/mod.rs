//! Seam for the REST door.
use std::sync::Arc;

use axum::Router;

use crate::door::{Door, Origins};

/// The REST routes.
pub fn router(door: Arc<Door>, origins: Arc<Origins>) -> Router {
    let _ = (door, origins);
    Router::new()
}

/// The answer to a head over the limit.
pub(crate) fn head_too_large(limit: usize) -> http::Response<axum::body::Body> {
    let body =
        format!("{{\"error\":\"the head of the request is over the limit of {limit} bytes\"}}");
    let mut response = http::Response::new(body.into());
    *response.status_mut() = http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}
