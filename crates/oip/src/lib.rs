//! Serve models over the Open Inference Protocol (KServe V2), REST and gRPC.
//!
//! Write a [`ModelHandler`] and hand it to a [`Server`].
pub mod config;
pub mod door;
pub mod grpc;
pub mod rest;
pub mod server;
#[cfg(feature = "testing")]
pub mod testing;

pub use door::{Door, DoorOptions};
pub use oip_core::{
    Access, Call, Caller, Dataplane, DefaultModelHandler, ModelHandler, access, content,
};
pub use oip_protocol::{
    Bytes, Datatype, DeclaredShape, Error, ErrorKind, InferRequest, InferResponse, ModelMetadata,
    ModelRef, ParameterValue, Parameters, RequestedOutput, Result, Shape, Tensor, TensorMetadata,
};
pub use server::Server;
