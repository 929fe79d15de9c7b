//! What a server says of itself and what a model declares.
//!
//! Source: `inference_rest.md`, "Server Metadata" and "Model Metadata".

use crate::{Datatype, DeclaredShape};

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerMetadata {
    /// The server's name.
    pub name: String,
    /// The server's version.
    pub version: String,
    /// The protocol extensions that work here, by Triton's names.
    pub extensions: Vec<String>,
}

/// What a model declares of itself. Requests and responses are held to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelMetadata {
    /// The model's name.
    pub name: String,
    /// The versions that can be asked for, as the server serves them now.
    pub versions: Vec<String>,
    /// `<project>_<format>`, such as `onnx_onnxv1`.
    pub platform: String,
    /// The inputs, in the model's order.
    pub inputs: Vec<TensorMetadata>,
    /// The outputs, in the model's order.
    pub outputs: Vec<TensorMetadata>,
}

/// What a model declares of one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorMetadata {
    /// The tensor's name.
    pub name: String,
    /// The type of its elements.
    pub datatype: Datatype,
    /// Its dimensions, `-1` where any size will do.
    pub shape: DeclaredShape,
}

impl TensorMetadata {
    /// A tensor of this name, datatype and shape.
    pub fn new(
        name: impl Into<String>,
        datatype: Datatype,
        shape: impl Into<DeclaredShape>,
    ) -> Self {
        Self {
            name: name.into(),
            datatype,
            shape: shape.into(),
        }
    }
}
