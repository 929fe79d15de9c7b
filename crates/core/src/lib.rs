//! The handler trait and the one pipeline of an Open Inference Protocol server.
//!
//! Both doors (REST and gRPC) call [`Dataplane`] and nothing else; it can be called in-process
//! without any door. A request walks these rooms, in this order:
//!
//! | room | what happens there |
//! |---|---|
//! | [`access`] | who is asking ([`Caller`]) and may they ([`Permit`]) |
//! | [`models`] | which model answers: your [`ModelHandler`], or a repository |
//! | [`validate`] | does the request fit what the model declares, and does the answer |
//! | [`content`] | content-type codecs around the handler |
//! | [`execute`] | a slot, a deadline, a fence against panics |
//! | [`select`] | the outputs that were asked for, classification |
//! | [`statistics`], [`telemetry`] | counts and durations, once, whatever happened |
//!
//! What is absent on purpose: sockets, files, the environment, HTTP types.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod access;
pub mod call;
pub mod content;
pub mod dataplane;
pub mod execute;
pub mod handler;
pub mod limits;
pub mod models;
pub mod select;
pub mod statistics;
pub mod telemetry;
pub mod validate;

pub use access::{Access, Action, Arrival, Caller, Permit, Subject};
pub use call::Call;
pub use dataplane::Dataplane;
pub use handler::{DefaultModelHandler, ModelHandler};
pub use limits::Limits;
pub use models::{Models, ResolvedModel};
pub use oip_protocol as protocol;

/// A boxed future, as the object-safe traits of this crate return them.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
