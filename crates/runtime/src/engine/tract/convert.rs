//! Tensors of the protocol to and from tract's: one copy in, none out but for text and
//! `BF16`.

use std::sync::Arc;

use half::bf16;
use oip_protocol::error::excerpt;
use oip_protocol::{Bytes, Datatype, Error, Result, Shape, Tensor, TensorMetadata};
use tract_onnx::prelude::{
    DatumType, IntoArcTensor, IntoTValue, TValue, Tensor as TractTensor, tract_ndarray::ArrayD,
};

use super::bfloat::{narrow, widen};
use crate::engine::text;

/// A tensor as tract takes it.
///
/// # Errors
/// `DoesNotFit` for a dimension that this machine cannot count.
pub(super) fn take_in(tensor: &Tensor) -> Result<TValue> {
    let dims = dims_of(tensor)?;
    if tensor.datatype() == Datatype::Bf16 {
        let elements = tensor.to_slice::<bf16>()?;
        let wide = elements.iter().copied().map(widen).collect();
        let array = ArrayD::from_shape_vec(dims, wide).map_err(Error::handler_failed)?;
        return Ok(TractTensor::from(array).into_tvalue());
    }
    let Some(datum_type) = datum_type(tensor.datatype()) else {
        let elements = tensor.byte_strings()?;
        let strings: Vec<String> = elements.map(|e| text::encode(e).into_owned()).collect();
        let array = ArrayD::from_shape_vec(dims, strings).map_err(Error::handler_failed)?;
        return Ok(TractTensor::from(array).into_tvalue());
    };
    let mut taken = TractTensor::zero_dt(datum_type, &dims).map_err(Error::handler_failed)?;
    // An empty tensor owns no memory to copy to.
    if !tensor.data().is_empty() {
        let mut plain = taken
            .try_as_plain_ram_mut()
            .map_err(Error::handler_failed)?;
        let bytes = plain.as_bytes_mut();
        let Some(bytes) = bytes.get_mut(..tensor.data().len()) else {
            return Err(Error::handler_failed("tract's tensor is shorter than ours"));
        };
        bytes.copy_from_slice(tensor.data());
    }
    Ok(taken.into_tvalue())
}

/// What tract answered, under the name that the model declares.
///
/// # Errors
/// `HandlerFailed` when it is of another datatype.
pub(super) fn hand_out(declared: &TensorMetadata, value: TValue) -> Result<Tensor> {
    let tensor = value.into_arc_tensor();
    let shape = Shape::from(tensor.shape());
    let found = tensor.datum_type();
    let name = &declared.name;
    if found == DatumType::String {
        let plain = tensor.try_as_plain_ram().map_err(Error::handler_failed)?;
        let strings = plain.as_slice::<String>().map_err(Error::handler_failed)?;
        let elements = strings.iter().map(|string| text::decode(string));
        return Ok(Tensor::from_strings(name, shape, elements)?);
    }
    if datum_type(declared.datatype) != Some(found.unquantized()) {
        return Err(Error::handler_failed(format!(
            "output '{}' is declared {} but tract made {found:?}",
            excerpt(name),
            declared.datatype
        )));
    }
    if declared.datatype == Datatype::Bf16 {
        let plain = tensor.try_as_plain_ram().map_err(Error::handler_failed)?;
        let wide = plain.as_slice::<f32>().map_err(Error::handler_failed)?;
        let elements = wide.iter().copied().map(narrow).collect::<Vec<bf16>>();
        return Ok(Tensor::from_vec(name, shape, elements)?);
    }
    let data = match tensor.len() {
        0 => Bytes::new(),
        _ => Bytes::from_owner(Lent::new(tensor)?),
    };
    Ok(Tensor::new(name, declared.datatype, shape, data)?)
}

/// tract's tensor, lending its memory to ours.
struct Lent(Arc<TractTensor>);

impl Lent {
    fn new(tensor: Arc<TractTensor>) -> Result<Self> {
        tensor.try_as_plain_ram().map_err(Error::handler_failed)?;
        Ok(Self(tensor))
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        // Always plain: checked when it was lent.
        self.0.as_plain_ram().map_or(&[], |plain| plain.as_bytes())
    }
}

/// What tract computes a datatype in; `None` for text, whose elements are no plain bytes.
fn datum_type(datatype: Datatype) -> Option<DatumType> {
    Some(match datatype {
        Datatype::Bool => DatumType::Bool,
        Datatype::Uint8 => DatumType::U8,
        Datatype::Uint16 => DatumType::U16,
        Datatype::Uint32 => DatumType::U32,
        Datatype::Uint64 => DatumType::U64,
        Datatype::Int8 => DatumType::I8,
        Datatype::Int16 => DatumType::I16,
        Datatype::Int32 => DatumType::I32,
        Datatype::Int64 => DatumType::I64,
        Datatype::Fp16 => DatumType::F16,
        Datatype::Fp32 | Datatype::Bf16 => DatumType::F32,
        Datatype::Fp64 => DatumType::F64,
        _ => return None,
    })
}

/// The dimensions as tract counts them.
fn dims_of(tensor: &Tensor) -> Result<Vec<usize>> {
    let mut dims = Vec::with_capacity(tensor.shape().rank());
    for dim in tensor.shape().dims() {
        dims.push(usize::try_from(*dim).map_err(|_| {
            Error::does_not_fit(format!(
                "tensor '{}': dimension {dim} is larger than this engine counts",
                excerpt(tensor.name())
            ))
        })?);
    }
    Ok(dims)
}
