//! `TensorData`: a tensor's elements as Python sees them. Over the request's own buffer, with
//! lists made only when somebody asks for them.
#![allow(
    unsafe_code,
    reason = "the buffer protocol hands out pointers; this is the one place that fills one in"
)]

use std::ffi::c_int;
use std::sync::{Mutex, MutexGuard, PoisonError};

use oip::{Bytes, Datatype, Tensor, Written};
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::lists;

/// The elements of a tensor.
///
/// ``root`` is the data as it was given: a list, nested where the caller nested it, or whatever
/// an output was made with.
#[pyclass(module = "oip", frozen, sequence)]
pub(crate) struct TensorData {
    /// What came over the wire; `None` for what Python made.
    tensor: Option<Tensor>,
    /// What counts once it was made or set. Not locked while Python runs.
    root: Mutex<Option<Py<PyAny>>>,
}

/// What the data of an output is to be read from.
pub(crate) enum Source<'a, 'py> {
    /// A buffer that came over the wire and that nobody has seen as lists.
    Tensor(&'a Tensor),
    /// An object.
    Object(Bound<'py, PyAny>),
}

impl TensorData {
    pub(crate) fn of_tensor(tensor: Tensor) -> Self {
        Self::of(Some(tensor), None)
    }

    fn of(tensor: Option<Tensor>, seen: Option<Py<PyAny>>) -> Self {
        Self {
            tensor,
            root: Mutex::new(seen),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Py<PyAny>>> {
        self.root.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let root = self.lock();
        root.as_ref().map(|root| root.bind(py).clone())
    }

    /// Lists that were handed out may have been changed, so they count.
    pub(crate) fn source<'py>(&self, py: Python<'py>) -> Source<'_, 'py> {
        match (self.seen(py), &self.tensor) {
            (Some(root), _) => Source::Object(root),
            (None, Some(tensor)) => Source::Tensor(tensor),
            (None, None) => Source::Object(py.None().into_bound(py)),
        }
    }

    pub(crate) fn root_of<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let tensor = match self.source(py) {
            Source::Object(root) => return Ok(root),
            Source::Tensor(tensor) => tensor,
        };
        let made = lists::of_tensor(py, tensor)?;
        let mut root = self.lock();
        // Another thread may have made them meanwhile: everybody gets the same.
        let root = root.get_or_insert_with(|| made.unbind());
        Ok(root.bind(py).clone())
    }
}

#[pymethods]
impl TensorData {
    #[new]
    fn new(py: Python<'_>, root: Bound<'_, PyAny>) -> Self {
        match root.cast::<Self>() {
            Ok(other) => {
                let other = other.get();
                Self::of(other.tensor.clone(), other.seen(py).map(Bound::unbind))
            }
            Err(_) => Self::of(None, Some(root.unbind())),
        }
    }

    /// The data as it was given.
    #[getter]
    fn root<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.root_of(py)
    }

    /// Other data from now on.
    #[setter]
    fn set_root(&self, root: Bound<'_, PyAny>) {
        // What was there before is let go of when nothing is locked.
        let before = self.lock().replace(root.unbind());
        drop(before);
    }

    /// Checks the data against a shape and a datatype.
    ///
    /// Raises ``ValueError`` or ``TypeError`` with what was declared and what was found.
    fn validate_oip(
        slf: &Bound<'_, Self>,
        shape: Bound<'_, PyAny>,
        datatype: Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let checks = slf.py().import(pyo3::intern!(slf.py(), "oip._dataplane"))?;
        checks.call_method1(
            pyo3::intern!(slf.py(), "validate_data"),
            (slf, shape, datatype),
        )?;
        Ok(())
    }

    /// Whether the data is a buffer of elements of one size, which an array can be laid over.
    #[getter]
    fn is_buffer(&self) -> bool {
        let fixed = |tensor: &Tensor| tensor.datatype() != Datatype::Bytes;
        self.lock().is_none() && self.tensor.as_ref().is_some_and(fixed)
    }

    /// The buffer, aligned for its elements.
    fn _buffer(&self) -> PyResult<Buffer> {
        let tensor = self.tensor.as_ref();
        match tensor.and_then(|tensor| Some((tensor, tensor.datatype().size()?))) {
            Some((tensor, size)) => Ok(Buffer(aligned(tensor.data(), size))),
            None => Err(PyBufferError::new_err("this data is no buffer")),
        }
    }

    /// The elements of a BYTES tensor as ``bytes``, flat.
    fn _byte_strings<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        match self.source(py) {
            Source::Tensor(tensor) => lists::byte_strings(py, tensor).map(Some),
            Source::Object(_) => Ok(None),
        }
    }

