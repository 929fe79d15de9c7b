//! Answers and failures as HTTP.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use oip_core::execute::{Held, UNCOUNTED};
use oip_protocol::{Error, ErrorKind, Result};
use serde::Serialize;

use super::content::Content;
use crate::door::Body;

/// Seconds after which a caller may come back, where nobody knows better.
const RETRY_SECONDS: u32 = 1;

/// The content type of JSON.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer whose body is all there, in one or several pieces.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) content: Content,
    /// What it takes of the memory of bodies and answers, until it is sent.
    held: Option<Held>,
}

impl Reply {
    /// An answer without a body.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            content: Content::empty(),
            held: None,
        }
    }

    /// An answer of this content type.
    pub(super) fn of(content_type: HeaderValue, content: impl Into<Content>) -> Self {
        let mut reply = Self::empty(StatusCode::OK);
        reply.headers.insert(CONTENT_TYPE, content_type);
        reply.content = content.into();
        reply
    }

    /// A value as JSON.
    ///
    /// # Errors
    /// A value that has no JSON, which no answer of ours is.
    pub(super) fn json(value: &impl Serialize) -> Result<Self> {
        let content = serde_json::to_vec(value).map_err(|error| {
            Error::new(ErrorKind::HandlerFailed, "the answer has no JSON").caused_by(error)
        })?;
        Ok(Self::of(JSON, content))
    }

    /// Has it count as memory until it is sent, where it is worth counting: in place of its
    /// request, or with all of it where `shares` its bytes.
    ///
    /// # Errors
    /// `TooManyRequests` where there is no room for it.
    pub(super) fn hold(&mut self, mut held: Held, shares: bool) -> Result<()> {
        let length = match (self.length(), shares) {
            (length, true) => length.max(held.bytes()),
            (length, false) => length,
        };
        if length > UNCOUNTED {
            held.exchange(length)?;
            self.held = Some(held);
        }
        Ok(())
    }

    /// Has something else as its body, of which it shares nothing.
    pub(super) fn replace(&mut self, content: impl Into<Content>) {
        self.content = content.into();
        let length = self.length();
        if let Some(held) = self.held.as_mut().filter(|held| held.bytes() > length) {
            // Less always fits.
            let _ = held.exchange(length);
        }
    }

    /// The same answer under another status.
    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// A failure in the protocol's form: `{"error": "<sentence>"}`.
    pub(super) fn failure(status: StatusCode, message: &str) -> Self {
        let content = serde_json::json!({ "error": message }).to_string();
        Self::of(JSON, content).with_status(status)
    }

    /// A failure by the one table of outcomes, with the headers that belong to its status.
    pub(super) fn error(error: &Error) -> Self {
        if let Some(limit) = error.limit() {
            limit.reached();
        }
        let status = StatusCode::from_u16(error.kind().http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut reply = Self::failure(status, error.message());
        reply.add_failure_headers(error.retry_after_seconds());
        reply
    }

    /// The headers that belong to the status of a failure.
    pub(super) fn add_failure_headers(&mut self, retry_after: Option<u32>) {
        match self.status {
            StatusCode::UNAUTHORIZED => {
                let bearer = HeaderValue::from_static("Bearer");
                self.headers.insert(WWW_AUTHENTICATE, bearer);
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let seconds = retry_after.unwrap_or(RETRY_SECONDS);
                self.headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            _ => {}
        }
    }

    /// The failure of a method that is not there.
    pub(super) fn method_not_allowed(method: &Method, there: &[&'static Method]) -> Self {
        let mut names: Vec<&str> = there.iter().map(|method| method.as_str()).collect();
        if names.contains(&"GET") {
            names.push("HEAD");
        }
        names.sort_unstable();
        names.dedup();
        let names = names.join(", ");
        let method = oip_protocol::error::excerpt(method.as_str());
        let message = format!("the method {method} is not there; allowed: {names}");
        let error = Error::new(ErrorKind::MethodNotAllowed, message);
        let mut reply = Self::error(&error);
        let allow = HeaderValue::try_from(names).unwrap_or(HeaderValue::from_static("GET"));
        reply.headers.insert(ALLOW, allow);
        reply
    }

    /// The length of the body in bytes.
    pub(super) fn length(&self) -> usize {
        self.content.iter().map(Bytes::len).sum()
    }

    /// The answer to HEAD: everything but the body.
    pub(super) fn into_head_response(mut self) -> Response<Body> {
        let length = HeaderValue::from(self.length());
        self.headers.insert(CONTENT_LENGTH, length);
        self.content = Content::empty();
        self.into_response()
    }

    /// The answer as the server sends it.
    pub(super) fn into_response(mut self) -> Response<Body> {
        if let Some(held) = self.held.take() {
            held.goes_with(&mut self.content);
        }
        let mut response = Response::new(self.content.into_body());
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn pieces_are_sent_as_they_are_and_their_length_is_known() {
        let (header, buffer) = (Bytes::from_static(b"{}"), Bytes::from(vec![7_u8; 100]));
        let content = vec![header, Bytes::new(), buffer.clone()];
        let reply = Reply::of(JSON, content);
        let mut body = reply.into_response().into_body();
        assert_eq!(body.size_hint().exact(), Some(102));
        body.frame().await;
        let second = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(second.as_ptr(), buffer.as_ptr(), "the buffer was copied");
        assert!(body.is_end_stream() && body.frame().await.is_none());
    }

    #[test]
    fn a_failure_carries_the_headers_of_its_status() {
        let header = |error: &Error, name| {
            let value = Reply::error(error).headers.get(name).cloned();
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        let unauthenticated = Error::unauthenticated("no");
        assert_eq!(
            header(&unauthenticated, WWW_AUTHENTICATE).unwrap(),
            "Bearer"
        );
        let busy = Error::too_many_requests("full");
        assert_eq!(header(&busy, RETRY_AFTER).unwrap(), "1");
        let draining = Error::unavailable("draining").retry_after(30);
        assert_eq!(header(&draining, RETRY_AFTER).unwrap(), "30");
        assert_eq!(header(&Error::malformed("no"), RETRY_AFTER), None);
    }

    #[test]
    fn every_kind_of_error_is_a_json_object_under_its_status() {
        for kind in ErrorKind::ALL {
            let reply = Reply::error(&Error::new(kind, "a \"quoted\" sentence"));
            assert_eq!(reply.status.as_u16(), kind.http_status());
            assert_eq!(reply.headers.get(CONTENT_TYPE), Some(&JSON));
            let content: serde_json::Value = serde_json::from_slice(&reply.content[0]).unwrap();
            assert_eq!(
                content,
                serde_json::json!({"error": "a \"quoted\" sentence"})
            );
        }
    }
}
