//! JSON in: text straight into typed buffers, in one pass.

use super::document::{Document, TensorParts};
use super::reader::{read_request, read_response};
use crate::decode_error::member;
use crate::{DecodeError, DecodeLimits, InferRequest, InferResponse, Tensor};

/// Reads an inference request.
///
/// Members may come in any order; unknown ones are passed over; `null` for `id`, `parameters` or
/// `outputs` counts as absent. Source: `inference_rest.md`, "Inference Request JSON Object".
///
/// # Errors
/// When the body is no well-formed request. Nothing is held against a model here.
pub fn decode_request(body: &[u8], limits: &DecodeLimits) -> Result<InferRequest, DecodeError> {
    let document = read_request(body, limits, &mut in_the_json)?;
    let request = request(document)?;
    limits.check_strings(&request.inputs)?;
    Ok(request)
}

/// Reads an inference response. A float that is `null` is read as NaN, as servers write it.
///
/// Source: `inference_rest.md`, "Inference Response JSON Object".
///
/// # Errors
/// When the body is no well-formed response.
pub fn decode_response(body: &[u8], limits: &DecodeLimits) -> Result<InferResponse, DecodeError> {
    let document = read_response(body, limits, &mut in_the_json)?;
    Ok(response(document))
}

/// A request of what its JSON holds.
pub(crate) fn request(document: Document) -> Result<InferRequest, DecodeError> {
    if document.tensors.is_empty() {
        return Err(member("request", "'inputs' is empty"));
    }
    Ok(InferRequest {
        id: document.id,
        parameters: document.parameters,
        inputs: document.tensors,
        outputs: document.requested,
        raw_input: None,
    })
}

/// A response of what its JSON holds.
pub(crate) fn response(document: Document) -> InferResponse {
    InferResponse {
        model_name: document.model_name.unwrap_or_default(),
        model_version: document.model_version,
        id: document.id,
        parameters: document.parameters,
        outputs: document.tensors,
    }
}

/// A tensor whose data the JSON must hold, as nothing stands behind it.
fn in_the_json(mut parts: TensorParts) -> Result<Tensor, DecodeError> {
    match parts.data.take() {
        Some(data) => parts.with_data(data),
        None => Err(member(
            parts.place(),
            "the parameter 'binary_data_size' says that the data stands behind the JSON, but the \
             request has no Inference-Header-Content-Length header",
        )),
    }
}
