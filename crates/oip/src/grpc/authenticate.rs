//! What is decided from the head of a call, before its message is read.

use std::pin::pin;
use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, Method as HttpMethod, Request, Response, Uri};
use oip_core::access::actions;
use oip_core::telemetry::{Room, Way};
use oip_core::{Action, Arrival, BoxFuture, Caller, execute};
use oip_protocol::{Error, Limit, Result};
use tokio::time::Instant;
use tonic::Status;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tower::Service;

use super::charged::Charged;
use super::generated::grpc_inference_service_server::GrpcInferenceServiceServer;
use super::message::{Messages, Of};
use super::methods::{self, Method};
use super::packed::Packing;
use super::service::InferenceService;
use super::unary::{self, Terms};
use super::{asked, codec, frame, health, reflection, respond, stream};
use crate::door::{self, Answering, Body, Door, Origins, Present, Remote, Serves};
use crate::telemetry::{OpenStream, Watched};

/// The door's entrance: who is asking, is there such a method, is there still time.
#[derive(Clone)]
pub(super) struct Gate(Arc<Inner>);

struct Inner {
    door: Arc<Door>,
    origins: Arc<Origins>,
    service: InferenceService,
    inference: GrpcInferenceServiceServer<InferenceService>,
    /// The same with compressed answers, for requests that are compressed themselves.
    packed: GrpcInferenceServiceServer<InferenceService>,
    others: Routes,
}

impl Gate {
    pub(super) fn new(door: Arc<Door>, origins: Arc<Origins>) -> Self {
        let others = Routes::new(health::service(&door));
        let service = InferenceService {
            door: Arc::clone(&door),
        };
        let inference = service.clone().server();
        Self(Arc::new(Inner {
            service,
            packed: inference.clone().send_compressed(CompressionEncoding::Gzip),
            inference,
            others: reflection::add_to(others, &door).prepare(),
            door,
            origins,
        }))
    }
}

impl Serves for Gate {
    fn answer(&self, request: Request<Body>, remote: Arc<Remote>) -> Answering {
        let inner = Arc::clone(&self.0);
        // Taken apart here: within, the future would hold the parts several times.
        let (mut parts, body) = request.into_parts();
        let mut present = Present::of(&parts.headers);
        let id = door::identify(&mut parts, &mut present, &inner.door);
        Box::pin(async move {
            let mut response = inner.answer(&mut parts, present, body, remote).await;
            if let Some(id) = id {
                door::show(id, response.headers_mut());
            }
            Ok(response)
        })
    }
}

/// What is known of a call while it is answered.
struct Passing {
    present: Present,
    remote: Arc<Remote>,
    /// What it asks for, once that is known.
    action: Option<Action>,
    /// Where it is an inference.
    watched: Option<Watched>,
    /// Where it is a stream that may rest.
    stream: Option<OpenStream>,
}

impl Inner {
    /// The answer to a call, counted.
    async fn answer(
        &self,
        parts: &mut Parts,
        present: Present,
        body: Body,
        remote: Arc<Remote>,
    ) -> Response<Body> {
        let is_inference = parts.uri.path().ends_with("/ModelInfer");
        let begin = || Watched::begin(&self.door, Way::Grpc, present, &mut parts.headers);
        let mut passing = Passing {
            present,
            remote,
            action: None,
            watched: is_inference.then(begin),
            stream: None,
        };
        let result = self.within_time(parts, body, &mut passing).await;
        let (mut response, failure) = match result {
            Ok(response) => (response, None),
            Err(error) => (respond::refusal(&error), Some(error)),
        };
        let code = respond::code(&response);
        self.door.telemetry.calls.grpc(passing.action, code);
        if let Some(watched) = passing.watched {
            respond::end(watched, failure.as_ref(), &mut response);
        }
        response
    }

    /// The whole call within its deadline, the reading of its message included.
    async fn within_time(
        &self,
        parts: &mut Parts,
        body: Body,
        passing: &mut Passing,
    ) -> Result<Response<Body>> {
        if parts.method != HttpMethod::POST || !is_grpc(&parts.headers) {
            door::refuse_foreign_origin(&parts.headers, &self.origins)?;
            return Ok(respond::not_grpc(&parts.method));
        }
        let present = passing.present;
        let deadline = match present.has(Present::TIMEOUT) {
            true => door::deadline(&parts.headers)?,
            false => None,
        };
        let call = pin!(self.call(parts, body, passing, deadline));
        execute::until(deadline, call).await
    }

