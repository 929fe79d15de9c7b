//! Facts about the JSON form.

mod encoding;
mod golden;
mod layouts;
mod numbers;
mod objects;
mod round_trips;
mod whitespace;

use super::*;
use crate::{DecodeError, DecodeLimits, InferRequest, Tensor};

fn decode(body: &str) -> Result<InferRequest, DecodeError> {
    decode_request(body.as_bytes(), &DecodeLimits::default())
}

fn refused(body: &str) -> String {
    match decode(body) {
        Ok(request) => panic!("accepted: {request:?}"),
        Err(error) => error.to_string(),
    }
}

/// A request of one input 'x'.
fn with_input(datatype: &str, shape: &str, data: &str) -> String {
    format!(
        r#"{{"inputs":[{{"name":"x","datatype":"{datatype}","shape":{shape},"data":{data}}}]}}"#
    )
}

/// The input 'x' of these members.
fn input(datatype: &str, shape: &str, data: &str) -> Tensor {
    let request = decode(&with_input(datatype, shape, data)).unwrap();
    request.inputs.into_iter().next().unwrap()
}

/// Why an input 'x' of these members is refused.
fn input_refused(datatype: &str, shape: &str, data: &str) -> String {
    refused(&with_input(datatype, shape, data))
}
