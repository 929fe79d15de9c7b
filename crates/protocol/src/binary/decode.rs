//! Binary in: tensors are slices of the body, never copies.

use bytes::Bytes;

use crate::json;
use crate::json::document::TensorParts;
use crate::{DecodeError, DecodeLimits, InferRequest, InferResponse, Tensor};

/// Reads an inference request whose first `header_length` bytes are JSON.
///
/// A header length of 0 is the raw request: the whole body is the model's one input, and is
/// carried in [`InferRequest::raw_input`] until the model's metadata says what it is.
///
/// # Errors
/// When the JSON is no well-formed request, or its sizes and the body do not add up.
pub fn decode_request(
    body: Bytes,
    header_length: usize,
    limits: &DecodeLimits,
) -> Result<InferRequest, DecodeError> {
    if header_length == 0 {
        return Ok(InferRequest {
            raw_input: Some(body),
            ..InferRequest::default()
        });
    }
    let mut buffers = Buffers::new(body.clone(), header_length);
    let header = header(&body, header_length)?;
    let document = json::read_request(header, limits, &mut |parts| buffers.tensor(parts))?;
    let request = json::request(document)?;
    buffers.end()?;
    limits.check_strings(&request.inputs)?;
    Ok(request)
}

/// Reads an inference response whose first `header_length` bytes are JSON.
///
/// # Errors
/// When the JSON is no well-formed response, or its sizes and the body do not add up.
pub fn decode_response(
    body: Bytes,
    header_length: usize,
    limits: &DecodeLimits,
) -> Result<InferResponse, DecodeError> {
    let mut buffers = Buffers::new(body.clone(), header_length);
    let header = header(&body, header_length)?;
    let document = json::read_response(header, limits, &mut |parts| buffers.tensor(parts))?;
    buffers.end()?;
    Ok(json::response(document))
}

/// The JSON at the start of the body.
fn header(body: &[u8], length: usize) -> Result<&[u8], DecodeError> {
    body.get(..length).ok_or_else(|| {
        DecodeError::Binary(format!(
            "Inference-Header-Content-Length is {length}, but the body has {} bytes",
            body.len()
        ))
    })
}

/// What stands behind the JSON, taken off tensor by tensor.
struct Buffers {
    body: Bytes,
    /// Where the next tensor's buffer begins.
    next: usize,
}

impl Buffers {
    fn new(body: Bytes, header_length: usize) -> Self {
        Self {
            body,
            next: header_length,
        }
    }

    fn left(&self) -> usize {
        self.body.len().saturating_sub(self.next)
    }

    /// The tensor with its data, from the JSON or from behind it.
    fn tensor(&mut self, mut parts: TensorParts) -> Result<Tensor, DecodeError> {
        if let Some(data) = parts.data.take() {
            return parts.with_data(data);
        }
        // A tensor without data has a size; the JSON was refused otherwise.
        let size = parts.binary_size.unwrap_or_default();
        let taken = usize::try_from(size)
            .ok()
            .filter(|size| *size <= self.left());
        let Some(taken) = taken else {
            return Err(DecodeError::Binary(format!(
                "{} has binary_data_size {size}, but {} bytes are left of the body",
                parts.place(),
                self.left()
            )));
        };
        let end = self.next + taken;
        let data = self.body.slice(self.next..end);
        self.next = end;
        parts.with_data(data)
    }

    /// Nothing may be left.
    fn end(&self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            left => Err(DecodeError::Binary(format!(
                "{left} bytes are left behind the last tensor; the sizes given add up to {} bytes \
                 of {}",
                self.next,
                self.body.len()
            ))),
        }
    }
}
