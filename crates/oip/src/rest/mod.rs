//! The REST door: HTTP in, calls of the pipeline, HTTP out.
//!
//! | room | what happens there |
//! |---|---|
//! | [`routes`] | the one table: method, path, action, handler, description |
//! | [`cors`] | what web pages may call this server |
//! | [`authenticate`] | from the head of a request to a permit, before its body is read |
//! | [`body`] | a body within its limit, decompressed, in one aligned piece |
//! | [`infer`], [`metadata`], [`health`], [`repository`], [`statistics`], [`config`], [`settings`] | the calls |
//! | [`respond`], [`content`], [`compress`] | answers and failures as HTTP |
//! | [`openapi`], [`docs_ui`] | the description of all this, for machines and for people |
//!
//! Paths are matched here and not by the web framework: segment by segment, each percent-decoded
//! by itself and none normalised, so that a model's name may hold any character and `..` means
//! nothing.

mod authenticate;
mod body;
mod compress;
mod config;
mod content;
mod cors;
mod docs_ui;
mod health;
mod infer;
mod linger;
mod metadata;
mod metrics;
mod openapi;
mod repository;
mod respond;
mod routes;
mod settings;
mod statistics;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::routing::any;
use futures_util::FutureExt;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use oip_core::Action;
use oip_protocol::{Error, ModelRef, Result};

pub use body::bodies_cut_short;
use compress::Coding;
use respond::Reply;
use routes::Found;

use crate::door::{Answering, Body, Door, Origins, Present, Remote, Served, Serves};

/// The REST door of a server: every path is answered here, those that are no routes with 404.
///
/// `origins` are the origins of web pages that may call it.
pub(crate) fn door(door: Arc<Door>, origins: Arc<Origins>) -> Served {
    Served::new(RestDoor(Arc::new(Rest {
        door,
        origins,
        metrics_alone: false,
    })))
}

/// `/metrics` alone, for an address of its own.
pub(crate) fn metrics_door(door: Arc<Door>) -> Served {
    Served::new(RestDoor(Arc::new(Rest {
        door,
        origins: Arc::default(),
        metrics_alone: true,
    })))
}

struct RestDoor(Arc<Rest>);

impl Serves for RestDoor {
    fn answer(&self, request: Request<Body>, remote: Arc<Remote>) -> Answering {
        Box::pin(answer(Arc::clone(&self.0), request, remote))
    }
}

/// The routes alone, to be merged into an application that has its own besides.
pub fn routes(door: Arc<Door>, origins: Arc<Origins>) -> Router {
    let rest = Arc::new(Rest {
        door,
        origins,
        metrics_alone: false,
    });
    let method = any(move |request: Request<axum::body::Body>| {
        let remote = Arc::new(Remote::of(request.extensions()));
        let answer = answer(Arc::clone(&rest), request.map(Body::new), remote);
        // Not in an `async` block, which would have room for it twice.
        answer.map(|Ok(response)| response.map(axum::body::Body::new))
    });
    let paths = [
        "/v2",
        "/v2/",
        "/v2/{*path}",
        "/docs",
        "/docs/{*path}",
        "/openapi.json",
    ];
    paths.into_iter().fold(Router::new(), |router, path| {
        router.route(path, method.clone())
    })
}

/// The answer to a head over a limit, which the sentence says.
pub(crate) fn head_too_large(sentence: &str) -> Response<Body> {
    Reply::failure(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, sentence).into_response()
}

/// The answer to a request that is refused before this door sees it.
pub(crate) fn refused(request: Request<Body>, error: &Error) -> Response<Body> {
    linger::drain_unseen(request);
    Reply::error(error).into_response()
}

/// Whether this is the path of a probe, or of who watches.
pub(crate) fn is_probe(path: &str) -> bool {
    matches!(path, "/v2/health/live" | "/v2/health/ready" | "/metrics")
}

/// The door with what it needs.
struct Rest {
    door: Arc<Door>,
    origins: Arc<Origins>,
    /// Whether nothing but `/metrics` is here.
    metrics_alone: bool,
}

impl Rest {
    /// Whether calls of this kind are answered here.
    fn serves(&self, action: Option<Action>) -> bool {
        let is_metrics = action == Some(Action::Metrics);
        match self.metrics_alone {
            true => is_metrics,
            false => !(is_metrics && self.door.options.metrics_elsewhere),
        }
    }
}

