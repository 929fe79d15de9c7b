//! A look over a message before it is decoded.
//!
//! Decoding protobuf takes memory out of proportion: two bytes on the wire make an empty input of
//! more than 300 bytes. So what repeats is counted first, over the bytes as they came: no
//! allocation, one pass, payloads skipped.

use std::fmt::Display;

use super::generated::{
    CudaSharedMemoryRegisterRequest, CudaSharedMemoryStatusRequest,
    CudaSharedMemoryUnregisterRequest, LogSettingsRequest, ModelConfigRequest, ModelInferRequest,
    ModelInferResponse, ModelMetadataRequest, ModelReadyRequest, ModelStatisticsRequest,
    RepositoryIndexRequest, RepositoryModelLoadRequest, RepositoryModelUnloadRequest,
    ServerLiveRequest, ServerMetadataRequest, ServerReadyRequest,
    SystemSharedMemoryRegisterRequest, SystemSharedMemoryStatusRequest,
    SystemSharedMemoryUnregisterRequest, TraceSettingRequest,
};
use crate::{DecodeError, DecodeLimits};

/// A message of which it is known what repeats in it.
pub trait Guarded {
    /// The message's name.
    const NAME: &'static str;
    /// Its fields that repeat, or hold what repeats.
    const FIELDS: &'static [Field];
}

/// A field that repeats, or holds what repeats.
#[derive(Debug)]
pub struct Field {
    tag: u32,
    name: &'static str,
    count: Count,
    inside: &'static [Field],
}

/// How a field is counted.
#[derive(Debug, Clone, Copy)]
enum Count {
    /// Against `tensors`, in its parent.
    Tensors,
    /// Against `parameters`, in its parent and in the message.
    Parameters,
    /// Varints against `rank`, in its parent.
    Dims,
    /// Against `typed_strings`, in the message.
    Strings,
    /// Elements of this size on the wire (0: varints) against `typed_elements`, in the message.
    Elements(usize),
    /// Not at all; only what is inside.
    Nothing,
}

const fn field(tag: u32, name: &'static str, count: Count) -> Field {
    let inside = &[];
    Field {
        tag,
        name,
        count,
        inside,
    }
}

const fn holder(tag: u32, name: &'static str, count: Count, inside: &'static [Field]) -> Field {
    Field {
        tag,
        name,
        count,
        inside,
    }
}

const CONTENTS: &[Field] = &[
    field(1, "bool_contents", Count::Elements(0)),
    field(2, "int_contents", Count::Elements(0)),
    field(3, "int64_contents", Count::Elements(0)),
    field(4, "uint_contents", Count::Elements(0)),
    field(5, "uint64_contents", Count::Elements(0)),
    field(6, "fp32_contents", Count::Elements(4)),
    field(7, "fp64_contents", Count::Elements(8)),
    field(8, "bytes_contents", Count::Strings),
];

const TENSOR: &[Field] = &[
    field(3, "shape", Count::Dims),
    field(4, "parameters", Count::Parameters),
    holder(5, "contents", Count::Nothing, CONTENTS),
];

const REQUESTED_OUTPUT: &[Field] = &[field(2, "parameters", Count::Parameters)];

/// A map entry whose value is a message with a repeated string.
const SETTING: &[Field] = &[holder(
    2,
    "value",
    Count::Nothing,
    &[field(1, "value", Count::Parameters)],
)];

/// Most fields of one message above.
const FIELDS: usize = 8;

macro_rules! guarded {
    ($($message:ident { $($field:expr),* $(,)? })*) => {
        $(impl Guarded for $message {
            const NAME: &'static str = stringify!($message);
            const FIELDS: &'static [Field] = &[$($field),*];
        })*
    };
}

guarded! {
    ModelInferRequest {
        field(4, "parameters", Count::Parameters),
        holder(5, "inputs", Count::Tensors, TENSOR),
        holder(6, "outputs", Count::Tensors, REQUESTED_OUTPUT),
        field(7, "raw_input_contents", Count::Tensors),
    }
    ModelInferResponse {
        field(4, "parameters", Count::Parameters),
        holder(5, "outputs", Count::Tensors, TENSOR),
        field(6, "raw_output_contents", Count::Tensors),
    }
    RepositoryModelLoadRequest { field(3, "parameters", Count::Parameters) }
    RepositoryModelUnloadRequest { field(3, "parameters", Count::Parameters) }
    TraceSettingRequest { holder(1, "settings", Count::Parameters, SETTING) }
    LogSettingsRequest { field(1, "settings", Count::Parameters) }
    ServerLiveRequest {}
    ServerReadyRequest {}
    ServerMetadataRequest {}
    ModelReadyRequest {}
    ModelMetadataRequest {}
    ModelConfigRequest {}
    ModelStatisticsRequest {}
    RepositoryIndexRequest {}
    SystemSharedMemoryStatusRequest {}
    SystemSharedMemoryRegisterRequest {}
    SystemSharedMemoryUnregisterRequest {}
    CudaSharedMemoryStatusRequest {}
    CudaSharedMemoryRegisterRequest {}
    CudaSharedMemoryUnregisterRequest {}
}

