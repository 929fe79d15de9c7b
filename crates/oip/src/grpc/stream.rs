//! Inferences over one stream: each request is answered, in order.
//!
//! When the server stops, a stream that rests is ended, so that it does not hold the stop up. A
//! request may be on its way just then: so a stream is given a while first, and longer where a part
//! of a request has come.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body::Frame as Piece;
use http_body_util::StreamBody;
use oip_core::telemetry::Room;
use oip_core::{Action, Arrival, Caller, Dataplane, execute};
use oip_protocol::Error;
use oip_protocol::proto::generated::ModelInferResponse;
use tokio::time::Instant;
use tonic::codegen::tokio_stream::Stream;
use tonic::{Code, Status};

use super::answer::{self, Wrapping};
use super::frame::{self, Frame};
use super::message::{Arriving, Messages};
use super::packed::Packing;
use super::service::InferenceService;
use super::{asked, respond};
use crate::door::{self, Body, ClientCertificate, DoorOptions, Remote};
use crate::telemetry::{OpenStream, Watched};

/// The path of the call.
pub(super) const PATH: &str = "/inference.GRPCInferenceService/ModelStreamInfer";

/// How long a stream may still wait for its caller when the server stops, and how often it looks
/// after that whether more of a request has come.
const GRACE: Duration = Duration::from_millis(500);

/// A stream of answers that the stubs write.
pub(super) type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the head of the call leaves behind for its stream.
pub(super) struct Head {
    /// What the caller showed, but for headers.
    pub(super) arrival: Arrival,
    /// Those headers that are [`kept`].
    pub(super) headers: HeaderMap,
    /// Where the call came from.
    pub(super) remote: Arc<Remote>,
    pub(super) deadline: Option<Instant>,
    pub(super) packing: Packing,
    /// Counted until the answer is gone.
    pub(super) _counted: Option<OpenStream>,
}

