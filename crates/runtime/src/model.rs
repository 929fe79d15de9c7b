//! What an engine author implements: [`Model`], a model that is loaded, and [`Engine`], which
//! loads it.

use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oip_core::Call;
use oip_protocol::{InferRequest, Result, Tensor, TensorMetadata};

use crate::engine::Share;

/// A model that is loaded and can run.
///
/// The repository calls [`run`](Self::run) from compute threads, from several at once, up to the
/// model's concurrency. A panic costs its own request only.
pub trait Model: Send + Sync + 'static {
    /// The inputs, in the model's order.
    fn inputs(&self) -> &[TensorMetadata];

    /// The outputs, in the model's order.
    fn outputs(&self) -> &[TensorMetadata];

    /// Runs once and blocks until it is done. The inputs fit what [`inputs`](Self::inputs)
    /// declares (the pipeline has checked it) but come in the caller's order. Returns every
    /// output, in the model's order, and notes in `laps` how long the parts took.
    ///
    /// # Errors
    /// [`Error::does_not_fit`](oip_protocol::Error::does_not_fit) for values that this model or engine cannot take,
    /// [`Error::handler_failed`](oip_protocol::Error::handler_failed) for any other failure.
    fn run(&self, inputs: &[Tensor], laps: &mut Laps) -> Result<Vec<Tensor>>;

    /// What it wants to know of a request besides its tensors. Asked before the request waits,
    /// and only where `model.toml` has no requests gathered and no answers kept: there an answer
    /// must not depend on who asks.
    fn note(&self, request: &InferRequest, call: &Call) -> Option<Note> {
        let _ = (request, call);
        None
    }

    /// The same as [`run`](Self::run), for a request of which it has noted something.
    ///
    /// # Errors
    /// As there.
    fn run_noted(&self, inputs: &[Tensor], note: Note, laps: &mut Laps) -> Result<Vec<Tensor>> {
        let _ = note;
        self.run(inputs, laps)
    }

    /// How many runs it would have go on at once where nobody has said: one that waits for others
    /// rather than computes wants more than there are processors.
    fn would_run(&self) -> Option<usize> {
        None
    }

    /// How many runs go on at once at most, where the engine has such a bound. Its requests are not
    /// run in more instances, as those would only wait inside [`run`](Self::run).
    fn side_by_side(&self) -> Option<usize> {
        None
    }
}

/// What a model has noted of a request; nobody else looks into it.
pub type Note = Box<dyn Any + Send>;

/// Loads models of one format.
pub trait Engine: Send + Sync + 'static {
    /// The name, as a model's configuration gives it in `backend`.
    fn name(&self) -> &'static str;

    /// What its models are, as metadata say it in `platform`.
    fn platform(&self) -> &'static str {
        "onnx_onnxv1"
    }

    /// Whether its models do something on the first run that had better be done before the first
    /// request: then they are run once on zeros.
    fn warms_up(&self) -> bool {
        true
    }

    /// Loads a model, which may use this share of the machine. Called on threads that may block;
    /// several at once.
    ///
    /// # Errors
    /// [`LoadError`], a sentence for whoever put the model there.
    fn load(&self, file: &ModelFile, share: Share) -> Result<Arc<dyn Model>, LoadError>;
}

/// The file of one model version, read into memory: whatever happens to the file meanwhile, the
/// engine sees one state of it.
#[derive(Clone)]
pub struct ModelFile {
    /// Where the file was read from. Files that it refers to (external data) lie beside it.
    pub path: PathBuf,
    /// What it held.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for ModelFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.path.display(), self.bytes.len())
    }
}

/// Why a model could not be loaded, and what to do about it where that is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be read.
    #[error("{file} cannot be read: {reason}")]
    Unreadable {
        /// The file's name.
        file: String,
        /// The system's words.
        reason: String,
    },
    /// The file is no model, or one that contradicts itself.
    #[error("this is no valid ONNX model: {0}")]
    Invalid(String),
    /// The model is well, but this engine or the protocol lacks something that it needs.
    #[error("{lacking}; {remedy}")]
    Unsupported {
        /// What is lacking, by its name.
        lacking: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A warm-up request of `model.toml` fails.
    #[error("warm-up request {number} of model.toml fails: {reason}")]
    Warmup {
        /// Which one, counted from 1.
        number: usize,
        /// Why.
        reason: String,
    },
    /// `model.toml` speaks of something that the model does not have.
    #[error("model.toml: {0}")]
    Settings(String),
    /// Nothing to load.
    #[error("{0}")]
    Missing(String),
}

/// How long the parts of a run took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Laps {
    last: Instant,
    /// Making the engine's inputs.
    pub input: Duration,
    /// Running the model.
    pub infer: Duration,
    /// Taking the engine's outputs.
    pub output: Duration,
}

impl Laps {
    /// Begins to count.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            last: Instant::now(),
            input: Duration::ZERO,
            infer: Duration::ZERO,
            output: Duration::ZERO,
        }
    }

    /// The inputs are made.
    pub fn inputs_made(&mut self) {
        self.input = self.lap();
    }

    /// The model has run.
    pub fn ran(&mut self) {
        self.infer = self.lap();
    }

    /// The outputs are taken.
    pub fn outputs_taken(&mut self) {
        self.output = self.lap();
    }

    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        let took = now.duration_since(self.last);
        self.last = now;
        took
    }
}

/// The message of a panic.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
