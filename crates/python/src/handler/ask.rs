//! The five methods of a handler: what each is given, and how what it returns is read.

use oip::{InferRequest, InferResponse, ModelMetadata, ModelRef};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::context::Context;
use crate::errors::INFER;
use crate::messages;

/// The methods of a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Infer,
    Metadata,
    Load,
    Unload,
    Ready,
}

impl Method {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 5] = [
        Self::Infer,
        Self::Metadata,
        Self::Load,
        Self::Unload,
        Self::Ready,
    ];

    /// What it is called in Python.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Infer => "infer",
            Self::Metadata => "model_metadata",
            Self::Load => "model_load",
            Self::Unload => "model_unload",
            Self::Ready => "model_ready",
        }
    }

    /// What it is called in a message.
    pub(super) const fn phrase(self) -> &'static str {
        match self {
            Self::Infer => INFER,
            Self::Metadata => "model metadata",
            Self::Load => "model load",
            Self::Unload => "model unload",
            Self::Ready => "model ready",
        }
    }
}

/// Makes the arguments, where the GIL is held.
pub(super) type Arguments =
    Box<dyn for<'py> FnOnce(Python<'py>) -> PyResult<Bound<'py, PyTuple>> + Send>;
/// Reads what a method returned; an error means that it is no answer.
pub(super) type Reader<T> = Box<dyn FnOnce(&Bound<'_, PyAny>) -> PyResult<T> + Send>;

/// One call of a method.
pub(super) struct Ask<T> {
    pub(super) method: Method,
    pub(super) model: String,
    pub(super) arguments: Arguments,
    pub(super) read: Reader<T>,
}

impl<T: 'static> Ask<T> {
    /// Holds this until what the method returned is read, or will never be: also when nobody waits
    /// for it any more.
    pub(super) fn holding(self, place: impl Send + 'static) -> Self {
        let read = self.read;
        let read: Reader<T> = Box::new(move |result| {
            let _place = place;
            read(result)
        });
        Self { read, ..self }
    }

    /// A call that is about a model and nothing else.
    fn about(
        method: Method,
        model: &ModelRef,
        read: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<T> + Send + 'static,
    ) -> Self {
        let named = model.clone();
        let arguments: Arguments = match method {
            Method::Load | Method::Unload => Box::new(|py| (named.name,).into_pyobject(py)),
            // The version is `None` where nobody asked for one.
            _ => Box::new(|py| (named.name, named.version).into_pyobject(py)),
        };
        Self {
            method,
            model: model.name.clone(),
            arguments,
            read: Box::new(read),
        }
    }
}

/// Name and datatype of each output that a model declares.
pub(super) type Outputs = Vec<(String, &'static str)>;

/// `infer`, with a request that is settled already.
pub(super) fn infer(
    model: &ModelRef,
    request: InferRequest,
    context: Option<Context>,
    declared: Outputs,
) -> Ask<InferResponse> {
    let named = model.clone();
    infer_with(model, declared, move |py| {
        let payload = messages::request(py, request, context)?;
        (payload, named.name, named.version).into_pyobject(py)
    })
}

/// `infer`, with arguments that are made when its turn comes.
pub(super) fn infer_with(
    model: &ModelRef,
    declared: Outputs,
    arguments: impl for<'py> FnOnce(Python<'py>) -> PyResult<Bound<'py, PyTuple>> + Send + 'static,
) -> Ask<InferResponse> {
    Ask {
        method: Method::Infer,
        model: model.name.clone(),
        arguments: Box::new(arguments),
        read: Box::new(move |result| answer(result, &declared)),
    }
}

/// `model_metadata`.
pub(super) fn metadata(model: &ModelRef) -> Ask<ModelMetadata> {
    Ask::about(Method::Metadata, model, messages::read_metadata)
}

/// `model_load`: whether it could be loaded. Nothing returned is a yes.
pub(super) fn load(model: &ModelRef) -> Ask<bool> {
    Ask::about(Method::Load, model, |result| {
        Ok(result.is_none() || result.is_truthy()?)
    })
}

/// `model_unload`.
pub(super) fn unload(model: &ModelRef) -> Ask<()> {
    Ask::about(Method::Unload, model, |_| Ok(()))
}

/// `model_ready`: a `ModelReadyResponse`, or a plain truth value.
pub(super) fn ready(model: &ModelRef) -> Ask<bool> {
    Ask::about(Method::Ready, model, |result| {
        let ready = result.getattr_opt(intern!(result.py(), "ready"))?;
        ready.as_ref().unwrap_or(result).is_truthy()
    })
}

/// What `infer` returned, in full or in short.
fn answer(
    result: &Bound<'_, PyAny>,
    declared: &[(String, &'static str)],
) -> PyResult<InferResponse> {
    if messages::is_response(result)? {
        return messages::read_response(result);
    }
    let py = result.py();
    let results = py.import(intern!(py, "oip._results"))?;
    let declared = declared
        .iter()
        .map(|(name, datatype)| (PyString::new(py, name), *datatype));
    let declared: Vec<_> = declared.collect();
    let response = results.call_method1(intern!(py, "to_response"), (result, declared))?;
    messages::read_response(&response)
}