    async fn call(
        &self,
        parts: &mut Parts,
        body: Body,
        passing: &mut Passing,
        deadline: Option<Instant>,
    ) -> Result<Response<Body>> {
        let (method, caller) = self.admit(parts, passing).await?;
        if let Method::Call(Action::Infer) = method {
            let before = passing.watched.as_ref().map_or(0, Watched::before);
            self.door.dataplane.refuse_full(before)?;
            self.door.dataplane.memory().refuse_announced(1)?;
        }
        let rests = methods::is_stream(parts.uri.path());
        if methods::may_rest(parts.uri.path()) {
            passing.stream = Some(self.begin_stream()?);
        }
        let of = match method {
            _ if rests => Of::Stream,
            Method::Call(Action::Infer) => Of::Inference,
            _ => Of::Other,
        };
        let body = Messages::new(body, &self.door, of);
        let packing = match passing.present.has(Present::ENCODING) {
            true => Packing::of(&parts.headers),
            false => Some(Packing::default()),
        };
        Ok(match (parts.uri.path(), caller, packing) {
            (unary::PATH, Some(caller), Some(packing)) => {
                let terms = Terms {
                    caller: &caller,
                    deadline,
                    packing,
                };
                let answer = self.infer(parts, body, terms, passing).await;
                answer.unwrap_or_else(Status::into_http)
            }
            (stream::PATH, Some(caller), Some(packing)) => {
                let options = &self.door.options;
                let arrival = door::arrival(parts, passing.present, &passing.remote, options);
                let head = stream::Head {
                    arrival: Arrival {
                        headers: Vec::new(),
                        ..arrival
                    },
                    headers: stream::kept(&parts.headers, options),
                    remote: Arc::clone(&passing.remote),
                    deadline,
                    packing,
                    _counted: passing.stream.take(),
                };
                stream::answer(self.service.clone(), caller, body, head)
            }
            // What is packed in a way that is not read is refused by the stubs.
            (_, caller, packing) => {
                if let Some(caller) = caller {
                    // For the calls that the stubs make.
                    parts.extensions.insert(caller);
                }
                let packing = packing.unwrap_or_default();
                self.dispatch(method, parts, body, packing, passing).await
            }
        })
    }

    /// A place among the streams that may rest.
    fn begin_stream(&self) -> Result<OpenStream> {
        let connections = &self.door.telemetry.connections;
        connections.begin_stream().ok_or_else(|| {
            let most = connections.most();
            let message = format!("this server has as many open streams as it takes: {most}");
            let error = Error::too_many_requests(message).retry_after(1);
            error.at_limit(Limit::Streams)
        })
    }

    /// Lets a call in, or refuses it. Probes may have no caller.
    async fn admit(
        &self,
        parts: &mut Parts,
        passing: &mut Passing,
    ) -> Result<(Method, Option<Caller>)> {
        let present = passing.present;
        if present.has(Present::ORIGIN) {
            door::refuse_foreign_origin(&parts.headers, &self.origins)?;
        }
        rename(parts)?;
        let method = methods::find(parts.uri.path());
        passing.action = method.as_ref().ok().and_then(Method::action);
        let open = !self.door.options.probes_by_policy;
        if let (true, Ok(Method::Probe(_) | Method::Health)) = (open, &method) {
            // Decided here alone, so that a probe never fails with somebody else.
            return method.map(|method| (method, None));
        }
        let dataplane = &self.door.dataplane;
        let mut arrival = door::arrival(parts, present, &passing.remote, &self.door.options);
        arrival.action = passing.action;
        let entered = passing.watched.as_ref().and_then(Watched::enter);
        let caller = dataplane.authenticate(arrival).await;
        if let Some(watched) = &mut passing.watched {
            watched.leave(Room::Authenticate, entered);
        }
        let caller = caller?;
        door::note_caller(&parts.extensions, &caller);
        let method = method?;
        match method {
            Method::Absent(extension) => return Err(methods::absent(extension)),
            Method::Call(Action::Logging) if !self.door.telemetry.has_log() => {
                return Err(methods::absent("logging"));
            }
            Method::Call(action) => dataplane.refuse_unread(&caller, action).await?,
            Method::Probe(Action::Live) => {
                dataplane.authorize::<actions::Live>(&caller).await?;
            }
            Method::Probe(_) | Method::Health => {
                dataplane.authorize::<actions::Ready>(&caller).await?;
            }
            Method::Reflection => {
                dataplane.authorize::<actions::Reflection>(&caller).await?;
            }
        }
        Ok((method, Some(caller)))
    }

