//! One tensor of a message, input or output alike.

use std::collections::HashMap;

use bytes::Bytes;

use super::generated::model_infer_request::InferInputTensor;
use super::generated::model_infer_response::InferOutputTensor;
use super::generated::{InferParameter, InferTensorContents};
use super::{ContentsForm, contents, parameters};
use crate::decode_error::{Place, Role, member};
use crate::{DecodeError, DecodeLimits, Shape, Tensor};

/// What an input and an output have in common.
pub(super) struct Described {
    pub(super) name: String,
    pub(super) datatype: String,
    pub(super) shape: Vec<i64>,
    pub(super) parameters: HashMap<String, InferParameter>,
    pub(super) contents: Option<InferTensorContents>,
}

macro_rules! described {
    ($($message:ident),*) => {
        $(
            impl From<$message> for Described {
                fn from(tensor: $message) -> Self {
                    let $message { name, datatype, shape, parameters, contents } = tensor;
                    Self { name, datatype, shape, parameters, contents }
                }
            }

            impl From<Described> for $message {
                fn from(tensor: Described) -> Self {
                    let Described { name, datatype, shape, parameters, contents } = tensor;
                    Self { name, datatype, shape, parameters, contents }
                }
            }
        )*
    };
}

described!(InferInputTensor, InferOutputTensor);

/// The tensors of a message and its raw entries as tensors, and the form they came in.
///
/// Raw when there are raw entries, one for each tensor in order; typed otherwise.
pub(super) fn decode(
    role: Role,
    described: Vec<Described>,
    raw: Vec<Bytes>,
    limits: &DecodeLimits,
) -> Result<(Vec<Tensor>, ContentsForm), DecodeError> {
    let (of, what, entries) = match role {
        Role::Input => ("request", "inputs", "raw_input_contents"),
        _ => ("response", "outputs", "raw_output_contents"),
    };
    if described.len() > limits.tensors {
        return Err(DecodeError::TooMany {
            place: of.to_owned(),
            what,
            limit: limits.tensors,
        });
    }
    if !raw.is_empty() && raw.len() != described.len() {
        return Err(member(
            of,
            format!(
                "there are {} {what}, but {entries} has {} entries",
                described.len(),
                raw.len()
            ),
        ));
    }
    let form = match raw.is_empty() {
        true => ContentsForm::Typed,
        false => ContentsForm::Raw,
    };
    let mut raw = raw.into_iter();
    let tensors = described
        .into_iter()
        .enumerate()
        .map(|(index, tensor)| one(role, index, tensor, raw.next(), limits));
    Ok((tensors.collect::<Result<_, _>>()?, form))
}

fn one(
    role: Role,
    index: usize,
    described: Described,
    raw: Option<Bytes>,
    limits: &DecodeLimits,
) -> Result<Tensor, DecodeError> {
    let name = described.name;
    let place = Place {
        role,
        index,
        name: Some(&name),
    };
    let datatype = described
        .datatype
        .parse()
        .map_err(|unknown: crate::datatype::UnknownDatatype| member(place, unknown.to_string()))?;
    let shape = shape(place, &described.shape, limits)?;
    let parameters = parameters::decode(place, described.parameters, limits)?;
    let buffer = match raw {
        None => {
            let contents = described.contents.unwrap_or_default();
            contents::into_buffer(place, datatype, &shape, contents)?
        }
        Some(_) if contents::is_filled(described.contents.as_ref()) => {
            return Err(member(
                place,
                "its elements are given twice, in contents and raw; one of them must be empty",
            ));
        }
        Some(raw) => raw,
    };
    if let Err(fault) = crate::elements::check(datatype, &shape, &buffer) {
        return Err(DecodeError::Data {
            place: place.to_string(),
            fault,
        });
    }
    let tensor = Tensor::from_checked(name, datatype, shape, buffer);
    Ok(tensor.with_parameters(parameters))
}

fn shape(place: Place<'_>, dims: &[i64], limits: &DecodeLimits) -> Result<Shape, DecodeError> {
    if dims.len() > limits.rank {
        return Err(DecodeError::TooMany {
            place: place.to_string(),
            what: "dimensions",
            limit: limits.rank,
        });
    }
    let size = |(index, dim): (usize, &i64)| {
        u64::try_from(*dim).map_err(|_| {
            member(
                place,
                format!("dimension {index} of the shape is {dim}, but none may be negative"),
            )
        })
    };
    let dims: Result<Vec<u64>, DecodeError> = dims.iter().enumerate().map(size).collect();
    Ok(Shape::new(dims?))
}

/// Tensors as a message holds them, and their raw entries, of which there are none in the typed
/// form. Where a tensor has no typed form all of them are raw.
pub(super) fn encode<T: From<Described>>(
    tensors: Vec<Tensor>,
    form: ContentsForm,
) -> (Vec<T>, Vec<Bytes>) {
    let typed = form == ContentsForm::Typed
        && tensors
            .iter()
            .all(|tensor| contents::has_typed_form(tensor.datatype()));
    let mut raw = Vec::with_capacity(if typed { 0 } else { tensors.len() });
    let described = tensors.into_iter().map(|mut tensor| {
        let contents = match typed {
            true => contents::from_tensor(&tensor),
            false => {
                raw.push(tensor.data().clone());
                None
            }
        };
        let parameters = std::mem::take(tensor.parameters_mut());
        let described = Described {
            datatype: tensor.datatype().name().to_owned(),
            shape: dims(tensor.shape()),
            parameters: parameters::encode(parameters),
            contents,
            name: tensor.into_name(),
        };
        T::from(described)
    });
    let described = described.collect();
    (described, raw)
}

/// The dimensions, signed as the messages have them. One that does not fit stands beside a zero,
/// where its size says nothing.
fn dims(shape: &Shape) -> Vec<i64> {
    let signed = |dim: &u64| i64::try_from(*dim).unwrap_or(i64::MAX);
    shape.dims().iter().map(signed).collect()
}
