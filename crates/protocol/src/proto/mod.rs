//! The gRPC wire form: protobuf messages, wire-compatible with the specification and with Triton.
//!
//! Look over bytes from outside with [`guard::check`] before decoding them into a message.

mod config;
mod contents;
mod decode;
mod encode;

/// The messages of `proto/`, package `inference`. A `bytes` field is a
/// [`Bytes`](bytes::Bytes): decoded from one, it is a slice of it, not a copy.
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[rustfmt::skip]
pub mod generated;

pub mod guard;
mod parameters;
mod tensors;

pub use config::encode_model_config;
pub use decode::{
    decode_model_metadata, decode_model_ref, decode_request, decode_response,
    decode_server_metadata,
};
pub use encode::{
    encode_model_metadata, encode_repository_index, encode_request, encode_response,
    encode_server_metadata, encode_statistics,
};

/// The form that the elements of a message's tensors have. An answer has that of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentsForm {
    /// In `raw_input_contents` or `raw_output_contents`: buffers as they are.
    Raw,
    /// In the fields of `InferTensorContents`. `FP16` and `BF16` have none: they travel raw.
    Typed,
}

#[cfg(test)]
mod tests;