/// Answers the requests of a stream one after the other. What is wrong with one of them stands
/// in its own answer; the stream ends when the caller ends it, when what comes is no message, at
/// the deadline, when what the caller has shown does not hold any more, and, between two requests,
/// when the server stops.
pub(super) fn answer(
    service: InferenceService,
    caller: Caller,
    mut messages: Messages,
    head: Head,
) -> Response<Body> {
    let packing = head.packing;
    let talk = Talk {
        arriving: messages.arriving(),
        wrapping: Wrapping {
            streams: true,
            packs: packing.goes,
        },
        head,
        service,
        caller,
        messages,
        ended: false,
    };
    let turns = stream::unfold(talk, async |mut talk| {
        let pieces = talk.turn().await?;
        Some((stream::iter(pieces), talk))
    });
    let pieces = turns.flatten().map(Ok::<_, Infallible>);
    let mut response = Response::new(Body::new(StreamBody::new(pieces)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    packing.tell(headers);
    response
}

/// What of a stream's head its inferences are to know: where it stands in a trace, its id, and what
/// handlers may see. A stream lives long, so nothing else of the head is kept.
pub(super) fn kept(head: &HeaderMap, options: &DoorOptions) -> HeaderMap {
    let own = ["traceparent", "tracestate", "x-request-id"];
    let is_kept = |name: &HeaderName| {
        let name = name.as_str();
        own.contains(&name) || options.forward_headers.iter().any(|known| known == name)
    };
    let kept = head.iter().filter(|(name, _)| is_kept(name));
    kept.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

struct Talk {
    head: Head,
    service: InferenceService,
    caller: Caller,
    messages: Messages,
    arriving: Arriving,
    wrapping: Wrapping,
    ended: bool,
}

impl Talk {
    /// What is sent next: an answer, or the end.
    async fn turn(&mut self) -> Option<Vec<Piece<Bytes>>> {
        if self.ended {
            return None;
        }
        let trailers = match self.next().await {
            Ok(Some(answer)) => return Some(answer.into_iter().map(Piece::data).collect()),
            Ok(None) => respond::no_failure(),
            Err(status) => respond::trailers(status),
        };
        self.ended = true;
        Some(vec![Piece::trailers(trailers)])
    }

    /// The answer to the next request; none when there is no further one.
    async fn next(&mut self) -> Result<Option<Vec<Bytes>>, Status> {
        let deadline = self.head.deadline;
        // The outer failure is the deadline's, the inner one a status already.
        let frame = execute::until(deadline, pin!(async { Ok(self.request().await) })).await;
        let Some(frame) = frame.map_err(|error| respond::status(&error))?? else {
            return Ok(None);
        };
        // Each is a span of its own, which handlers are to see as the one above theirs.
        let mut headers = self.head.headers.clone();
        let mut watched = Watched::of_stream(&self.service.door, &mut headers);
        let answered = self.answer(frame, &headers, &mut watched).await;
        let failure = match &answered {
            Ok((_, failure)) => failure
                .as_ref()
                .map(|error| (error.kind(), error.message())),
            Err(status) => respond::kind(status.code() as i32).map(|kind| (kind, status.message())),
        };
        watched.end(None, failure, &mut HeaderMap::new());
        Ok(Some(answered?.0))
    }

    /// The answer to a request, or its failure as one.
    async fn answer(
        &mut self,
        frame: Frame,
        headers: &HeaderMap,
        watched: &mut Watched,
    ) -> Result<(Vec<Bytes>, Option<Error>), Status> {
        let (deadline, packing) = (self.head.deadline, self.head.packing);
        let door = Arc::clone(&self.service.door);
        let entered = watched.enter();
        let read = asked::read(&door, frame, packing, deadline).await;
        watched.leave(Room::Decode, entered);
        let read = read?;
        watched.received_message(&read.message);
        let asked = read.asked?;
        self.know_caller(headers).await?;
        let (id, model) = (asked.id.clone(), asked.model_name());
        let nothing = || door.dataplane.memory().nothing();
        let mut held = read.unpacked.unwrap_or_else(nothing);
        let answered = match held.take_parameters(asked.parameters) {
            Ok(()) => {
                let infer = self.service.infer(&self.caller, asked, deadline, watched);
                infer.await
            }
            Err(error) => Err(error),
        };
        let (encoded, failure) = match answered {
            Ok((response, form)) => {
                let deadline = || door.dataplane.within(deadline);
                let encoded = answer::encode(response, form, self.wrapping, deadline).await?;
                watched.encoded(encoded.length());
                watched.keep_message(|| encoded.message());
                (encoded, None)
            }
            Err(error) => (self.failure(&error, id, model)?, Some(error)),
        };
        Ok((encoded.sent(held, read.message.len())?, failure))
    }

    /// A failure that stands in the stream.
    fn failure(
        &self,
        error: &Error,
        id: String,
        model_name: String,
    ) -> Result<answer::Encoded, Status> {
        if let Some(limit) = error.limit() {
            limit.reached();
        }
        let response = ModelInferResponse {
            id,
            model_name,
            ..ModelInferResponse::default()
        };
        answer::failed(error.message(), response, self.wrapping)
    }

    /// Who is asking now: a stream lives long, and meanwhile tokens expire, certificates too, and
    /// keys are withdrawn.
    async fn know_caller(&mut self, headers: &HeaderMap) -> Result<(), Status> {
        let door = &self.service.door;
        let forwarded = &door.options.forward_headers;
        if door.dataplane.is_open() && forwarded.is_empty() {
            return Ok(());
        }
        let mut arrival = self.head.arrival.clone();
        arrival.action = Some(Action::Infer);
        arrival.headers = door::forwarded(headers, forwarded);
        let certificate = self.head.remote.certificate.as_ref();
        arrival.credentials.client_certificate = certificate.map(ClientCertificate::shown);
        let caller = door.dataplane.authenticate(arrival).await;
        self.caller = caller.map_err(|error| respond::status(&error))?;
        Ok(())
    }

    async fn request(&mut self) -> Result<Option<Frame>, Status> {
        let message = async {
            match frame::next(&mut self.messages).await {
                // The caller has left, and nobody reads an answer.
                Err(status) if status.code() == Code::Cancelled => Ok(None),
                message => message,
            }
        };
        next_message(&self.service.door.dataplane, message, &self.arriving).await
    }
}

/// The next message of a stream; none at its end. A stream that waits for its caller ends when
/// the server stops, so that it does not hold that up.
pub(super) async fn next_message<T>(
    dataplane: &Dataplane,
    message: impl Future<Output = Result<Option<T>, Status>>,
    arriving: &Arriving,
) -> Result<Option<T>, Status> {
    let mut message = pin!(message);
    tokio::select! {
        biased;
        message = &mut message => return message.map_err(respond::by_the_table),
        () = dataplane.closing() => {}
    }
    loop {
        match tokio::time::timeout(GRACE, &mut message).await {
            Ok(message) => return message.map_err(respond::by_the_table),
            Err(_) if arriving.is_so() => {}
            Err(_) => {
                let error = Error::unavailable("the server is shutting down");
                return Err(respond::status(&error));
            }
        }
    }
}
