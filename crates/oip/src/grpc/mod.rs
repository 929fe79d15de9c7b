//! The gRPC door.
//!
//! | room | what happens there |
//! |---|---|
//! | `authenticate` | before a message is read: deadline, origin, who is asking, is there such a method |
//! | `message` | reads messages, never more than the limit and nothing set aside on a caller's word |
//! | `frame`, `packed` | one message as it is framed; compressed messages |
//! | `asked`, `answer` | what a message asks for, and what is sent back: off the async threads where that takes long |
//! | `service` | every call: authorize, ask the pipeline |
//! | `settings` | log and trace settings |
//! | `unary`, `stream` | an inference, and inferences over one stream, past the stubs |
//! | `codec` | messages of the stubs: looked over, then decoded |
//! | `charged` | what answers of the stubs take of the memory until they are sent |
//! | `health` | `grpc.health.v1` |
//! | `reflection`, `descriptors` | reflection in two versions |
//! | `respond` | errors as statuses, by the one table |
//!
//! The generated stubs are served without tonic's own server, which enforces `grpc-timeout` by
//! itself and answers it with the wrong code.

mod answer;
mod asked;
mod authenticate;
mod charged;
mod codec;
mod descriptors;
mod frame;
mod health;
mod message;
mod methods;
mod packed;
mod pieces;
mod reflection;
mod respond;
mod service;
mod settings;
mod stream;
mod unary;

/// Stubs of the service. The messages are in [`oip_protocol::proto::generated`].
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[rustfmt::skip]
pub mod generated;
/// The client of the service, for any transport that is a tower service.
#[cfg(feature = "client")]
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[rustfmt::skip]
pub mod generated_client;

use std::sync::Arc;

use http::Response;
use oip_protocol::{Error, Limit};

use crate::door::{Body, Door, Origins, Served};

/// Descriptors of the service's messages and calls, for reflection.
pub const DESCRIPTOR: &[u8] = include_bytes!("descriptor.bin");

/// The messages of the service.
pub use oip_protocol::proto::generated as messages;

/// The gRPC door of a server.
pub(crate) fn door(door: Arc<Door>, origins: Arc<Origins>) -> Served {
    Served::new(authenticate::Gate::new(door, origins))
}

/// The answer to a head over a limit, which the sentence says.
pub(crate) fn head_too_large(sentence: String) -> Response<Body> {
    respond::refusal(&Error::too_large(sentence).at_limit(Limit::HeaderLimit))
}

/// The answer to a call that is refused before this door sees it.
pub(crate) fn refused(error: &Error) -> Response<Body> {
    respond::refusal(error)
}

/// Whether this is the path of a probe.
pub(crate) fn is_probe(path: &str) -> bool {
    matches!(
        methods::canonical(path).as_ref(),
        "/grpc.health.v1.Health/Check"
            | "/inference.GRPCInferenceService/ServerLive"
            | "/inference.GRPCInferenceService/ServerReady"
    )
}

#[cfg(test)]
mod tests;
