//! Arrays that a handler returns, taken as they lie in memory.
#![allow(
    unsafe_code,
    reason = "the buffer protocol hands out pointers; this is the one place that reads them"
)]

use std::sync::{PoisonError, RwLock};

use oip::{Bytes, Datatype};
use pyo3::buffer::{ElementType, PyUntypedBuffer};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::pool::Jobs;

/// Up to this size a copy costs less than letting go of the array afterwards, which needs the
/// GIL.
const COPIED: usize = 64 * 1024;

/// Who lets go of arrays once they are sent.
static RELEASE: RwLock<Option<Jobs>> = RwLock::new(None);

/// Names the pool that lets go of arrays once they are sent.
pub(crate) fn release_on(jobs: Jobs) {
    *RELEASE.write().unwrap_or_else(PoisonError::into_inner) = Some(jobs);
}

fn releasing() -> Option<Jobs> {
    RELEASE
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

/// The bytes of an array whose elements are of this datatype and lie one after the other;
/// `None` for anything else.
pub(crate) fn take(object: &Bound<'_, PyAny>, datatype: Datatype) -> PyResult<Option<Bytes>> {
    if object.is_instance_of::<PyString>() || datatype == Datatype::Bytes {
        return Ok(None);
    }
    let Ok(buffer) = PyUntypedBuffer::get(object) else {
        return Ok(None);
    };
    // Elements in the other byte order are for NumPy to turn round.
    if let [b'>' | b'!', ..] = buffer.format().to_bytes() {
        return Ok(None);
    }
    let element = ElementType::from_format(buffer.format());
    if !holds(element, datatype) || !buffer.is_c_contiguous() {
        return Ok(None);
    }
    Ok(Some(bytes(buffer, object)))
}

/// The bytes of an array of bytes.
pub(crate) fn of_bytes(object: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    Ok(bytes(PyUntypedBuffer::get(object)?, object))
}

/// The bytes of an array of bytes, copied.
pub(crate) fn copy(object: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    let held = Held(Some(PyUntypedBuffer::get(object)?));
    let copy = Bytes::copy_from_slice(held.as_ref());
    held.now(object.py());
    Ok(copy)
}

fn bytes(buffer: PyUntypedBuffer, object: &Bound<'_, PyAny>) -> Bytes {
    if buffer.len_bytes() <= COPIED {
        let held = Held(Some(buffer));
        let copy = Bytes::copy_from_slice(held.as_ref());
        held.now(object.py());
        return copy;
    }
    Bytes::from_owner(Held(Some(buffer)))
}

fn holds(element: ElementType, datatype: Datatype) -> bool {
    match datatype {
        Datatype::Bool => element == ElementType::Bool,
        Datatype::Uint8 => element == ElementType::UnsignedInteger { bytes: 1 },
        Datatype::Uint16 => element == ElementType::UnsignedInteger { bytes: 2 },
        Datatype::Uint32 => element == ElementType::UnsignedInteger { bytes: 4 },
        Datatype::Uint64 => element == ElementType::UnsignedInteger { bytes: 8 },
        Datatype::Int8 => element == ElementType::SignedInteger { bytes: 1 },
        Datatype::Int16 => element == ElementType::SignedInteger { bytes: 2 },
        Datatype::Int32 => element == ElementType::SignedInteger { bytes: 4 },
        Datatype::Int64 => element == ElementType::SignedInteger { bytes: 8 },
        Datatype::Fp16 => element == ElementType::Float { bytes: 2 },
        Datatype::Fp32 => element == ElementType::Float { bytes: 4 },
        Datatype::Fp64 => element == ElementType::Float { bytes: 8 },
        _ => false,
    }
}

/// A buffer that is let go of by a thread that may wait for the GIL.
struct Held(Option<PyUntypedBuffer>);

impl Held {
    fn now(mut self, py: Python<'_>) {
        if let Some(buffer) = self.0.take() {
            buffer.release(py);
        }
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        let Some(buffer) = &self.0 else { return &[] };
        let (start, length) = (buffer.buf_ptr().cast::<u8>(), buffer.len_bytes());
        if start.is_null() || length == 0 {
            return &[];
        }
        // SAFETY: the exporter keeps these bytes in place until the buffer is released, which
        // happens when this is dropped. Whoever made the array is told not to write to it after
        // it was returned.
        unsafe { std::slice::from_raw_parts(start, length) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let (Some(buffer), Some(jobs)) = (self.0.take(), releasing()) {
            jobs.release(Box::new(move |py| buffer.release(py)));
        }
    }
}
