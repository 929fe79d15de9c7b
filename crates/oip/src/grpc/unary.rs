//! A plain inference, from message to message: what nearly every call is.
//!
//! It goes past tonic's stubs, which put every message together once more on its way in, copy
//! every tensor on its way out, and box each step between. What is not plain (a compressed
//! message, or none at all) goes the way of the stubs.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use oip_core::Caller;
use oip_core::execute::{Held, UNCOUNTED};
use oip_core::telemetry::Room;
use oip_protocol::proto::generated::{ModelInferRequest, ModelInferResponse};
use oip_protocol::proto::guard;
use prost::Message;
use prost::encoding::encode_varint;
use tokio::time::Instant;
use tonic::Status;

use super::message::{Messages, PREFIX};
use super::pieces;
use super::respond;
use super::service::InferenceService;
use crate::blocking;
use crate::door::Body;
use crate::telemetry::Watched;

/// The path of the call.
pub(super) const PATH: &str = "/inference.GRPCInferenceService/ModelInfer";

/// Messages above this are decoded off the async threads, in bytes. Most of a message is buffers
/// that decoding only slices; what takes long is elements in typed fields.
const LARGE: usize = 1 << 20;
/// Raw contents from this size on, together, are sent as they are, in bytes.
const SHARED: usize = 8 << 10;
/// The key of `raw_output_contents`: field 6, of bytes.
const RAW: u8 = 6 << 3 | 2;

/// What came of a call.
pub(super) enum Arrived {
    /// A message, without its prefix.
    Message(Bytes),
    /// Something else, as it came.
    Other(Bytes),
}

/// Reads the message of a call, and its body to the end.
pub(super) async fn read(body: &mut Messages) -> Result<Arrived, Status> {
    let mut pieces: Vec<Bytes> = Vec::new();
    let (mut length, mut expected) = (0, None);
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame?.into_data() else {
            continue;
        };
        // What follows the one message is read and dropped.
        if expected.is_none_or(|expected| length < expected) {
            length += piece.len();
            pieces.push(piece);
            if expected.is_none() && length >= PREFIX {
                expected = pieces::expected_length(&pieces);
            }
        }
        if body.is_end_stream() {
            break;
        }
    }
    let whole = match pieces.len() {
        0 => Bytes::new(),
        1 => pieces.swap_remove(0),
        _ => pieces::together(&pieces, length),
    };
    Ok(match whole.first() {
        Some(0) if expected == Some(length) => Arrived::Message(whole.slice(PREFIX..)),
        _ => Arrived::Other(whole),
    })
}

/// Runs a model with a message; the answer is a whole response. `held` is what the message holds
/// of the memory, and then the answer until it is sent.
pub(super) async fn infer(
    service: &InferenceService,
    caller: &Caller,
    deadline: Option<Instant>,
    message: Bytes,
    mut held: Held,
    watched: &mut Watched,
) -> Response<Body> {
    watched.received_message(&message);
    let entered = watched.enter();
    let decoded = if message.len() > LARGE {
        let service = service.clone();
        let decoded = blocking::run(move || decode(&service, message)).await;
        decoded.unwrap_or_else(|error| Err(respond::status(&error)))
    } else {
        decode(service, message)
    };
    watched.leave(Room::Decode, entered);
    let decoded = match decoded {
        Ok(decoded) => decoded,
        Err(status) => return status.into_http(),
    };
    if let Err(error) = held.take_parameters(parameter_count(&decoded)) {
        return respond::refusal(&error);
    }
    match service.infer(caller, decoded, deadline, watched).await {
        Ok(response) => answer(response, held, watched).unwrap_or_else(Status::into_http),
        Err(error) => respond::refusal(&error),
    }
}

fn decode(service: &InferenceService, message: Bytes) -> Result<ModelInferRequest, Status> {
    let looked = guard::check::<ModelInferRequest>(&message, &service.door.options.decode);
    looked.map_err(|error| respond::status(&error.into()))?;
    ModelInferRequest::decode(message).map_err(|error| Status::invalid_argument(error.to_string()))
}

/// How many parameters it has, those of its tensors included.
fn parameter_count(request: &ModelInferRequest) -> usize {
    let inputs = request.inputs.iter().map(|input| input.parameters.len());
    let outputs = request.outputs.iter().map(|output| output.parameters.len());
    inputs.chain(outputs).sum::<usize>() + request.parameters.len()
}

fn answer(
    mut response: ModelInferResponse,
    held: Held,
    watched: &mut Watched,
) -> Result<Response<Body>, Status> {
    let raw: usize = response.raw_output_contents.iter().map(Bytes::len).sum();
    let shared = match raw >= SHARED {
        true => std::mem::take(&mut response.raw_output_contents),
        false => Vec::new(),
    };
    let keys: usize = shared
        .iter()
        .map(|buffer| 1 + prost::length_delimiter_len(buffer.len()) + buffer.len())
        .sum();
    let shares = !shared.is_empty();
    let own = response.encoded_len();
    let length = u32::try_from(own + keys)
        .map_err(|_| Status::resource_exhausted("the answer is over 4 GiB"))?;
    let mut text = BytesMut::with_capacity(PREFIX + own + 16 * shared.len());
    text.put_u8(0);
    text.put_u32(length);
    response
        .encode(&mut text)
        .map_err(|error| Status::internal(error.to_string()))?;
    let mut pieces = Vec::with_capacity(1 + 2 * shared.len());
    for buffer in shared {
        text.put_u8(RAW);
        encode_varint(buffer.len() as u64, &mut text);
        pieces.push(text.split().freeze());
        pieces.push(buffer);
    }
    if !text.is_empty() {
        pieces.push(text.freeze());
    }
    watched.encoded(own + keys);
    watched.keep_message(|| pieces_of_message(&pieces));
    if own + keys > UNCOUNTED {
        hold(&mut pieces, held, own + keys, shares)?;
    }
    let mut response = Response::new(Body::new(Answer {
        pieces: pieces.into_iter(),
        ended: false,
    }));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, grpc);
    Ok(response)
}

/// Has an answer of so many bytes count as memory until it is sent; where it `shares` bytes of the
/// message, with all of that.
fn hold(pieces: &mut [Bytes], mut held: Held, length: usize, shares: bool) -> Result<(), Status> {
    let length = match shares {
        true => length.max(held.bytes()),
        false => length,
    };
    held.exchange(length)
        .map_err(|error| respond::status(&error))?;
    held.goes_with(pieces);
    Ok(())
}

/// The pieces without the prefix of the first.
fn pieces_of_message(pieces: &[Bytes]) -> Vec<Bytes> {
    let mut pieces = pieces.to_vec();
    if let Some(first) = pieces.first_mut() {
        *first = first.slice(PREFIX..);
    }
    pieces
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
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // HTTP/2 has no use for empty frames.
        if let Some(piece) = self.pieces.find(|piece| !piece.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if std::mem::replace(&mut self.ended, true) {
            return Poll::Ready(None);
        }
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}
