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

/// How a model is served: the model configuration extension.
///
/// Source: Triton's `extension_model_configuration.md` and `model_config.proto`, of which these
/// are the parts that mean something here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelConfig {
    /// The model's name.
    pub name: String,
    /// As in [`ModelMetadata::platform`].
    pub platform: String,
    /// The engine that runs the model, such as `onnxruntime` or `tract`.
    pub backend: String,
    /// The versions that are served.
    pub versions: Vec<String>,
    /// How those were chosen.
    pub version_choice: VersionChoice,
    /// Largest batch that requests are gathered into; 0 when requests are not batched, and then
    /// the shapes of inputs and outputs are whole.
    pub max_batch_size: u32,
    /// The inputs.
    pub inputs: Vec<TensorMetadata>,
    /// The outputs.
    pub outputs: Vec<TensorMetadata>,
    /// How many requests the model runs side by side.
    pub instances: u32,
    /// How requests wait and are gathered; `None` when they are not gathered.
    pub batching: Option<DynamicBatching>,
    /// The requests of its own that a model runs before it counts as ready.
    pub warmup: Vec<WarmupRequest>,
    /// Whether answers are kept for requests that are the same.
    pub response_cache: bool,
    /// Further settings by name.
    pub parameters: Vec<(String, String)>,
}

/// How the versions that are served were chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VersionChoice {
    /// By what was found or named: the versions themselves say it.
    #[default]
    Served,
    /// All that there are.
    All,
    /// This many with the highest numbers.
    Latest(u32),
}

/// A request that a model runs before it counts as ready.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WarmupRequest {
    /// Its rows, where requests are gathered, and then the dimensions of its inputs are without
    /// them; else 1.
    pub batch_size: u32,
    /// Its inputs.
    pub inputs: Vec<WarmupTensor>,
}

/// An input of a [`WarmupRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmupTensor {
    /// Its name.
    pub name: String,
    /// Its datatype.
    pub datatype: Datatype,
    /// Its dimensions.
    pub dims: Vec<u64>,
    /// Where its elements come from.
    pub data: WarmupData,
}

/// Where the elements of a [`WarmupTensor`] come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WarmupData {
    /// They are zeros.
    Zeros,
    /// They are made up.
    Random,
    /// They stand in this file of the model's folder.
    File(String),
}

/// How requests are gathered into batches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DynamicBatching {
    /// Sizes at which a batch is run without waiting longer.
    pub preferred_batch_sizes: Vec<u32>,
    /// Longest that a request waits for others, in microseconds.
    pub max_queue_delay_us: u64,
    /// How many priorities there are.
    pub priority_levels: u64,
    /// The priority of a request that names none.
    pub default_priority: u64,
    /// How many requests may wait.
    pub max_queue_size: u32,
}