/// Looks over an encoded message and refuses one that would decode into more than the limits
/// allow.
///
/// # Errors
/// [`DecodeError::TooMany`], or [`DecodeError::Protobuf`] for bytes that are no protobuf; groups, which
/// the protocol never had, count as that.
pub fn check<M: Guarded>(message: &[u8], limits: &DecodeLimits) -> Result<(), DecodeError> {
    if M::FIELDS.is_empty() {
        return Ok(());
    }
    let mut guard = Guard {
        limits,
        // A varint takes at least a byte: a message shorter than the limit cannot reach it.
        exact: message.len() > limits.typed_elements,
        parameters: 0,
        strings: 0,
        elements: 0,
    };
    guard
        .walk(M::FIELDS, message)
        .map_err(|fault| within(fault, M::NAME))
}

/// The counts of a whole message.
struct Guard<'a> {
    limits: &'a DecodeLimits,
    exact: bool,
    parameters: usize,
    strings: usize,
    elements: usize,
}

/// A field's value as it stands on the wire.
enum Value<'a> {
    Scalar,
    Payload(&'a [u8]),
}

impl Guard<'_> {
    fn walk(&mut self, fields: &'static [Field], mut left: &[u8]) -> Result<(), DecodeError> {
        let mut counts = [0_usize; FIELDS];
        while !left.is_empty() {
            let (tag, value) = read_field(&mut left)?;
            let mut known = fields.iter().zip(&mut counts);
            let Some((field, count)) = known.find(|(field, _)| field.tag == tag) else {
                continue;
            };
            self.count(field, &value, count)?;
            if let (false, Value::Payload(inside)) = (field.inside.is_empty(), value) {
                let index = count.saturating_sub(1);
                self.walk(field.inside, inside)
                    .map_err(|fault| match field.count {
                        Count::Nothing => within(fault, field.name),
                        _ => within(fault, format_args!("{}[{index}]", field.name)),
                    })?;
            }
        }
        Ok(())
    }

    fn count(
        &mut self,
        field: &'static Field,
        value: &Value<'_>,
        in_parent: &mut usize,
    ) -> Result<(), DecodeError> {
        let limits = self.limits;
        match field.count {
            Count::Nothing => Ok(()),
            Count::Tensors => add(in_parent, 1, limits.tensors, field.name),
            Count::Parameters => {
                let all = limits.parameters_in_all();
                add(in_parent, 1, limits.parameters, field.name)?;
                add(&mut self.parameters, 1, all, "parameters in one message")
            }
            Count::Dims => add(in_parent, varints(value), limits.rank, "dimensions"),
            Count::Strings => {
                let what = "BYTES elements in typed contents (send them raw)";
                add(&mut self.strings, 1, limits.typed_strings, what)
            }
            Count::Elements(size) => {
                if !self.exact {
                    return Ok(());
                }
                let found = match value {
                    Value::Payload(packed) if size > 0 => packed.len() / size,
                    value => varints(value),
                };
                let what = "elements in typed contents (send them raw)";
                add(&mut self.elements, found, limits.typed_elements, what)
            }
        }
    }
}

fn add(
    count: &mut usize,
    found: usize,
    limit: usize,
    what: &'static str,
) -> Result<(), DecodeError> {
    *count = count.saturating_add(found);
    if *count <= limit {
        return Ok(());
    }
    Err(DecodeError::TooMany {
        place: String::new(),
        what,
        limit,
    })
}

/// How many varints a value holds: each ends with a byte whose upper bit is clear.
fn varints(value: &Value<'_>) -> usize {
    match value {
        Value::Scalar => 1,
        Value::Payload(packed) => packed.iter().filter(|byte| **byte < 0x80).count(),
    }
}

/// One field off the front. It is at least as strict as the decoder, so that it never stops
/// counting where the decoder goes on.
fn read_field<'a>(left: &mut &'a [u8]) -> Result<(u32, Value<'a>), DecodeError> {
    let key = read_varint(left)?;
    let tag = u32::try_from(key >> 3).map_err(|_| malformed("a field number is too large"))?;
    let value = match key & 7 {
        0 => {
            read_varint(left)?;
            Value::Scalar
        }
        1 => {
            take(left, 8)?;
            Value::Scalar
        }
        2 => {
            let length = read_varint(left)?;
            Value::Payload(take(left, length)?)
        }
        5 => {
            take(left, 4)?;
            Value::Scalar
        }
        _ => return Err(malformed("a field has a wire type that is not read")),
    };
    Ok((tag, value))
}

fn read_varint(left: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let Some((byte, rest)) = left.split_first() else {
            return Err(malformed("a number is cut short"));
        };
        *left = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && *byte > 1 {
            break;
        }
        value |= bits << shift;
        if *byte < 0x80 {
            return Ok(value);
        }
    }
    Err(malformed("a number takes more than 64 bits"))
}

fn take<'a>(left: &mut &'a [u8], length: u64) -> Result<&'a [u8], DecodeError> {
    let taken = usize::try_from(length)
        .ok()
        .and_then(|length| left.split_at_checked(length));
    let Some((taken, rest)) = taken else {
        return Err(malformed("a field is longer than its message"));
    };
    *left = rest;
    Ok(taken)
}

#[cold]
fn malformed(message: &'static str) -> DecodeError {
    DecodeError::Protobuf {
        place: String::new(),
        message,
    }
}

/// The same fault, seen from the message that the faulty one is part of.
#[cold]
fn within(mut fault: DecodeError, outer: impl Display) -> DecodeError {
    if let DecodeError::Protobuf { place, .. } | DecodeError::TooMany { place, .. } = &mut fault {
        *place = match place.is_empty() {
            true => outer.to_string(),
            false => format!("{outer}.{place}"),
        };
    }
    fault
}

#[cfg(test)]
mod tests;
