//! What a handler returns, as tensors: arrays are taken as they lie in memory, lists are read
//! element by element.

use half::{bf16, f16};
use oip::{Bytes, Datatype, Shape, Tensor};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::buffers;
use crate::data::{Source, TensorData};

/// The tensor of this name, datatype and shape whose elements `data` holds.
///
/// Raises `ValueError` or `TypeError` with what was declared and what was found.
pub(crate) fn tensor(
    name: &str,
    datatype: Datatype,
    shape: Vec<u64>,
    data: &Bound<'_, PyAny>,
) -> PyResult<Tensor> {
    let py = data.py();
    let shape = Shape::from(shape);
    let object = match data.cast::<TensorData>() {
        Ok(data) => match data.get().source(py) {
            Source::Tensor(tensor) if tensor.datatype() == datatype => {
                let made = made(name, datatype, shape, tensor.data().clone())?;
                return Ok(made.written_as(tensor.written()));
            }
            Source::Tensor(_) => data.get().root_of(py)?,
            Source::Object(object) => object,
        },
        Err(_) => data.clone(),
    };
    let bytes = bytes(&object, datatype, &shape)?;
    made(name, datatype, shape, bytes)
}

fn made(name: &str, datatype: Datatype, shape: Shape, data: Bytes) -> PyResult<Tensor> {
    Tensor::new(name, datatype, shape, data).map_err(|error| match error {
        oip::TensorError::Data { fault, .. } => PyValueError::new_err(fault.to_string()),
        other => PyValueError::new_err(other.to_string()),
    })
}

fn bytes(object: &Bound<'_, PyAny>, datatype: Datatype, shape: &Shape) -> PyResult<Bytes> {
    let count = shape.element_count().unwrap_or(usize::MAX);
    let is_list = object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>();
    if is_list {
        return list(object, datatype, shape, count);
    }
    if count == 1 && is_scalar(object) {
        let alone = PyList::new(object.py(), [object])?;
        return read(&alone.into_any(), datatype);
    }
    if let Some(bytes) = buffers::take(object, datatype)? {
        return Ok(bytes);
    }
    let py = object.py();
    let arrays = py.import(pyo3::intern!(py, "oip._arrays"))?;
    let prepare = pyo3::intern!(py, "prepare");
    let prepared = arrays.call_method1(prepare, (object, datatype.name()))?;
    match prepared.is_instance_of::<PyList>() {
        true => read(&prepared, datatype),
        false => buffers::of_bytes(&prepared),
    }
}

fn is_scalar(object: &Bound<'_, PyAny>) -> bool {
    object.is_instance_of::<PyString>()
        || object.is_instance_of::<PyBytes>()
        || object.is_instance_of::<pyo3::types::PyFloat>()
        || object.is_instance_of::<pyo3::types::PyInt>()
}

fn list(
    object: &Bound<'_, PyAny>,
    datatype: Datatype,
    shape: &Shape,
    count: usize,
) -> PyResult<Bytes> {
    if !is_nested(object) {
        let found = object.len()?;
        if found != count {
            return Err(PyValueError::new_err(format!(
                "shape {shape} takes {count} elements, but got {found}"
            )));
        }
        return read(object, datatype);
    }
    let py = object.py();
    let flat = PyList::empty(py);
    // A list of lists for one dimension is one list, as the original has it.
    let dims = match shape.rank() {
        0 | 1 => None,
        _ => Some(shape.dims()),
    };
    flatten(object, dims, &flat, shape, 0)?;
    if flat.len() != count {
        return Err(PyValueError::new_err(format!(
            "shape {shape} takes {count} elements, but got {}",
            flat.len()
        )));
    }
    read(flat.as_any(), datatype)
}

fn is_nested(object: &Bound<'_, PyAny>) -> bool {
    object.get_item(0).is_ok_and(|first| is_list(&first))
}

fn is_list(object: &Bound<'_, PyAny>) -> bool {
    object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>()
}

/// How deep lists may be nested: deeper than any shape that makes sense.
const DEEPEST: usize = 64;

fn flatten(
    object: &Bound<'_, PyAny>,
    dims: Option<&[u64]>,
    flat: &Bound<'_, PyList>,
    shape: &Shape,
    depth: usize,
) -> PyResult<()> {
    let uneven = |what: String| {
        PyValueError::new_err(format!("nested lists do not fit shape {shape}: {what}"))
    };
    if depth > DEEPEST {
        return Err(uneven("they are nested too deeply".to_owned()));
    }
    let inner = match dims {
        None => None,
        Some([]) => return Err(uneven(format!("a list at depth {depth}"))),
        Some([expected, inner @ ..]) => {
            let found = object.len()?;
            if u64::try_from(found) != Ok(*expected) {
                let fault = format!("a list of {found} at depth {depth}, {expected} are due");
                return Err(uneven(fault));
            }
            Some(inner)
        }
    };
    for item in object.try_iter()? {
        let item = item?;
        match is_list(&item) {
            true => flatten(&item, inner, flat, shape, depth + 1)?,
            false if inner.is_some_and(|inner| !inner.is_empty()) => {
                return Err(uneven(format!("an element at depth {}", depth + 1)));
            }
            false => flat.append(item)?,
        }
    }
    Ok(())
}

