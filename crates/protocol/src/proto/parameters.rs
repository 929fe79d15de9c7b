//! Parameters of requests, tensors and responses.

use std::collections::HashMap;
use std::fmt::Display;

use super::generated::InferParameter;
use super::generated::infer_parameter::ParameterChoice;
use crate::decode_error::member;
use crate::error::excerpt;
use crate::{DecodeError, DecodeLimits, ParameterValue, Parameters};

/// A message's parameters, by name: their order is lost in a map.
///
/// # Errors
/// One that has no value, or too many.
pub(super) fn decode(
    place: impl Display,
    parameters: HashMap<String, InferParameter>,
    limits: &DecodeLimits,
) -> Result<Parameters, DecodeError> {
    if parameters.is_empty() {
        return Ok(Parameters::new());
    }
    if parameters.len() > limits.parameters {
        return Err(DecodeError::TooMany {
            place: place.to_string(),
            what: "parameters",
            limit: limits.parameters,
        });
    }
    let mut pairs = Vec::with_capacity(parameters.len());
    for (name, parameter) in parameters {
        let Some(choice) = parameter.parameter_choice else {
            let message = format!("the parameter '{}' has no value", excerpt(&name));
            return Err(member(place, message));
        };
        let value = match choice {
            ParameterChoice::BoolParam(value) => value.into(),
            ParameterChoice::Int64Param(value) => value.into(),
            ParameterChoice::StringParam(value) => value.into(),
            ParameterChoice::DoubleParam(value) => value.into(),
            ParameterChoice::Uint64Param(value) => value.into(),
        };
        pairs.push((name, value));
    }
    pairs.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    // The names were keys of a map.
    Parameters::from_distinct(pairs).map_err(|name| {
        let message = format!("the parameter '{}' stands twice", excerpt(&name));
        member(place, message)
    })
}

/// Parameters as a message holds them.
pub(super) fn encode(parameters: Parameters) -> HashMap<String, InferParameter> {
    let pairs = parameters.iter().map(|(name, value)| {
        let choice = match value {
            ParameterValue::Bool(value) => ParameterChoice::BoolParam(*value),
            ParameterValue::Int64(value) => ParameterChoice::Int64Param(*value),
            ParameterValue::Uint64(value) => ParameterChoice::Uint64Param(*value),
            ParameterValue::Double(value) => ParameterChoice::DoubleParam(*value),
            ParameterValue::String(value) => ParameterChoice::StringParam(value.clone()),
        };
        let parameter = InferParameter {
            parameter_choice: Some(choice),
        };
        (name.to_owned(), parameter)
    });
    pairs.collect()
}