    /// The data as lists, of numbers and strings of Python.
    fn tolist<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let root = self.root_of(py)?;
        match root.hasattr(pyo3::intern!(py, "tolist"))? {
            true => root.call_method0(pyo3::intern!(py, "tolist")),
            false => Ok(root),
        }
    }

    /// As lists would be taken by NumPy: flat, or nested as the caller nested them.
    #[pyo3(signature = (dtype=None, copy=None))]
    fn __array__<'py>(
        slf: &Bound<'py, Self>,
        dtype: Option<Bound<'py, PyAny>>,
        copy: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let this = slf.get();
        let nested = this.tensor.as_ref().filter(|tensor| {
            tensor.written() == Written::NestedLists || tensor.shape().rank() == 1
        });
        let datatype = this.tensor.as_ref().map(|tensor| tensor.datatype().name());
        let shape = nested.map(|tensor| tensor.shape().dims().to_vec());
        let arrays = py.import(pyo3::intern!(py, "oip._arrays"))?;
        let arguments = (slf, datatype, shape, dtype, copy);
        arrays.call_method1(pyo3::intern!(py, "to_numpy"), arguments)
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        match self.source(py) {
            Source::Tensor(tensor) => Ok(match (tensor.written(), tensor.shape().dims()) {
                (Written::NestedLists, [first, ..]) => usize::try_from(*first).unwrap_or(0),
                _ => tensor.element_count(),
            }),
            Source::Object(root) => root.len(),
        }
    }

    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        index: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.root_of(py)?.get_item(index)
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.root_of(py)?.try_iter()?.into_any())
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        let own = self.tolist(py)?;
        match other.cast::<Self>() {
            Ok(other) => own.eq(other.get().tolist(py)?),
            Err(_) => own.eq(other),
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        match self.source(py) {
            Source::Tensor(tensor) => {
                let elements = lists::first(py, tensor, lists::SHOWN)?;
                Ok(format!(
                    "TensorData({})",
                    lists::show(&elements, tensor.element_count())?
                ))
            }
            Source::Object(root) => match root.cast::<PyList>() {
                Ok(list) => {
                    let shown = list.get_slice(0, lists::SHOWN);
                    Ok(format!("TensorData({})", lists::show(&shown, list.len())?))
                }
                Err(_) => {
                    let shows = py.import(pyo3::intern!(py, "oip._show"))?;
                    let shown = shows.call_method1(pyo3::intern!(py, "short"), (root,))?;
                    Ok(format!("TensorData({shown})"))
                }
            },
        }
    }

    fn __reduce__<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let py = slf.py();
        let root = slf.get().root_of(py)?;
        Ok((slf.get_type().into_any(), PyTuple::new(py, [root])?))
    }
}

/// The buffer itself where its elements are aligned, else a copy that is.
fn aligned(data: &Bytes, size: usize) -> Bytes {
    if data.as_ptr().align_offset(size) == 0 {
        return data.clone();
    }
    // The system's allocator aligns to 16 bytes, more than any element needs.
    Bytes::from(data.to_vec())
}

/// Bytes that NumPy can lay an array over. Read-only.
#[pyclass(module = "oip._oip", frozen)]
pub(crate) struct Buffer(pub(crate) Bytes);

#[pymethods]
impl Buffer {
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let bytes = &slf.get().0;
        let length =
            isize::try_from(bytes.len()).map_err(|_| PyBufferError::new_err("too long"))?;
        // SAFETY: `view` comes from the interpreter. The pointer is valid for `length` bytes for
        // as long as `slf` lives, to which the view holds a reference; the view is read-only, so
        // nobody writes through the pointer.
        let filled = unsafe {
            let data = bytes.as_ptr().cast_mut().cast();
            ffi::PyBuffer_FillInfo(view, slf.as_ptr(), data, length, 1, flags)
        };
        match filled {
            0 => Ok(()),
            _ => Err(PyErr::fetch(slf.py())),
        }
    }
}
