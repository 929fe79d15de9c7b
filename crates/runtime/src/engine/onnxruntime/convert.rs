//! Tensors of the protocol to and from ONNX Runtime's: lent both ways where the buffer lies
//! aligned. Text is copied.

use half::{bf16, f16};
use oip_protocol::error::excerpt;
use oip_protocol::{Bytes, Datatype, Element, Error, Result, Shape, Tensor, TensorMetadata};
use ort::session::SessionInputValue;
use ort::value::{DynValue, Tensor as OrtTensor, TensorElementType, TensorRef, ValueType};

use crate::engine::text;

/// Runs an expression with `$element` as the Rust type of a datatype; the second for `BYTES` and
/// whatever has none.
macro_rules! with_element {
    ($datatype:expr, $element:ident => $run:expr, _ => $other:expr) => {
        match $datatype {
            Datatype::Bool => {
                type $element = bool;
                $run
            }
            Datatype::Uint8 => {
                type $element = u8;
                $run
            }
            Datatype::Uint16 => {
                type $element = u16;
                $run
            }
            Datatype::Uint32 => {
                type $element = u32;
                $run
            }
            Datatype::Uint64 => {
                type $element = u64;
                $run
            }
            Datatype::Int8 => {
                type $element = i8;
                $run
            }
            Datatype::Int16 => {
                type $element = i16;
                $run
            }
            Datatype::Int32 => {
                type $element = i32;
                $run
            }
            Datatype::Int64 => {
                type $element = i64;
                $run
            }
            Datatype::Fp16 => {
                type $element = f16;
                $run
            }
            Datatype::Bf16 => {
                type $element = bf16;
                $run
            }
            Datatype::Fp32 => {
                type $element = f32;
                $run
            }
            Datatype::Fp64 => {
                type $element = f64;
                $run
            }
            _ => $other,
        }
    };
}

/// The same tensor with its buffer aligned for its elements: shared where it is, copied where
/// not.
///
/// # Errors
/// None for a tensor that holds together.
pub(super) fn align(tensor: &Tensor) -> Result<Tensor> {
    with_element!(tensor.datatype(), T => {
        match tensor.as_slice::<T>() {
            Some(_) => Ok(tensor.clone()),
            None => {
                oip_core::telemetry::count_alignment_copy();
                let copied = tensor.to_slice::<T>()?.into_owned();
                Ok(Tensor::from_vec(tensor.name(), tensor.shape().clone(), copied)?)
            }
        }
    }, _ => Ok(tensor.clone()))
}

/// An aligned tensor as ONNX Runtime takes it, lent for the run.
///
/// # Errors
/// `DoesNotFit` for a dimension that the library cannot count.
pub(super) fn take_in(tensor: &Tensor) -> Result<SessionInputValue<'_>> {
    let dims = dims_of(tensor)?;
    with_element!(tensor.datatype(), T => {
        let elements: &[T] = match tensor.element_count() {
            // However an empty buffer lies.
            0 => &[],
            _ => tensor
                .as_slice::<T>()
                .ok_or_else(|| Error::handler_failed("an input was not aligned"))?,
        };
        let value = TensorRef::from_array_view((dims, elements)).map_err(handler_failed)?;
        Ok(value.into())
    }, _ => take_in_text(tensor, dims))
}

fn take_in_text<'a>(tensor: &Tensor, dims: Vec<i64>) -> Result<SessionInputValue<'a>> {
    let elements = tensor.byte_strings()?;
    let strings: Vec<String> = elements.map(|e| text::encode(e).into_owned()).collect();
    let value = OrtTensor::from_string_array((dims, strings.as_slice())).map_err(handler_failed)?;
    Ok(value.into())
}

/// What ONNX Runtime answered, under the name that the model declares; the buffer is lent.
///
/// # Errors
/// `HandlerFailed` when it is no tensor, or of another datatype.
pub(super) fn hand_out(declared: &TensorMetadata, value: DynValue) -> Result<Tensor> {
    let found = match value.dtype() {
        ValueType::Tensor { ty, shape, .. } => datatype(*ty).map(|ty| (ty, shape.clone())),
        _ => None,
    };
    let Some((datatype, dims)) = found.filter(|(ty, _)| *ty == declared.datatype) else {
        return Err(Error::handler_failed(format!(
            "output '{}' is declared {} but ONNX Runtime made {}",
            excerpt(&declared.name),
            declared.datatype,
            value.dtype()
        )));
    };
    let dims = dims.iter().map(|dim| u64::try_from(*dim).unwrap_or(0));
    let shape = Shape::new(dims.collect::<Vec<u64>>());
    let name = &declared.name;
    if datatype == Datatype::Bytes {
        let (_, strings) = value.try_extract_strings().map_err(handler_failed)?;
        let elements = strings.iter().map(|string| text::decode(string));
        return Ok(Tensor::from_strings(name, shape, elements)?);
    }
    let data = Bytes::from_owner(Lent { value, datatype });
    Ok(Tensor::new(name, datatype, shape, data)?)
}

/// ONNX Runtime's tensor, lending its memory to ours.
struct Lent {
    value: DynValue,
    datatype: Datatype,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        with_element!(self.datatype, T => {
            let elements = self.value.try_extract_tensor::<T>();
            // Too few bytes for the shape, should it fail: the tensor made of them is refused.
            elements.map_or(&[], |(_, elements)| bytes_of(elements))
        }, _ => &[])
    }
}

fn bytes_of<T: Element + bytemuck::NoUninit>(elements: &[T]) -> &[u8] {
    bytemuck::cast_slice(elements)
}

/// The protocol's word for an element type, where it has one.
pub(super) fn datatype(element: TensorElementType) -> Option<Datatype> {
    Some(match element {
        TensorElementType::Bool => Datatype::Bool,
        TensorElementType::Uint8 => Datatype::Uint8,
        TensorElementType::Uint16 => Datatype::Uint16,
        TensorElementType::Uint32 => Datatype::Uint32,
        TensorElementType::Uint64 => Datatype::Uint64,
        TensorElementType::Int8 => Datatype::Int8,
        TensorElementType::Int16 => Datatype::Int16,
        TensorElementType::Int32 => Datatype::Int32,
        TensorElementType::Int64 => Datatype::Int64,
        TensorElementType::Float16 => Datatype::Fp16,
        TensorElementType::Bfloat16 => Datatype::Bf16,
        TensorElementType::Float32 => Datatype::Fp32,
        TensorElementType::Float64 => Datatype::Fp64,
        TensorElementType::String => Datatype::Bytes,
        _ => return None,
    })
}

/// The dimensions as ONNX Runtime counts them.
fn dims_of(tensor: &Tensor) -> Result<Vec<i64>> {
    let mut dims = Vec::with_capacity(tensor.shape().rank());
    for dim in tensor.shape().dims() {
        dims.push(i64::try_from(*dim).map_err(|_| {
            Error::does_not_fit(format!(
                "tensor '{}': dimension {dim} is larger than this engine counts",
                excerpt(tensor.name())
            ))
        })?);
    }
    Ok(dims)
}

fn handler_failed(error: ort::Error) -> Error {
    Error::handler_failed(format!("ONNX Runtime: {}", error.message()))
}
