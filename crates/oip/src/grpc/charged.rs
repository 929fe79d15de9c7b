//! Answers that the stubs write, counted as memory until they are sent.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use oip_core::execute::{Memory, UNCOUNTED};
use oip_protocol::Result;

use super::respond;
use crate::door::Body;
use crate::telemetry::OpenStream;

/// The body of an answer, or of a stream of answers.
pub(super) struct Charged {
    body: Body,
    memory: Memory,
    ended: bool,
    /// Where it is a stream that may rest: counted until this is gone.
    _stream: Option<OpenStream>,
}

impl Charged {
    pub(super) fn new(body: Body, memory: Memory, stream: Option<OpenStream>) -> Self {
        Self {
            body,
            memory,
            ended: false,
            _stream: stream,
        }
    }

    /// A piece, which holds its length until it is gone.
    fn counted(&self, piece: Bytes) -> Result<Bytes> {
        if piece.len() <= UNCOUNTED {
            return Ok(piece);
        }
        let mut held = self.memory.nothing();
        held.exchange(piece.len())?;
        let mut pieces = [piece];
        held.goes_with(&mut pieces);
        let [piece] = pieces;
        Ok(piece)
    }
}

impl http_body::Body for Charged {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, axum::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let Some(Ok(frame)) = frame else {
            return Poll::Ready(frame);
        };
        let frame = match frame.into_data() {
            Ok(piece) => match self.counted(piece) {
                Ok(piece) => Frame::data(piece),
                // Pieces are whole messages: the stream ends between two of them.
                Err(error) => {
                    self.ended = true;
                    Frame::trailers(respond::trailers(respond::status(&error)))
                }
            },
            Err(trailers) => trailers,
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn answers_that_nobody_takes_are_counted_and_end_the_stream_when_there_is_no_room() {
        let memory = Memory::new(10_000);
        let messages = (0..4).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![7; 6_000])));
        let body = Body::new(axum::body::Body::from_stream(stream::iter(messages)));
        let mut charged = Charged::new(body, memory.clone(), None);
        let first = charged.frame().await.unwrap().unwrap();
        assert_eq!(memory.held(), 6_000);
        drop(first);
        let mut taken = Vec::new();
        for _ in 0..2 {
            taken.push(charged.frame().await.unwrap().unwrap());
        }
        assert_eq!(memory.held(), 12_000);
        let end = charged.frame().await.unwrap().unwrap();
        let trailers = end.into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "8");
        assert!(charged.frame().await.is_none());
        drop(taken);
        assert_eq!(memory.held(), 0);
    }
}
