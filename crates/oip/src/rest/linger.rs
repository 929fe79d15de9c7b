//! What is left of a body that was answered before it was read.
//!
//! Closing a connection while its client still writes makes the system throw away the answer:
//! the client sees a broken pipe and never reads why it was refused. So the rest is read and
//! thrown away, within bounds, while the answer is on its way.

use std::time::Duration;

use http::header::EXPECT;
use http::{HeaderMap, Request};
use http_body::Body as _;
use http_body_util::BodyExt;

use super::Arrived;
use crate::door::Body;

/// Longest that a rest is read, and most bytes of it beyond the limit of a body.
const LONGEST: Duration = Duration::from_secs(3);
const BEYOND_LIMIT: usize = 16 << 20;

/// Reads what is left of a body in the background.
pub(super) fn drain(arrived: Arrived) {
    let limit = arrived.rest.door.options.body_limit;
    let most = limit.saturating_add(BEYOND_LIMIT);
    drain_body(&arrived.parts.headers, arrived.body, most);
}

/// The same for a request that no door has seen.
pub(super) fn drain_unseen(request: Request<Body>) {
    let (parts, body) = request.into_parts();
    drain_body(&parts.headers, body, BEYOND_LIMIT);
}

fn drain_body(headers: &HeaderMap, body: Body, most: usize) {
    // A client that waits for `100 Continue` must not be told to go on.
    if body.is_end_stream() || headers.contains_key(EXPECT) {
        return;
    }
    tokio::spawn(async move { tokio::time::timeout(LONGEST, discard(body, most)).await });
}

async fn discard(mut body: Body, most: usize) {
    let mut read = 0_usize;
    while let Some(Ok(frame)) = body.frame().await {
        read = read.saturating_add(frame.data_ref().map_or(0, |data| data.len()));
        if read > most {
            return;
        }
    }
}
