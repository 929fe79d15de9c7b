//! The bodies of requests and answers at the doors.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::BoxError;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

/// The body of a request or of an answer. What nearly every one is needs no box around it.
pub(crate) enum Body {
    /// What comes from a connection.
    Incoming(Incoming),
    /// What is all there, until it was taken.
    Whole(Option<Bytes>),
    /// Whatever else there is.
    Other(axum::body::Body),
}

impl Body {
    pub(crate) fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self::Other(axum::body::Body::new(body))
    }

    pub(crate) fn empty() -> Self {
        Self::Whole(None)
    }

    /// A body that is all there.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()).filter(|bytes| !bytes.is_empty()))
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.get_mut() {
            Self::Incoming(body) => {
                let frame = Pin::new(body).poll_frame(context);
                frame.map_err(axum::Error::new)
            }
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Other(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Incoming(body) => body.is_end_stream(),
            Self::Whole(bytes) => bytes.is_none(),
            Self::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Incoming(body) => body.size_hint(),
            Self::Whole(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(length as u64)
            }
            Self::Other(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn what_is_all_there_is_one_piece_and_then_the_end() {
        let bytes = Bytes::from_static(b"{}");
        let mut body = Body::whole(bytes.clone());
        assert_eq!(body.size_hint().exact(), Some(2));
        let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(piece.as_ptr(), bytes.as_ptr(), "it was copied");
        assert!(body.is_end_stream() && body.frame().await.is_none());
    }

    #[test]
    fn what_is_empty_ends_at_once() {
        for body in [Body::empty(), Body::whole(Bytes::new())] {
            assert!(body.is_end_stream());
            assert_eq!(body.size_hint().exact(), Some(0));
        }
    }
}
