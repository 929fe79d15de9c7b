//! Inferences over one stream: each request is answered, in order.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use http::HeaderMap;
use oip_core::dataplane::Phase;
use oip_core::{Caller, Dataplane, execute};
use oip_protocol::Error;
use oip_protocol::proto::generated::{
    ModelInferRequest, ModelInferResponse, ModelStreamInferResponse,
};
use tokio::time::Instant;
use tonic::codegen::tokio_stream::Stream;
use tonic::{Status, Streaming};

use super::service::InferenceService;
use super::{codec, respond};
use crate::telemetry::Watched;

/// How often a stream that waits for its caller looks whether the server stops.
const EVERY: Duration = Duration::from_millis(500);

/// A stream of answers.
pub(super) type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The answers of one stream of inferences.
pub(super) type Answers = Boxed<ModelStreamInferResponse>;

/// Answers the requests of a stream one after the other. What is wrong with one of them stands
/// in its own answer; the stream ends when the caller ends it, when what comes is no message, at
/// the deadline, and, between two requests, when the server stops.
pub(super) fn answers(
    service: InferenceService,
    caller: Caller,
    requests: Streaming<ModelInferRequest>,
    deadline: Option<Instant>,
    headers: HeaderMap,
) -> Answers {
    let talk = Talk {
        service,
        caller,
        requests,
        deadline,
        headers,
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

struct Talk {
    service: InferenceService,
    caller: Caller,
    requests: Streaming<ModelInferRequest>,
    deadline: Option<Instant>,
    /// Where the stream stands in a trace.
    headers: HeaderMap,
}

impl Talk {
    /// The answer to the next request; none when there is no further one.
    async fn next(&mut self) -> Result<Option<ModelStreamInferResponse>, Status> {
        let deadline = self.deadline;
        // The outer failure is the deadline's, the inner one a status already.
        let request = execute::until(deadline, async { Ok(self.request().await) }).await;
        let Some(request) = request.map_err(|error| respond::status(&error))?? else {
            return Ok(None);
        };
        let (id, model_name) = (request.id.clone(), request.model_name.clone());
        let door = &self.service.door;
        let mut watched = Watched::of_stream(door, &self.headers);
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

    async fn request(&mut self) -> Result<Option<ModelInferRequest>, Status> {
        let door = Arc::clone(&self.service.door);
        let dataplane = Arc::clone(&door.dataplane);
        let message = next_message(&dataplane, &mut self.requests);
        codec::DOOR.scope(door, message).await
    }
}

/// The next message of a stream; none at its end. A stream that waits for its caller ends when
/// the server stops, so that it does not hold that up.
pub(super) async fn next_message<T>(
    dataplane: &Dataplane,
    messages: &mut Streaming<T>,
) -> Result<Option<T>, Status> {
    let message = messages.message();
    tokio::pin!(message);
    loop {
        match tokio::time::timeout(EVERY, &mut message).await {
            Ok(message) => return message.map_err(respond::by_the_table),
            Err(_) if dataplane.phase() == Phase::Closing => {
                let error = Error::unavailable("the server is shutting down");
                return Err(respond::status(&error));
            }
            Err(_) => {}
        }
    }
}