/// Reads a flat list of elements.
fn read(list: &Bound<'_, PyAny>, datatype: Datatype) -> PyResult<Bytes> {
    match datatype {
        Datatype::Bool => plain(list, datatype, |x| x.extract::<bool>()),
        Datatype::Uint8 => plain(list, datatype, |x| x.extract::<u8>()),
        Datatype::Uint16 => plain(list, datatype, |x| x.extract::<u16>()),
        Datatype::Uint32 => plain(list, datatype, |x| x.extract::<u32>()),
        Datatype::Uint64 => plain(list, datatype, |x| x.extract::<u64>()),
        Datatype::Int8 => plain(list, datatype, |x| x.extract::<i8>()),
        Datatype::Int16 => plain(list, datatype, |x| x.extract::<i16>()),
        Datatype::Int32 => plain(list, datatype, |x| x.extract::<i32>()),
        Datatype::Int64 => plain(list, datatype, |x| x.extract::<i64>()),
        Datatype::Fp16 => plain(list, datatype, |x| {
            float(x, f64::from(f16::MAX), f16::from_f64)
        }),
        Datatype::Bf16 => plain(list, datatype, |x| {
            float(x, f64::from(bf16::MAX), bf16::from_f64)
        }),
        #[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
        Datatype::Fp32 => plain(list, datatype, |x| {
            float(x, f64::from(f32::MAX), |x| x as f32)
        }),
        Datatype::Fp64 => plain(list, datatype, |x| x.extract::<f64>()),
        _ => strings(list),
    }
}

fn float<T>(element: &Bound<'_, PyAny>, most: f64, of: impl Fn(f64) -> T) -> PyResult<T> {
    let value: f64 = element.extract()?;
    // Rounding may still bring a value that is a little larger down to the largest.
    if value.is_finite() && value.abs() > most * 1.000_000_01 {
        return Err(PyOverflowError::new_err(""));
    }
    Ok(of(value))
}

fn plain<T: oip::Element>(
    list: &Bound<'_, PyAny>,
    datatype: Datatype,
    of: impl Fn(&Bound<'_, PyAny>) -> PyResult<T>,
) -> PyResult<Bytes> {
    let mut elements = Vec::with_capacity(list.len()?);
    for (index, element) in list.try_iter()?.enumerate() {
        let element = element?;
        match of(&element) {
            Ok(value) => elements.push(value),
            Err(error) => return Err(refused(&element, index, datatype, &error)),
        }
    }
    Ok(T::into_bytes(elements))
}

fn refused(element: &Bound<'_, PyAny>, index: usize, datatype: Datatype, error: &PyErr) -> PyErr {
    let py = element.py();
    let shown = element
        .repr()
        .map_or_else(|_| "?".to_owned(), |shown| shown.to_string());
    let shown: String = shown.chars().take(40).collect();
    if error.is_instance_of::<PyOverflowError>(py) {
        return PyValueError::new_err(format!(
            "element at index {index} is {shown}, which is beyond {datatype}"
        ));
    }
    let kind = element
        .get_type()
        .name()
        .map_or_else(|_| "?".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!(
        "element at index {index} is {shown} ({kind}), but {datatype} is declared"
    ))
}

fn strings(list: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    let mut data = Vec::new();
    for (index, element) in list.try_iter()?.enumerate() {
        let element = element?;
        if let Ok(text) = element.cast::<PyString>() {
            let Ok(text) = text.to_cow() else {
                return Err(PyValueError::new_err(format!(
                    "element at index {index} is text that is no Unicode"
                )));
            };
            frame(&mut data, index, text.as_bytes())?;
        } else if let Ok(bytes) = element.cast::<PyBytes>() {
            frame(&mut data, index, bytes.as_bytes())?;
        } else if let Ok(bytes) = element.extract::<Vec<u8>>() {
            frame(&mut data, index, &bytes)?;
        } else {
            let error = PyTypeError::new_err("");
            return Err(refused(&element, index, Datatype::Bytes, &error));
        }
    }
    Ok(data.into())
}

fn frame(data: &mut Vec<u8>, index: usize, element: &[u8]) -> PyResult<()> {
    let Ok(length) = u32::try_from(element.len()) else {
        return Err(PyValueError::new_err(format!(
            "element at index {index} is too long"
        )));
    };
    data.extend_from_slice(&length.to_le_bytes());
    data.extend_from_slice(element);
    Ok(())
}
