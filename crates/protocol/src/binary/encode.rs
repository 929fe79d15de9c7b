//! Binary out: the tensors' own buffers, shared, behind the JSON.

use bytes::{Bytes, BytesMut};

use crate::json::{self, NonFinite};
use crate::{EncodeError, InferRequest, InferResponse, Tensor};

/// A body in pieces: the JSON, and then the buffers in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinaryBody {
    /// The JSON; its length is the `Inference-Header-Content-Length`.
    pub header: Vec<u8>,
    /// The buffers behind it, each shared with its tensor.
    pub buffers: Vec<Bytes>,
}

impl BinaryBody {
    /// The value of `Inference-Header-Content-Length`, in bytes.
    #[must_use]
    pub fn header_length(&self) -> usize {
        self.header.len()
    }

    /// The length of the whole body, in bytes.
    #[must_use]
    pub fn content_length(&self) -> usize {
        let buffers: usize = self.buffers.iter().map(Bytes::len).sum();
        self.header.len() + buffers
    }

    /// The body in one piece, copied together.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut body = BytesMut::with_capacity(self.content_length());
        body.extend_from_slice(&self.header);
        for buffer in &self.buffers {
            body.extend_from_slice(buffer);
        }
        body.freeze()
    }
}

/// Writes an inference request, the tensors that are `binary` behind the JSON.
///
/// # Errors
/// When a `BYTES` element of a tensor that stays in the JSON is not UTF-8, or the request is a
/// raw one, which has no JSON.
pub fn encode_request(
    request: &InferRequest,
    binary: impl Fn(&Tensor) -> bool,
) -> Result<BinaryBody, EncodeError> {
    Ok(BinaryBody {
        header: json::write_request(request, &binary)?,
        buffers: buffers(&request.inputs, binary),
    })
}

/// Writes an inference response, the outputs whose names are wanted binary behind the JSON.
///
/// # Errors
/// When an output that stays in the JSON cannot be written there.
pub fn encode_response(
    response: &InferResponse,
    non_finite: NonFinite,
    wants_binary: &dyn Fn(&str) -> bool,
) -> Result<BinaryBody, EncodeError> {
    let binary = |tensor: &Tensor| wants_binary(tensor.name());
    Ok(BinaryBody {
        header: json::write_response(response, non_finite, binary)?,
        buffers: buffers(&response.outputs, binary),
    })
}

fn buffers(tensors: &[Tensor], binary: impl Fn(&Tensor) -> bool) -> Vec<Bytes> {
    let binary = tensors.iter().filter(|tensor| binary(tensor));
    binary.map(|tensor| tensor.data().clone()).collect()
}
