//! Serve models over the Open Inference Protocol (KServe V2), REST and gRPC.
//!
//! Write a [`ModelHandler`] and hand it to a [`Server`].
#[cfg(feature = "client")]
pub mod client;
pub mod config;
pub mod door;
#[cfg(feature = "auth")]
pub mod gates;
pub mod grpc;
pub mod logging;
mod pieces;
pub mod replay;
pub mod rest;
pub mod server;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "tls")]
pub mod tls;

pub use door::{Door, DoorOptions};
/// Who is asking and what they may do.
#[cfg(feature = "auth")]
pub use oip_auth as auth;
pub use oip_core::{
    Access, BoxFuture, Call, Caller, Dataplane, DefaultModelHandler, ModelHandler, access, call,
    content, models,
};
pub use oip_protocol::{
    Bytes, Datatype, DeclaredShape, Element, Error, ErrorKind, InferRequest, InferResponse, Limit,
    ModelMetadata, ModelRef, ModelState, ParameterValue, Parameters, RepositoryEntry,
    RequestedOutput, Result, Shape, Tensor, TensorError, TensorMetadata, Written,
};
/// What engine authors need.
#[cfg(feature = "runtime")]
pub use oip_runtime as runtime;
pub use server::Server;

/// The Markdown pages with Rust in them, compiled as tests.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../../README.md")]
    mod readme {}
    #[doc = include_str!("../../../docs/errors.md")]
    mod errors {}
    #[cfg(feature = "auth")]
    #[doc = include_str!("../../../docs/handlers.md")]
    mod handlers {}
}
