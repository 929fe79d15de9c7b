//! Inferences over one stream: each request is answered, in order.
//!
//! When the server stops, a stream that rests is ended, so that it does not hold the stop up. A
//! request may be on its way just then: so a stream is given a while first, and longer where a part
//! of a request has come.

use std::pin::{Pin, pin};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::stream;
use http::HeaderMap;
use http::request::Parts;
use oip_core::{Action, Caller, Dataplane, execute};
use oip_protocol::Error;
use oip_protocol::proto::generated::{
    ModelInferRequest, ModelInferResponse, ModelStreamInferResponse,
};
use tokio::time::Instant;
use tonic::codegen::tokio_stream::Stream;
use tonic::{Status, Streaming};

use super::codec::Unpacked;
use super::message::Arriving;
use super::service::InferenceService;
use super::{codec, respond};
use crate::door::{self, Present, Remote};
use crate::telemetry::Watched;

/// How long a stream may still wait for its caller when the server stops, and how often it looks
/// after that whether more of a request has come.
const GRACE: Duration = Duration::from_millis(500);

/// A stream of answers.
pub(super) type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The answers of one stream of inferences.
pub(super) type Answers = Boxed<ModelStreamInferResponse>;

/// Answers the requests of a stream one after the other. What is wrong with one of them stands
/// in its own answer; the stream ends when the caller ends it, when what comes is no message, at
/// the deadline, when what the caller has shown does not hold any more, and, between two requests,
/// when the server stops.
pub(super) fn answers(
    service: InferenceService,
    caller: Caller,
    requests: Streaming<ModelInferRequest>,
    deadline: Option<Instant>,
    request: Head,
) -> Answers {
    let talk = Talk {
        head: request,
        service,
        caller,
        requests,
        deadline,
    };
    Box::pin(stream::unfold(Some(talk), async |talk| {
        let mut talk = talk?;
        match talk.next().await {
            Ok(Some(answer)) => Some((Ok(answer), Some(talk))),
            Ok(None) => None,
            Err(status) => Some((Err(status), None)),
        }
    }))
}

/// What the head of the call leaves behind for its stream.
pub(super) struct Head {
    /// The head itself, with what the caller showed.
    pub(super) parts: Parts,
    /// Where the call came from.
    pub(super) remote: Arc<Remote>,
    /// Where the stream stands in a trace.
    pub(super) headers: HeaderMap,
    pub(super) arriving: Arriving,
    /// Where its messages are compressed.
    pub(super) unpacked: Option<Unpacked>,
}

struct Talk {
    head: Head,
    service: InferenceService,
    caller: Caller,
    requests: Streaming<ModelInferRequest>,
    deadline: Option<Instant>,
}

impl Talk {
    /// The answer to the next request; none when there is no further one.
    async fn next(&mut self) -> Result<Option<ModelStreamInferResponse>, Status> {
        let deadline = self.deadline;
        // The outer failure is the deadline's, the inner one a status already.
        let request = execute::until(deadline, pin!(async { Ok(self.request().await) })).await;
        let Some(request) = request.map_err(|error| respond::status(&error))?? else {
            return Ok(None);
        };
        self.know_caller().await?;
        let (id, model_name) = (request.id.clone(), request.model_name.clone());
        let door = &self.service.door;
        let mut watched = Watched::of_stream(door, &self.head.headers);
        watched.receive(&request);
        let result = self
            .service
            .infer(&self.caller, request, deadline, &mut watched)
            .await;
        watched.send(&result);
        let failure = result.as_ref().err();
        let failure = failure.map(|error| (error.kind(), error.message()));
        watched.end(None, failure, &mut HeaderMap::new());
        if let Some(limit) = result.as_ref().err().and_then(Error::limit) {
            limit.reached();
        }
        match result {
            Ok(response) => Ok(Some(ModelStreamInferResponse {
                error_message: String::new(),
                infer_response: Some(response),
            })),
            Err(error) => Ok(Some(ModelStreamInferResponse {
                error_message: error.message().to_owned(),
                infer_response: Some(ModelInferResponse {
                    id,
                    model_name,
                    ..ModelInferResponse::default()
                }),
            })),
        }
    }

    /// Who is asking now: a stream lives long, and meanwhile tokens expire, certificates too, and
    /// keys are withdrawn.
    async fn know_caller(&mut self) -> Result<(), Status> {
        let door = &self.service.door;
        if door.dataplane.is_open() {
            return Ok(());
        }
        let parts = &self.head.parts;
        let present = Present::of(&parts.headers);
        let mut arrival = door::arrival(parts, present, &self.head.remote, &door.options);
        arrival.action = Some(Action::Infer);
        let caller = door.dataplane.authenticate(arrival).await;
        self.caller = caller.map_err(|error| respond::status(&error))?;
        Ok(())
    }

    async fn request(&mut self) -> Result<Option<ModelInferRequest>, Status> {
        let door = Arc::clone(&self.service.door);
        let dataplane = Arc::clone(&door.dataplane);
        let message = next_message(&dataplane, &mut self.requests, &self.head.arriving);
        let message = codec::DOOR.scope(door, message);
        match &self.head.unpacked {
            None => message.await,
            Some(held) => {
                // The one before was answered.
                held.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .release();
                codec::UNPACKED.scope(Arc::clone(held), message).await
            }
        }
    }
}

/// The next message of a stream; none at its end. A stream that waits for its caller ends when
/// the server stops, so that it does not hold that up.
pub(super) async fn next_message<T>(
    dataplane: &Dataplane,
    messages: &mut Streaming<T>,
    arriving: &Arriving,
) -> Result<Option<T>, Status> {
    let mut message = pin!(messages.message());
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
