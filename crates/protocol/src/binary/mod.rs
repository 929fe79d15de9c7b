//! The binary wire form: a JSON object, and behind it the buffers of tensors as they are.
//!
//! Source: Triton's `extension_binary_data.md`. The HTTP header `Inference-Header-Content-Length`
//! says how long the JSON is; a tensor whose data stands behind it has the parameter
//! `binary_data_size`, and the buffers come in the order of the tensors. A request asks for
//! binary outputs by the parameter `binary_data_output`, or for each requested output by
//! `binary_data`, which wins.

mod decode;
mod encode;
mod forms;
#[cfg(test)]
mod tests;

pub use decode::{decode_request, decode_response};
pub use encode::{BinaryBody, encode_request, encode_response};
pub use forms::OutputForms;
