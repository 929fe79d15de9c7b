//! An inference request and its response, free of any wire form.
//!
//! Source: `inference_rest.md`, "Inference"; `ModelInferRequest` and `ModelInferResponse`.

use std::fmt;

use bytes::Bytes;

use crate::{DecodeError, Parameters, Tensor};

/// Which model, and which version of it where the caller cares.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelRef {
    /// The model's name.
    pub name: String,
    /// The version; `None` lets the server choose.
    pub version: Option<String>,
}

impl ModelRef {
    /// Longest name, and longest version, that a door takes in, in bytes. Callers choose them, and
    /// what counts or remembers models keeps them.
    pub const LONGEST: usize = 1024;

    /// A model by name; the server chooses the version.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: None,
        }
    }

    /// This version of the model.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Refuses a name or a version over [`LONGEST`](Self::LONGEST), for doors: before anybody is
    /// asked about the model.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`].
    pub fn check_length(&self) -> Result<(), DecodeError> {
        let version = self.version.as_deref().unwrap_or_default();
        let what = match (self.name.len(), version.len()) {
            (name, _) if name > Self::LONGEST => "the name of the model",
            (_, version) if version > Self::LONGEST => "the version of the model",
            _ => return Ok(()),
        };
        let limit = Self::LONGEST;
        Err(DecodeError::TooLong { what, limit })
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "model '{}'", crate::error::excerpt(&self.name))?;
        match &self.version {
            Some(version) => write!(f, " version '{}'", crate::error::excerpt(version)),
            None => Ok(()),
        }
    }
}

/// What a caller asks of a model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InferRequest {
    /// The caller's name for this request, returned as it came.
    pub id: Option<String>,
    /// Parameters of the whole request.
    pub parameters: Parameters,
    /// The input tensors, in the caller's order.
    pub inputs: Vec<Tensor>,
    /// The outputs asked for, in the order they are wanted; empty means all.
    pub outputs: Vec<RequestedOutput>,
    /// The body of a raw binary request (`Inference-Header-Content-Length: 0`), which stands for
    /// the one input of the model. Its name, datatype and shape come from the model's metadata,
    /// so the pipeline turns it into `inputs`; a handler never sees it.
    pub raw_input: Option<Bytes>,
}

impl InferRequest {
    /// A request with these inputs.
    pub fn new(inputs: impl Into<Vec<Tensor>>) -> Self {
        Self {
            inputs: inputs.into(),
            ..Self::default()
        }
    }

    /// How many parameters it has, those of its tensors and requested outputs included.
    #[must_use]
    pub fn parameter_count(&self) -> usize {
        let inputs = self.inputs.iter().map(|input| input.parameters().len());
        let outputs = self.outputs.iter().map(|output| output.parameters.len());
        inputs.chain(outputs).sum::<usize>() + self.parameters.len()
    }

    /// The input of this name.
    #[must_use]
    pub fn input(&self, name: &str) -> Option<&Tensor> {
        self.inputs.iter().find(|tensor| tensor.name() == name)
    }

    /// Sets the request's id.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Asks for an output by name (all are returned when none is asked for).
    #[must_use]
    pub fn output(mut self, name: impl Into<String>) -> Self {
        self.outputs.push(RequestedOutput::new(name));
        self
    }
}

/// One output that the caller asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestedOutput {
    /// The output's name.
    pub name: String,
    /// Parameters of this output, such as `binary_data` or `classification`.
    pub parameters: Parameters,
}

impl RequestedOutput {
    /// Asks for an output by name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            parameters: Parameters::new(),
        }
    }
}

/// A model's answer.
///
/// A handler fills `outputs` (and `parameters` where it has any); name, version and id are set
/// from the request by the pipeline where the handler left them empty.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InferResponse {
    /// The model that answered.
    pub model_name: String,
    /// The version that answered; `None` where the model has no versions.
    pub model_version: Option<String>,
    /// The request's id.
    pub id: Option<String>,
    /// Parameters of the whole response.
    pub parameters: Parameters,
    /// The output tensors.
    pub outputs: Vec<Tensor>,
}

impl InferResponse {
    /// An answer with these outputs.
    pub fn new(outputs: impl Into<Vec<Tensor>>) -> Self {
        Self {
            outputs: outputs.into(),
            ..Self::default()
        }
    }

    /// The output of this name.
    #[must_use]
    pub fn output(&self, name: &str) -> Option<&Tensor> {
        self.outputs.iter().find(|tensor| tensor.name() == name)
    }
}
