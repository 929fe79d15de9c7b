//! The JSON wire form of inference requests and responses.
//!
//! Decoding is one pass from the bytes into the typed buffer: no value tree, and nothing set
//! aside but for what has been read. Encoding goes straight out of the buffer. What an element
//! may be, and how numbers are rounded, is the same in both directions: what is written is read
//! back as the same tensor.

mod data;
mod decode;
mod digits;
pub(crate) mod document;
mod encode;
mod exact;
mod lanes;
mod members;
mod non_finite;
mod numbers;
mod reader;
mod runs;
mod scalars;
mod scanner;
mod singles;
mod strings;
mod tensors;
#[cfg(test)]
mod tests;

pub use decode::{decode_request, decode_response};
pub(crate) use decode::{request, response};
pub use encode::{encode_request, encode_response};
pub(crate) use encode::{write_request, write_response};
pub use non_finite::{NonFinite, UnknownNonFinite};
pub(crate) use reader::{read_request, read_response};
