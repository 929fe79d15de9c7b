//! Tensors on their way to another process and back: their members, and their bytes apart.

use oip::{Datatype, Shape, Tensor, Written};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::buffers;
use crate::data::{Buffer, TensorData};
use crate::messages;

/// A tensor apart: name, datatype, shape, how it was written, parameters, bytes.
type Packed<'py> = (
    String,
    &'static str,
    Vec<u64>,
    u8,
    Option<Bound<'py, PyAny>>,
    Buffer,
);

/// Takes the tensors of a request or a response apart.
///
/// Raises `ValueError` or `TypeError` where one does not fit its datatype or shape.
#[pyfunction]
pub(crate) fn pack<'py>(
    py: Python<'py>,
    side: &str,
    tensors: &Bound<'py, PyList>,
) -> PyResult<Vec<Packed<'py>>> {
    let each = tensors.iter().map(|tensor| {
        let parameters = tensor.getattr(pyo3::intern!(py, "parameters"))?;
        let tensor = messages::read_tensor(side, &tensor)?;
        Ok((
            tensor.name().to_owned(),
            tensor.datatype().name(),
            tensor.shape().dims().to_vec(),
            number(tensor.written()),
            Some(parameters).filter(|parameters| !parameters.is_none()),
            Buffer(tensor.data().clone()),
        ))
    });
    each.collect()
}

/// The data of a tensor whose bytes are here. They are copied.
#[pyfunction]
pub(crate) fn unpack(
    datatype: &str,
    shape: Vec<u64>,
    written: u8,
    bytes: &Bound<'_, PyAny>,
) -> PyResult<TensorData> {
    let datatype: Datatype = datatype.parse().map_err(crate::errors::value)?;
    let bytes = buffers::copy(bytes)?;
    let tensor = Tensor::new("", datatype, Shape::from(shape), bytes);
    let tensor = tensor.map_err(crate::errors::value)?;
    let written = match written {
        1 => Written::List,
        2 => Written::NestedLists,
        _ => Written::Raw,
    };
    Ok(TensorData::of_tensor(tensor.written_as(written)))
}

fn number(written: Written) -> u8 {
    match written {
        Written::Raw => 0,
        Written::List => 1,
        Written::NestedLists => 2,
    }
}
