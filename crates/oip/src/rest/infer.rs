//! Inference.

use std::pin::pin;

use http::{HeaderMap, HeaderName, HeaderValue};
use oip_core::access::actions;
use oip_core::execute::{Held, blocking, until};
use oip_core::telemetry::{Room, Way};
use oip_core::{Dataplane, Permit};
use oip_protocol::binary::{self, OutputForms};
use oip_protocol::json::{self, NonFinite};
use oip_protocol::{Bytes, DecodeLimits, Error, InferRequest, InferResponse, Result};
use tokio::time::Instant;

use super::Arrived;
use super::body::{self, Form, HEADER_LENGTH};
use super::respond::{JSON, Reply};
use crate::door::{Door, Present};
use crate::telemetry::Watched;

/// The header by which a request says what becomes of floats that JSON has no number for.
static NON_FINITE: HeaderName = HeaderName::from_static("x-oip-non-finite");

/// What takes longer than this many bytes of JSON is decoded and encoded off the async threads,
/// so that small requests keep their latency.
const LARGE: usize = 256 << 10;
/// The same of a body with binary tensors whose elements have to be looked at.
const LARGE_BINARY: usize = 1 << 20;
/// Bodies up to this are read without a look at the queue of their model, in bytes.
const SMALL: usize = 64 << 10;

/// Runs a model.
pub(super) async fn infer(arrived: &mut Arrived) -> Result<Reply> {
    let (present, headers) = (arrived.present, &mut arrived.parts.headers);
    let mut watched = Watched::begin(&arrived.rest.door, Way::Rest, present, headers);
    watched.may_tell(arrived.model.as_ref());
    let result = run(arrived, &mut watched).await;
    let model = arrived.model.as_ref();
    Ok(match result {
        Ok(mut reply) => {
            watched.end(model, None, &mut reply.headers);
            reply
        }
        Err(error) => {
            let mut reply = Reply::error(&error);
            let failure = (error.kind(), error.message());
            watched.end(model, Some(failure), &mut reply.headers);
            reply
        }
    })
}

