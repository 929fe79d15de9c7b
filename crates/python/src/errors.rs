//! Exceptions as errors of the protocol, and the other way round.

use oip::{Error, ErrorKind};
use pyo3::conversion::FromPyObjectOwned;
use pyo3::exceptions::{PyBaseException, PyNotImplementedError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyType};

/// A fault of data that Python reads.
pub(crate) fn value(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

fn oip_error(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.import(py, "oip.errors", "OipError")
}

/// What a handler raised while it did `what` for a model, as the caller is told. The traceback
/// goes to the log.
pub(crate) fn raised(py: Python<'_>, error: &PyErr, what: &str, model: &str) -> Error {
    let value = error.value(py);
    if let Ok(class) = oip_error(py)
        && value.is_instance(class).unwrap_or(false)
    {
        return chosen(py, error, what, model);
    }
    if error.is_instance_of::<PyNotImplementedError>(py) {
        return Error::not_implemented(format!(
            "{what} is not implemented by this server's handler"
        ));
    }
    if what == INFER && about_the_request(py, error) {
        log(py, error, what, model, "info");
        return Error::does_not_fit(text(value));
    }
    log(py, error, what, model, "error");
    Error::handler_failed(one_line(py, error))
}

/// Whether a fault is the request's: a `ValueError` or `TypeError` that the handler itself raised,
/// or that came of reading the request.
fn about_the_request(py: Python<'_>, error: &PyErr) -> bool {
    if !error.is_instance_of::<PyValueError>(py) && !error.is_instance_of::<PyTypeError>(py) {
        return false;
    }
    let judged = py
        .import(intern!(py, "oip._errors"))
        .and_then(|module| {
            module.call_method1(intern!(py, "about_request"), (error.traceback(py),))
        })
        .and_then(|judged| judged.is_truthy());
    judged.unwrap_or(false)
}

/// The call whose faults may be the request's.
pub(crate) const INFER: &str = "infer";

/// An error of `oip.errors`.
fn chosen(py: Python<'_>, error: &PyErr, what: &str, model: &str) -> Error {
    let value = error.value(py);
    let kind = kind_of(member(value, intern!(py, "status")).unwrap_or(500));
    if kind == ErrorKind::HandlerFailed && !member(value, intern!(py, "told")).unwrap_or(false) {
        if member(value, intern!(py, "logged")).unwrap_or(false) {
            return Error::handler_failed(text(value));
        }
        log(py, error, what, model, "error");
        return Error::handler_failed(one_line(py, error));
    }
    let made = Error::new(kind, text(value));
    match member(value, intern!(py, "retry_after")) {
        Some(seconds) => made.retry_after(seconds),
        None => made,
    }
}

/// A member of an exception, where it has one of this kind.
fn member<'py, T: FromPyObjectOwned<'py>>(
    value: &Bound<'py, PyBaseException>,
    name: &Bound<'py, PyString>,
) -> Option<T> {
    value.getattr(name).ok()?.extract().ok()
}

fn kind_of(status: u16) -> ErrorKind {
    match status {
        // Two kinds share 400 and 404; these are the ones a handler means.
        400 => ErrorKind::DoesNotFit,
        404 => ErrorKind::NotFound,
        _ => {
            let mut kinds = ErrorKind::ALL.into_iter();
            let kind = kinds.find(|kind| kind.http_status() == status);
            kind.unwrap_or(ErrorKind::HandlerFailed)
        }
    }
}

/// An answer that is none: the caller reads a stable phrase, the log has the cause.
pub(crate) fn bad_answer(py: Python<'_>, error: &PyErr, what: &str, model: &str) -> Error {
    log(py, error, &format!("the answer of {what}"), model, "error");
    Error::new(
        ErrorKind::HandlerFailed,
        "the model's answer does not fit what it declares",
    )
    .caused_by(one_line(py, error))
}

fn text(value: &Bound<'_, PyBaseException>) -> String {
    value.str().map_or_else(
        |_| "the request does not fit".to_owned(),
        |text| text.to_string(),
    )
}

/// An exception in one line: its kind, its message, and where it was raised.
pub(crate) fn one_line(py: Python<'_>, error: &PyErr) -> String {
    let line = error.to_string();
    let place = error.traceback(py).and_then(|traceback| {
        let place = py
            .import(intern!(py, "oip._errors"))
            .and_then(|module| module.call_method1(intern!(py, "place"), (traceback,)));
        place.ok()?.extract::<String>().ok()
    });
    match place {
        Some(place) => format!("{line} ({place})"),
        None => line,
    }
}

/// Writes a traceback to the log of Python.
fn log(py: Python<'_>, error: &PyErr, what: &str, model: &str, level: &str) {
    // Before Python 3.12 an error's value lacks its traceback until it is taken out.
    let value = error.clone_ref(py).into_value(py);
    let logged = py
        .import(intern!(py, "oip._errors"))
        .and_then(|module| module.call_method1("log", (level, what, model, value)));
    if let Err(failed) = logged {
        failed.print(py);
    }
}

/// An error of the protocol as the exception of `oip.errors` with its status.
pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyErr {
    let message = match error.cause() {
        Some(cause) if error.kind() == ErrorKind::HandlerFailed => {
            format!("{}: {cause}", error.message())
        }
        _ => error.message().to_owned(),
    };
    let status = error.kind().http_status();
    let arguments = (status, message, error.retry_after_seconds());
    made(py, intern!(py, "of_status"), arguments)
}

/// A server that could not be started.
pub(crate) fn start(py: Python<'_>, error: impl std::fmt::Display) -> PyErr {
    made(py, intern!(py, "StartError"), (error.to_string(),))
}

/// An exception that something in `oip.errors` makes.
fn made<'py>(
    py: Python<'py>,
    maker: &Bound<'py, PyString>,
    arguments: impl pyo3::call::PyCallArgs<'py>,
) -> PyErr {
    let made = py
        .import(intern!(py, "oip.errors"))
        .and_then(|module| module.getattr(maker)?.call1(arguments));
    made.map_or_else(|error| error, PyErr::from_value)
}
