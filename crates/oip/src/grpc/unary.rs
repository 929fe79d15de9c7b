//! A plain inference, from message to message: what nearly every call is.
//!
//! Inferences go past tonic's stubs, which put every message together once more on its way in,
//! copy every tensor on its way out, box each step between, and do all that on the threads that
//! serve connections, whatever it takes.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use http_body::Frame as Piece;
use oip_core::Caller;
use oip_core::execute::Held;
use oip_core::telemetry::Room;
use tokio::time::Instant;
use tonic::Status;

use super::answer::{self, Wrapping};
use super::frame::Frame;
use super::packed::Packing;
use super::service::InferenceService;
use super::{asked, respond};
use crate::door::Body;
use crate::telemetry::Watched;

/// The path of the call.
pub(super) const PATH: &str = "/inference.GRPCInferenceService/ModelInfer";

/// Who asks, until when, and how messages are compressed.
pub(super) struct Terms<'a> {
    pub(super) caller: &'a Caller,
    pub(super) deadline: Option<Instant>,
    pub(super) packing: Packing,
}

/// Runs a model with a message; the answer is a whole response. `held` is what the message holds
/// of the memory, and then the answer until it is sent.
///
/// # Errors
/// Whatever keeps it from being answered.
pub(super) async fn infer(
    service: &InferenceService,
    terms: Terms<'_>,
    frame: Frame,
    held: Held,
    watched: &mut Watched,
) -> Result<Response<Body>, Status> {
    let Terms {
        caller,
        deadline,
        packing,
    } = terms;
    let entered = watched.enter();
    let read = asked::read(&service.door, frame, packing, deadline).await;
    watched.leave(Room::Decode, entered);
    let read = read?;
    watched.received_message(&read.message);
    let asked = read.asked?;
    // Of a compressed message nothing is left but what it was unpacked to.
    let mut held = read.unpacked.unwrap_or(held);
    let parameters = held.take_parameters(asked.parameters);
    parameters.map_err(|error| respond::status(&error))?;
    let answered = service.infer(caller, asked, deadline, watched).await;
    let (response, form) = answered.map_err(|error| respond::status(&error))?;
    let wrapping = Wrapping {
        streams: false,
        packs: packing.goes,
    };
    let deadline = || service.door.dataplane.within(deadline);
    let encoded = answer::encode(response, form, wrapping, deadline).await?;
    watched.encoded(encoded.length());
    watched.keep_message(|| encoded.message());
    let length = held.bytes();
    let mut response = Response::new(Body::new(Answer {
        pieces: encoded.sent(held, length)?.into_iter(),
        ended: false,
    }));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    packing.tell(headers);
    Ok(response)
}

/// A message in pieces, and the status behind it.
struct Answer {
    pieces: vec::IntoIter<Bytes>,
    ended: bool,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece<Bytes>, Infallible>>> {
        if let Some(piece) = self.pieces.next() {
            return Poll::Ready(Some(Ok(Piece::data(piece))));
        }
        if std::mem::replace(&mut self.ended, true) {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Piece::trailers(respond::no_failure()))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}
