//! Tensors as Python's lists.

use half::{bf16, f16};
use oip::{Datatype, Element, Tensor, Written};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};

/// How many elements a `repr` shows.
pub(crate) const SHOWN: usize = 6;

/// A tensor's data as its sender wrote it: flat, or nested by its shape.
pub(crate) fn of_tensor<'py>(py: Python<'py>, tensor: &Tensor) -> PyResult<Bound<'py, PyAny>> {
    let flat = first(py, tensor, usize::MAX)?;
    let dims = tensor.shape().dims();
    if tensor.written() != Written::NestedLists || dims.len() < 2 {
        return Ok(flat.into_any());
    }
    let mut level = flat;
    // From the innermost dimension outwards, each pass puts lists of that length into lists.
    for dim in dims.iter().skip(1).rev() {
        let size = usize::try_from(*dim).unwrap_or(0);
        if size == 0 {
            let rows = usize::try_from(*dims.first().unwrap_or(&0)).unwrap_or(0);
            let empty = (0..rows).map(|_| PyList::empty(py));
            return Ok(PyList::new(py, empty.collect::<Vec<_>>())?.into_any());
        }
        let starts = (0..level.len()).step_by(size);
        let rows = starts.map(|start| level.get_slice(start, start + size));
        level = PyList::new(py, rows.collect::<Vec<_>>())?;
    }
    Ok(level.into_any())
}

/// The first elements of a tensor, flat.
pub(crate) fn first<'py>(
    py: Python<'py>,
    tensor: &Tensor,
    most: usize,
) -> PyResult<Bound<'py, PyList>> {
    match tensor.datatype() {
        Datatype::Bool => plain(py, tensor, most, |x: bool| x),
        Datatype::Uint8 => plain(py, tensor, most, |x: u8| x),
        Datatype::Uint16 => plain(py, tensor, most, |x: u16| x),
        Datatype::Uint32 => plain(py, tensor, most, |x: u32| x),
        Datatype::Uint64 => plain(py, tensor, most, |x: u64| x),
        Datatype::Int8 => plain(py, tensor, most, |x: i8| x),
        Datatype::Int16 => plain(py, tensor, most, |x: i16| x),
        Datatype::Int32 => plain(py, tensor, most, |x: i32| x),
        Datatype::Int64 => plain(py, tensor, most, |x: i64| x),
        Datatype::Fp16 => plain(py, tensor, most, f16::to_f64),
        Datatype::Fp32 => plain(py, tensor, most, |x: f32| f64::from(x)),
        Datatype::Fp64 => plain(py, tensor, most, |x: f64| x),
        Datatype::Bf16 => plain(py, tensor, most, bf16::to_f64),
        _ => strings(py, tensor, most),
    }
}

fn plain<'py, T: Element, P>(
    py: Python<'py>,
    tensor: &Tensor,
    most: usize,
    of: impl Fn(T) -> P,
) -> PyResult<Bound<'py, PyList>>
where
    P: IntoPyObject<'py>,
{
    let elements = tensor.to_slice::<T>().map_err(crate::errors::value)?;
    let elements = elements.get(..most.min(elements.len())).unwrap_or_default();
    PyList::new(py, elements.iter().map(|element| of(*element)))
}

/// Text where the sender wrote text, which is JSON; else bytes.
fn strings<'py>(py: Python<'py>, tensor: &Tensor, most: usize) -> PyResult<Bound<'py, PyList>> {
    let elements = tensor.byte_strings().map_err(crate::errors::value)?;
    let list = PyList::empty(py);
    for element in elements.take(most) {
        match (tensor.written(), std::str::from_utf8(element)) {
            (Written::List | Written::NestedLists, Ok(text)) => {
                list.append(PyString::new(py, text))?;
            }
            _ => list.append(PyBytes::new(py, element))?,
        }
    }
    Ok(list)
}

/// The elements of a BYTES tensor as bytes.
pub(crate) fn byte_strings<'py>(py: Python<'py>, tensor: &Tensor) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for element in tensor.byte_strings().map_err(crate::errors::value)? {
        list.append(PyBytes::new(py, element))?;
    }
    Ok(list)
}

/// A list that is cut short, and how many elements there are.
pub(crate) fn show(elements: &Bound<'_, PyList>, count: usize) -> PyResult<String> {
    let shows = elements.py().import(intern!(elements.py(), "oip._show"))?;
    let shown = shows.call_method1(intern!(elements.py(), "short_list"), (elements, count))?;
    shown.extract()
}
