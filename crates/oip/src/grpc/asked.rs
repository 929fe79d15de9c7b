//! What a message asks for: unpacked, looked over and decoded, all in one piece of work.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use oip_core::execute::{Held, blocking, until};
use oip_protocol::proto::generated::ModelInferRequest;
use oip_protocol::proto::{self, ContentsForm, decode_model_ref, guard};
use oip_protocol::{DecodeError, Error, InferRequest, Limit, ModelRef};
use prost::Message;
use tokio::time::Instant;
use tonic::Status;

use super::frame::Frame;
use super::message::PREFIX;
use super::packed::{self, Packing};
use super::respond;
use crate::door::Door;

/// Messages above this are decoded off the async threads, in bytes. Most of a message is buffers
/// that decoding only slices; what takes long is elements in typed fields.
const LARGE: usize = 1 << 20;
/// Compressed messages above this, in bytes, and such as grow to more than that: as much as may be
/// unpacked for nothing.
const SHORT: usize = 64 << 10;
const MUCH: usize = 256 << 10;

/// A message that was read.
pub(super) struct Read {
    /// Its bytes, unpacked.
    pub(super) message: Bytes,
    /// What it holds of the memory where it was compressed.
    pub(super) unpacked: Option<Held>,
    /// What it asks for, or that it is no such message.
    pub(super) asked: Result<Asked, Status>,
}

/// What a message asks for. What is wrong with it is kept for later: nobody who may not use the
/// model is told.
pub(super) struct Asked {
    pub(super) id: String,
    pub(super) model: Result<ModelRef, DecodeError>,
    pub(super) request: Result<(InferRequest, ContentsForm), DecodeError>,
    /// How many parameters it has, those of its tensors included.
    pub(super) parameters: usize,
}

impl Asked {
    /// The model's name; empty where it has none.
    pub(super) fn model_name(&self) -> String {
        let model = self.model.as_ref();
        model.map_or_else(|_| String::new(), |model| model.name.clone())
    }
}

/// Reads a message until a deadline, off the async threads where that takes long.
///
/// # Errors
/// One that does not unpack, or for which there is no memory then; and the deadline.
pub(super) async fn read(
    door: &Arc<Door>,
    frame: Frame,
    packing: Packing,
    deadline: Option<Instant>,
) -> Result<Read, Status> {
    if is_packed(&frame, packing)? {
        return match unpacked_here(door, &frame) {
            Some(whole) => read_unpacked(door, whole),
            None => {
                let work = move |door: &Door| read_unpacked(door, unpacked(door, frame));
                elsewhere(door, deadline, work).await
            }
        };
    }
    if frame.length() <= LARGE {
        return Ok(read_plain(door, frame.bytes(), None));
    }
    let work = move |door: &Door| Ok(read_plain(door, frame.bytes(), None));
    elsewhere(door, deadline, work).await
}

fn read_unpacked(door: &Door, whole: oip_protocol::Result<Bytes>) -> Result<Read, Status> {
    let message = whole.map_err(|error| respond::status(&error))?;
    let message = message.slice(PREFIX..);
    let mut held = door.dataplane.memory().nothing();
    let room = held.grow(message.len());
    room.map_err(|error| respond::status(&error))?;
    Ok(read_plain(door, message, Some(held)))
}

fn read_plain(door: &Door, message: Bytes, unpacked: Option<Held>) -> Read {
    Read {
        asked: decode(door, message.clone()),
        message,
        unpacked,
    }
}

/// Does what takes long, until a deadline.
async fn elsewhere<T: Send + 'static>(
    door: &Arc<Door>,
    deadline: Option<Instant>,
    work: impl FnOnce(&Door) -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let deadline = door.dataplane.within(deadline);
    let door = Arc::clone(door);
    let done = pin!(blocking::run(move || work(&door)));
    let done = until(deadline, done).await;
    done.unwrap_or_else(|error| Err(respond::status(&error)))
}

fn decode(door: &Door, message: Bytes) -> Result<Asked, Status> {
    let limits = &door.options.decode;
    let looked = guard::check::<ModelInferRequest>(&message, limits);
    looked.map_err(|error| respond::status(&error.into()))?;
    let message = ModelInferRequest::decode(message)
        .map_err(|error| Status::invalid_argument(error.to_string()))?;
    let (name, version) = (message.model_name.clone(), message.model_version.clone());
    Ok(Asked {
        id: message.id.clone(),
        model: decode_model_ref(name, version),
        parameters: parameter_count(&message),
        request: proto::decode_request(message, limits).map(|(_, request, form)| (request, form)),
    })
}

fn parameter_count(request: &ModelInferRequest) -> usize {
    let inputs = request.inputs.iter().map(|input| input.parameters.len());
    let outputs = request.outputs.iter().map(|output| output.parameters.len());
    inputs.chain(outputs).sum::<usize>() + request.parameters.len()
}

/// The message of a call that the stubs answer, as one that was never compressed; with its prefix.
///
/// # Errors
/// One that does not unpack.
pub(super) async fn plain(
    door: &Arc<Door>,
    frame: Frame,
    packing: Packing,
) -> Result<Bytes, Status> {
    if !is_packed(&frame, packing)? {
        return Ok(frame.whole());
    }
    let status = |error: Error| respond::status(&error);
    match unpacked_here(door, &frame) {
        Some(whole) => whole.map_err(status),
        None => {
            let work = move |door: &Door| unpacked(door, frame).map_err(status);
            elsewhere(door, None, work).await
        }
    }
}

/// What a short message unpacks to, unless that is much. The rest of them take longer than may be
/// waited for here, and those that do not need not wait for those that do.
fn unpacked_here(door: &Door, frame: &Frame) -> Option<oip_protocol::Result<Bytes>> {
    if frame.length() > SHORT {
        return None;
    }
    let limit = door.options.body_limit;
    match packed::unpacked(&frame.clone().bytes(), limit.min(MUCH)) {
        Err(error) if limit > MUCH && error.limit() == Some(Limit::Decompressed) => None,
        unpacked => Some(unpacked),
    }
}

fn unpacked(door: &Door, frame: Frame) -> oip_protocol::Result<Bytes> {
    packed::unpacked(&frame.bytes(), door.options.body_limit)
}

/// Whether a message is compressed.
///
/// # Errors
/// `INTERNAL` where it says so and its call does not. Source: gRPC's `compression.md`, which wants
/// this code. And for a flag that means nothing.
fn is_packed(frame: &Frame, packing: Packing) -> Result<bool, Status> {
    match (frame.flag(), packing.comes) {
        (0, _) => Ok(false),
        (1, true) => Ok(true),
        (1, false) => Err(Status::internal(
            "the message is compressed, but grpc-encoding does not say how",
        )),
        (flag, _) => Err(Status::internal(format!(
            "the flag of the message is {flag}, but 0 or 1 was expected"
        ))),
    }
}