async fn run(arrived: &mut Arrived, watched: &mut Watched) -> Result<Reply> {
    let deadline = arrived.deadline();
    let waits = deadline.as_ref().copied().unwrap_or(None);
    let permit = {
        // Pinned here, as the next: handed on by value they would be moved with all of their size.
        let permit = pin!(arrived.permit_seen(Some(&mut watched.seen)));
        until(waits, permit).await?
    };
    // Held until the answer is made, and then by what the answer takes until it is sent.
    let mut held = arrived.rest.door.dataplane.memory().nothing();
    let read = read(arrived, &permit, &deadline, &mut held, watched).await;
    let (request, non_finite) = match read {
        Ok(read) => read,
        Err(error) => {
            // The permit has taken it.
            arrived.model = permit.model().cloned();
            return Err(error);
        }
    };
    let forms = OutputForms::new(&request);
    let dataplane = &arrived.rest.door.dataplane;
    let deadline = deadline?;
    let response = dataplane
        .infer_seen(permit, request, deadline, &mut watched.seen)
        .await?;
    watched.answered(&response.model_name, response.model_version.as_deref());
    let shares = forms.any_binary();
    let deadline = || dataplane.within(deadline);
    let mut reply = encode(response, forms, non_finite, deadline).await?;
    watched.encoded(reply.length());
    if watched.keeps() {
        let length = reply.headers.get(&HEADER_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        watched.keep_answer(length, &reply.content);
    }
    reply.hold(held, shares)?;
    Ok(reply)
}

/// The request that the body holds, and what becomes of floats that JSON has no number for.
async fn read(
    arrived: &mut Arrived,
    permit: &Permit<actions::Infer>,
    deadline: &Result<Option<Instant>>,
    held: &mut Held,
    watched: &mut Watched,
) -> Result<(InferRequest, NonFinite)> {
    let deadline = deadline.clone()?;
    let form = Form::of(&arrived.parts.headers, arrived.present)?;
    let non_finite = match arrived.present.has(Present::NON_FINITE) {
        true => non_finite(&arrived.parts.headers)?,
        false => arrived.rest.door.options.non_finite,
    };
    let declared = body::declared(&arrived.parts.headers, &arrived.body);
    let most = arrived.rest.door.options.body_limit;
    let dataplane = &arrived.rest.door.dataplane;
    dataplane.refuse_full(watched.before())?;
    refuse_overload(dataplane, declared, most, permit, deadline).await?;
    let entered = watched.enter();
    let body = {
        let body = pin!(body::read(arrived, declared, form.header_length(), held));
        until(deadline, body).await?
    };
    watched.received(&body, form.binary_length());
    let request = decode(body, form, &arrived.rest.door, deadline).await;
    watched.leave(Room::Decode, entered);
    let request = request?;
    held.take_parameters(request.parameter_count())?;
    Ok((request, non_finite))
}

/// Refuses a request that would be refused for want of room or time, before its body is read.
async fn refuse_overload(
    dataplane: &Dataplane,
    declared: Option<usize>,
    most: usize,
    permit: &Permit<actions::Infer>,
    deadline: Option<tokio::time::Instant>,
) -> Result<()> {
    if declared.is_some_and(|length| length <= SMALL || length > most) {
        // Looking takes longer than reading; one over its limit is told so, whatever room there is.
        return Ok(());
    }
    dataplane.memory().refuse_announced(declared.unwrap_or(1))?;
    dataplane.refuse_queued(permit, deadline).await
}

fn non_finite(headers: &HeaderMap) -> Result<NonFinite> {
    let value = headers.get(&NON_FINITE).map(HeaderValue::as_bytes);
    let value = String::from_utf8_lossy(value.unwrap_or_default());
    let known = value.trim().parse::<NonFinite>();
    known.map_err(|error| Error::malformed(format!("X-OIP-Non-Finite: {error}")))
}

async fn decode(
    body: Bytes,
    form: Form,
    door: &Door,
    deadline: Option<Instant>,
) -> Result<InferRequest> {
    let limits = &door.options.decode;
    let is_large = match form {
        Form::Json => body.len() > LARGE,
        Form::Binary(length) => {
            let (header, _) = body.split_at(length.min(body.len()));
            header.len() > LARGE || body.len() > LARGE_BINARY && names_elements(header)
        }
    };
    if !is_large {
        return decode_now(body, form, limits);
    }
    let limits = limits.clone();
    let decoded = pin!(blocking::run(move || decode_now(body, form, &limits)));
    until(door.dataplane.within(deadline), decoded).await?
}

/// Whether the header of a body may have tensors of which each element is looked at: all others are
/// taken as they lie.
fn names_elements(header: &[u8]) -> bool {
    let names = |text: &[u8]| header.windows(text.len()).any(|part| part == text);
    // Behind an escape there may be anything.
    header.contains(&b'\\') || names(b"BOOL") || names(b"BYTES")
}

fn decode_now(body: Bytes, form: Form, limits: &DecodeLimits) -> Result<InferRequest> {
    let decoded = match form {
        Form::Json => json::decode_request(&body, limits),
        Form::Binary(length) => binary::decode_request(body, length, limits),
    };
    Ok(decoded?)
}

async fn encode(
    response: InferResponse,
    forms: OutputForms,
    non_finite: NonFinite,
    deadline: impl FnOnce() -> Option<Instant>,
) -> Result<Reply> {
    let json = response
        .outputs
        .iter()
        .filter(|output| !forms.is_binary(output.name()));
    let text: usize = json.map(|output| output.data().len()).sum();
    if text <= LARGE {
        return encode_now(&response, &forms, non_finite);
    }
    let encoded = pin!(blocking::run(move || encode_now(
        &response, &forms, non_finite
    )));
    until(deadline(), encoded).await?
}

fn encode_now(
    response: &InferResponse,
    forms: &OutputForms,
    non_finite: NonFinite,
) -> Result<Reply> {
    if !forms.any_binary() {
        let content = json::encode_response(response, non_finite)?;
        return Ok(Reply::of(JSON, content));
    }
    let wants_binary = |name: &str| forms.is_binary(name);
    let body = binary::encode_response(response, non_finite, &wants_binary)?;
    let length = HeaderValue::from(body.header_length());
    let mut content = Vec::with_capacity(1 + body.buffers.len());
    content.push(body.header.into());
    content.extend(body.buffers);
    let mut reply = Reply::of(
        HeaderValue::from_static("application/octet-stream"),
        content,
    );
    reply.headers.insert(HEADER_LENGTH.clone(), length);
    Ok(reply)
}