/// A request whose head has arrived and whose route is known.
struct Arrived {
    rest: Arc<Rest>,
    remote: Arc<Remote>,
    parts: Parts,
    present: Present,
    body: Body,
    /// The model that the path names.
    model: Option<ModelRef>,
    /// What it asks for, once its route is known.
    action: Option<Action>,
}

/// One request, whatever becomes of it.
///
/// No `async fn`: what is done at once is done before, so that the future holds the parts of the
/// request once. It is moved with all of its size when it is put where it runs.
fn answer(
    rest: Arc<Rest>,
    request: Request<Body>,
    remote: Arc<Remote>,
) -> impl Future<Output = std::result::Result<Response<Body>, Infallible>> + Send {
    let (mut parts, body) = request.into_parts();
    let mut present = Present::of(&parts.headers);
    let id = crate::door::identify(&mut parts, &mut present, &rest.door);
    let head = parts.method == Method::HEAD;
    let coding = match compresses(parts.uri.path(), present) {
        true => Coding::wanted(&parts.headers),
        false => None,
    };
    let deadline = match coding.is_some() && present.has(Present::TIMEOUT) {
        true => crate::door::deadline(&parts.headers).ok().flatten(),
        false => None,
    };
    let origin = match present.has(Present::ORIGIN) {
        true => cors::origin(&parts.headers),
        false => None,
    };
    let mut arrived = Arrived {
        rest,
        remote,
        parts,
        present,
        body,
        model: None,
        action: None,
    };
    async move {
        let mut reply = match handle(&mut arrived).await {
            Ok(reply) => reply,
            Err(error) => Reply::error(&error),
        };
        if let Some(origin) = origin {
            cors::allow(&mut reply, &arrived.rest.origins, origin);
        }
        if let Some(id) = id {
            crate::door::show(id, &mut reply.headers);
        }
        let calls = &arrived.rest.door.telemetry.calls;
        calls.rest(arrived.action, reply.status.as_u16());
        if !arrived.body.is_end_stream() {
            linger::drain(arrived);
        }
        if let Some(coding) = coding {
            reply = Box::pin(compress::compress(reply, coding, deadline)).await;
        }
        Ok(match head {
            true => reply.into_head_response(),
            false => reply.into_response(),
        })
    }
}

/// Whether the answer is compressed for a caller who understands that.
///
/// An inference's is where the request is compressed itself, as at the gRPC door. That a client
/// understands gzip says nothing: most say so with every call, and packing tensors takes many
/// times what making them takes. Answers about models and the server never are: tritonclient's aio
/// client asks for gzip on every call and unpacks it only for inferences.
fn compresses(path: &str, present: Present) -> bool {
    if !present.has(Present::ACCEPT_ENCODING) {
        return false;
    }
    match path.starts_with("/v2/") {
        true => path.ends_with("/infer") && present.has(Present::ENCODING),
        false => true,
    }
}

/// The rooms before the call, and the call.
async fn handle(arrived: &mut Arrived) -> Result<Reply> {
    if arrived.present.has(Present::ORIGIN) {
        crate::door::refuse_foreign_origin(&arrived.parts.headers, &arrived.rest.origins)?;
        if cors::is_preflight(&arrived.parts) {
            return Ok(cors::preflight(&arrived.rest.door.options));
        }
    }
    let found = routes::find(&arrived.parts.method, arrived.parts.uri.path());
    match found {
        Ok(Found::Inference(model)) if arrived.rest.serves(None) => {
            arrived.action = Some(Action::Infer);
            arrived.model = Some(model);
            return infer::infer(arrived).await;
        }
        Ok(Found::Route { route, model }) if arrived.rest.serves(route.action) => {
            arrived.action = route.counted();
            arrived.model = model;
            let mut reply = (route.call)(arrived).await?;
            // What is there once for all is no burden, and whoever watches is always told.
            if !matches!(route.action, None | Some(Action::Openapi | Action::Metrics)) {
                let memory = arrived.rest.door.dataplane.memory();
                reply.hold(memory.nothing(), false)?;
            }
            return Ok(reply);
        }
        _ => {}
    }
    arrived.know_caller().await?;
    match found? {
        Found::OtherMethods(allowed) => {
            Ok(Reply::method_not_allowed(&arrived.parts.method, &allowed))
        }
        _ => Err(routes::no_route(&arrived.parts)),
    }
}
