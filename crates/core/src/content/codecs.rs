//! The content types that come with the server.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oip_protocol::{Datatype, Tensor, TensorError};

use super::{ContentCodec, ContentError};

/// `np`, `numpy`: an array of the tensor's datatype and shape. That is what a tensor is, so
/// there is nothing to do; it is known so that callers of other servers may name it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Numpy;

impl ContentCodec for Numpy {
    fn names(&self) -> &'static [&'static str] {
        &["np", "numpy"]
    }

    fn decode(&self, tensor: Tensor) -> Result<Tensor, ContentError> {
        Ok(tensor)
    }

    fn encode(&self, tensor: Tensor) -> Result<Tensor, ContentError> {
        Ok(tensor)
    }
}

/// `str`: a `BYTES` tensor whose elements are UTF-8 text.
#[derive(Debug, Clone, Copy, Default)]
pub struct Text;

impl ContentCodec for Text {
    fn names(&self) -> &'static [&'static str] {
        &["str"]
    }

    fn decode(&self, tensor: Tensor) -> Result<Tensor, ContentError> {
        match tensor.strings() {
            Ok(_) => Ok(tensor),
            Err(error) => Err(explain(error)),
        }
    }

    fn encode(&self, tensor: Tensor) -> Result<Tensor, ContentError> {
        self.decode(tensor)
    }
}

/// `base64`: a `BYTES` tensor whose elements travel as base64 text (standard alphabet, padded),
/// so that any bytes pass through JSON. The handler sees the bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Base64;

impl ContentCodec for Base64 {
    fn names(&self) -> &'static [&'static str] {
        &["base64"]
    }

    fn decode(&self, tensor: Tensor) -> Result<Tensor, ContentError> {
        let mut decoded = Vec::new();
        for (index, text) in tensor.byte_strings().map_err(explain)?.enumerate() {
            let bytes = STANDARD.decode(text).map_err(|error| {
                ContentError(format!("element at index {index} is not base64: {error}"))
            })?;
            decoded.push(bytes);
        }
        rebuild(&tensor, decoded)
    }

    fn encode(&self, tensor: Tensor) -> Result<Tensor, ContentError> {
        let strings = tensor.byte_strings().map_err(explain)?;
        let encoded: Vec<_> = strings.map(|bytes| STANDARD.encode(bytes)).collect();
        rebuild(&tensor, encoded)
    }
}

/// The same tensor with other strings.
fn rebuild<S: AsRef<[u8]>>(tensor: &Tensor, strings: Vec<S>) -> Result<Tensor, ContentError> {
    Tensor::from_strings(tensor.name(), tensor.shape().clone(), strings)
        .map(|rebuilt| rebuilt.with_parameters(tensor.parameters().clone()))
        .map_err(explain)
}

fn explain(error: TensorError) -> ContentError {
    ContentError(match error {
        TensorError::OtherDatatype { found, .. } => {
            format!(
                "it is {found}, but the content type is for {}",
                Datatype::Bytes
            )
        }
        TensorError::NotText { index, .. } => {
            format!("element at index {index} is not UTF-8 text")
        }
        other => other.to_string(),
    })
}
