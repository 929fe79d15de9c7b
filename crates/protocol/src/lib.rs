//! The words of the Open Inference Protocol (KServe V2) and their wire forms.
//!
//! | room | what is in it |
//! |---|---|
//! | [`datatype`] | [`Datatype`]: `BOOL` … `FP64`, `BF16`, `BYTES` |
//! | [`shape`] | [`Shape`] (concrete) and [`DeclaredShape`] (`-1` = open) |
//! | [`tensor`] | [`Tensor`]: name, datatype, shape and one shared buffer |
//! | [`elements`] | typed views and builders over that buffer |
//! | [`parameters`] | [`Parameters`]: the scalar extras of requests, tensors and responses |
//! | [`infer`] | [`InferRequest`], [`InferResponse`], [`ModelRef`] |
//! | [`metadata`], [`repository`], [`statistics`] | what a server says of itself and of its models |
//! | [`decode_error`], [`encode_error`] | why bytes are no request, and why a tensor has no such form |
//! | [`error`] | [`Error`] and [`ErrorKind`], the one table of outcomes |
//! | [`json`], [`binary`], [`proto`] | the three wire forms, each with a `decode` and an `encode` twin |
//!
//! What is absent on purpose: I/O, async, clocks, `unsafe`, and panics on any input.
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

pub mod binary;
pub mod datatype;
pub mod decode_error;
pub mod elements;
pub mod encode_error;
pub mod error;
pub mod infer;
pub mod json;
pub mod limits;
pub mod metadata;
pub mod parameters;
pub mod proto;
pub mod repository;
pub mod shape;
pub mod statistics;
pub mod tensor;

pub use bytes::Bytes;
pub use datatype::Datatype;
pub use decode_error::DecodeError;
pub use elements::Element;
pub use encode_error::EncodeError;
pub use error::{Error, ErrorKind, Result};
pub use infer::{InferRequest, InferResponse, ModelRef, RequestedOutput};
pub use limits::{DecodeLimits, Limit};
pub use metadata::{
    DynamicBatching, ModelConfig, ModelMetadata, ServerMetadata, TensorMetadata, VersionChoice,
    WarmupData, WarmupRequest, WarmupTensor,
};
pub use parameters::{ParameterValue, Parameters};
pub use repository::{ModelState, RepositoryEntry};
pub use shape::{DeclaredShape, Shape};
pub use statistics::{BatchStatistics, DurationStatistic, ModelStatistics};
pub use tensor::{DataFault, Tensor, TensorError, Written};
