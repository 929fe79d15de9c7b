//! An answer's body, counted until its end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body as _, Frame, SizeHint};

use super::AccessLog;
use super::line::{Line, Outcome};
use crate::door::Body;
use crate::logging::{Log, When};

/// Writes the line when it is dropped: at the end of the answer, or when the caller has left.
pub(super) struct Ending {
    log: AccessLog,
    line: Line,
    outcome: Outcome,
}

impl AccessLog {
    /// From now on there will be a line, whatever becomes of the request.
    pub(super) fn ending(self, line: Line) -> Ending {
        Ending {
            log: self,
            line,
            outcome: Outcome::default(),
        }
    }
}

impl Ending {
    /// The head of the answer.
    pub(super) fn answered(&mut self, response: &Response<Body>) {
        self.outcome.status = Some(response.status());
        self.grpc(response.headers());
        self.outcome.whole = response.body().is_end_stream();
    }

    fn grpc(&mut self, headers: &HeaderMap) {
        let status = headers.get("grpc-status");
        let code = status.and_then(|status| status.to_str().ok()?.parse().ok());
        self.outcome.grpc = code.or(self.outcome.grpc);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let text = self.line.text(&self.outcome, self.log.format);
        self.log
            .writer
            .write(Log::Access, When::Soon, text.as_bytes());
    }
}

/// The body.
pub(super) struct Counted {
    body: Body,
    ending: Ending,
}

impl Counted {
    pub(super) fn new(body: Body, ending: Ending) -> Self {
        Self { body, ending }
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.ending.outcome.sent += data.len() as u64;
                }
                if let Some(trailers) = frame.trailers_ref() {
                    self.ending.grpc(trailers);
                }
                // hyper does not ask again after the last frame of a body of known length.
                self.ending.outcome.whole = self.body.is_end_stream();
            }
            Some(Err(_)) => {}
            None => self.ending.outcome.whole = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
