//! What a browser asks and is told about pages of other origins.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::respond::Reply;
use crate::door::{DoorOptions, Origins};

/// The headers of ours that a page may send.
const REQUEST_HEADERS: &str = "authorization, content-encoding, content-type, \
     inference-header-content-length, x-api-key, x-oip-non-finite, x-oip-timeout-ms";

/// The origin of the page that asks, where a browser says so.
pub(super) fn origin(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(ORIGIN).cloned()
}

/// Whether this is the question that a browser asks before the request itself.
pub(super) fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(ORIGIN)
        && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to that question; the origin was checked already.
pub(super) fn preflight(options: &DoorOptions) -> Reply {
    let mut reply = Reply::empty(StatusCode::NO_CONTENT);
    let forwarded: String = options
        .forward_headers
        .iter()
        .map(|name| format!(", {name}"))
        .collect();
    let allowed = HeaderValue::try_from(format!("{REQUEST_HEADERS}{forwarded}"));
    let allowed = allowed.unwrap_or(HeaderValue::from_static(REQUEST_HEADERS));
    reply.headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    let methods = HeaderValue::from_static("GET, HEAD, POST");
    reply.headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    let seconds = HeaderValue::from_static("600");
    reply.headers.insert(ACCESS_CONTROL_MAX_AGE, seconds);
    reply
}

/// Tells the browser that a page of an allowed origin may read the answer.
pub(super) fn allow(reply: &mut Reply, origins: &Origins, origin: HeaderValue) {
    reply
        .headers
        .append(VARY, HeaderValue::from_static("Origin"));
    if !origin.to_str().is_ok_and(|origin| origins.contains(origin)) {
        return;
    }
    reply.headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    let exposed = HeaderValue::from_static("inference-header-content-length, retry-after");
    reply.headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
}