    /// A plain inference.
    async fn infer(
        &self,
        parts: &mut Parts,
        mut body: Messages,
        terms: Terms<'_>,
        passing: &mut Passing,
    ) -> Result<Response<Body>, Status> {
        let entered = passing.watched.as_ref().and_then(Watched::enter);
        // It was read, and would keep the buffer in which its frame came; see `copied`.
        parts.uri = Uri::default();
        let frame = frame::only(&mut body)
            .await
            .map_err(respond::by_the_table)?;
        let frame = frame.ok_or_else(|| Status::internal("the call has no message"))?;
        let present = passing.present;
        let begin = || Watched::begin(&self.door, Way::Grpc, present, &mut parts.headers);
        let watched = passing.watched.get_or_insert_with(begin);
        watched.leave(Room::Decode, entered);
        let held = body.into_memory();
        unary::infer(&self.service, terms, frame, held, watched).await
    }

    /// The way of the stubs; it takes the parts. In a box, as few calls go it.
    fn dispatch<'a>(
        &'a self,
        method: Method,
        parts: &mut Parts,
        body: Messages,
        packing: Packing,
        passing: &'a mut Passing,
    ) -> BoxFuture<'a, Response<Body>> {
        let mut parts = taken(parts);
        parts.uri = copied(&parts.uri);
        Box::pin(self.through_the_stubs(method, parts, body, packing, passing))
    }

    async fn through_the_stubs(
        &self,
        method: Method,
        mut parts: Parts,
        mut body: Messages,
        packing: Packing,
        passing: &mut Passing,
    ) -> Response<Body> {
        let response = match method {
            Method::Health | Method::Reflection => {
                parts.extensions.insert(body.arriving());
                let request = Request::from_parts(parts, body);
                self.others.clone().call(request).await
            }
            _ => {
                let mut inference = self.inference.clone();
                if packing.comes {
                    inference = self.packed.clone();
                    body = match self.unpacked(body, packing).await {
                        Ok(body) => body,
                        Err(status) => return status.into_http(),
                    };
                }
                let request = Request::from_parts(parts, body);
                let door = Arc::clone(&self.door);
                codec::DOOR.scope(door, inference.call(request)).await
            }
        };
        match response {
            Ok(response) => {
                let memory = self.door.dataplane.memory().clone();
                let stream = passing.stream.take();
                respond::translated(response)
                    .map(|body| Body::new(Charged::new(body, memory, stream)))
            }
            Err(never) => match never {},
        }
    }

    /// The body of a compressed call, unpacked before the stubs see it.
    async fn unpacked(&self, mut body: Messages, packing: Packing) -> Result<Messages, Status> {
        let frame = frame::only(&mut body)
            .await
            .map_err(respond::by_the_table)?;
        let body = match frame {
            Some(frame) => Body::whole(asked::plain(&self.door, frame, packing).await?),
            None => Body::empty(),
        };
        Ok(Messages::new(body, &self.door, Of::Other))
    }
}

/// The parts, of which nothing is left where they were.
fn taken(parts: &mut Parts) -> Parts {
    std::mem::replace(parts, Request::new(()).into_parts().0)
}

/// The path of a call in a buffer of its own. As it comes it is a part of the buffer in which its
/// frame came, of up to hundreds of kilobytes, which whoever waits for a message would keep.
fn copied(uri: &Uri) -> Uri {
    Uri::try_from(uri.path()).unwrap_or_default()
}

/// Gives the path its canonical name.
fn rename(parts: &mut Parts) -> Result<()> {
    let path = methods::canonical(parts.uri.path());
    if path == parts.uri.path() {
        return Ok(());
    }
    parts.uri = Uri::try_from(path.as_ref())
        .map_err(|_| Error::malformed("the path of the call is no path"))?;
    Ok(())
}

/// Whether a request carries protobuf messages as gRPC frames them.
fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or(value).trim();
    let kinds = ["application/grpc", "application/grpc+proto"];
    kinds.iter().any(|kind| essence.eq_ignore_ascii_case(kind))
}
