//! The engines, and which of them serves here: ONNX Runtime where its library is found, else
//! tract.

pub(crate) mod made;
#[cfg(feature = "onnxruntime")]
pub mod onnxruntime;
#[cfg(any(feature = "onnxruntime", feature = "tract"))]
mod text;
#[cfg(feature = "tract")]
pub mod tract;
pub(crate) mod warm_up;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

#[cfg(any(feature = "onnxruntime", feature = "tract"))]
use oip_protocol::TensorMetadata;
use oip_protocol::{Error, Result, Tensor};

pub use warm_up::warm_up;

use crate::library::OnnxRuntime;
use crate::model::{Engine, Laps, LoadError, Model, panic_message};
use crate::repository::OpenError;

/// The remedy for sequences and maps.
#[cfg(any(feature = "onnxruntime", feature = "tract"))]
pub(crate) const EXPORT_TENSORS: &str =
    "export the model with tensors as outputs (scikit-learn: `zipmap=False`)";

/// How much of the machine one model may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// How many threads one run of ONNX Runtime may use; tract uses the one that it runs on.
    pub threads: usize,
    /// How many requests the model runs side by side.
    pub concurrency: usize,
    /// How many sessions the engine is to make, where that is written down; else it makes as
    /// many as leave each its threads.
    pub sessions: Option<usize>,
}

/// The engines that can serve here.
#[derive(Clone)]
pub struct Engines {
    preferred: Arc<dyn Engine>,
    embedded: Option<Arc<dyn Engine>>,
    programs: Vec<Programs>,
}

/// An engine for models that are programs, and what their file is called.
#[derive(Clone)]
pub struct Programs {
    /// The file in a version's folder, such as `model.py`.
    pub file: &'static str,
    /// The engine that loads it.
    pub engine: Arc<dyn Engine>,
}

impl fmt::Debug for Programs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.file, self.engine.name())
    }
}

impl Engines {
    /// This engine alone.
    pub fn only(engine: Arc<dyn Engine>) -> Self {
        Self {
            preferred: engine,
            embedded: None,
            programs: Vec::new(),
        }
    }

    /// These engines, and those for programs.
    #[must_use]
    pub fn with_programs(mut self, programs: Vec<Programs>) -> Self {
        self.programs = programs;
        self
    }

    /// The engine for a file: its own where it is a program, else the one that is asked for.
    ///
    /// # Errors
    /// One that is not here.
    pub fn of_file(&self, file: &Path, name: Option<&str>) -> Result<&Arc<dyn Engine>, LoadError> {
        match self.program(file) {
            Some(programs) => Ok(&programs.engine),
            None => self.named(name),
        }
    }

    /// Whether a file is a program, whose engine is given by that.
    #[must_use]
    pub fn is_program(&self, file: &Path) -> bool {
        self.program(file).is_some()
    }

    fn program(&self, file: &Path) -> Option<&Programs> {
        let mut programs = self.programs.iter();
        programs.find(|programs| file.ends_with(programs.file))
    }

    /// The engine that serves models that ask for none.
    #[must_use]
    pub fn preferred(&self) -> &Arc<dyn Engine> {
        &self.preferred
    }

    /// The engine that a model asks for.
    ///
    /// # Errors
    /// One that is not here.
    pub fn named(&self, name: Option<&str>) -> Result<&Arc<dyn Engine>, LoadError> {
        let here = std::iter::once(&self.preferred).chain(&self.embedded);
        match name {
            None => Ok(&self.preferred),
            Some(name) => here
                .into_iter()
                .find(|engine| engine.name() == name)
                .ok_or_else(|| LoadError::Unsupported {
                    lacking: format!("model.toml asks for the engine '{name}', which is not here"),
                    remedy: "install it, or leave the key 'engine' out",
                }),
        }
    }
}

/// Finds the engines, once at start.
///
/// # Errors
/// [`OpenError::OnnxRuntime`] when a library was named and cannot be used,
/// [`OpenError::NoEngine`] when this build has no engine at all.
pub fn choose(wanted: &OnnxRuntime) -> Result<Engines, OpenError> {
    #[cfg(feature = "onnxruntime")]
    if let Some(engine) = onnxruntime::find(wanted)? {
        return Ok(Engines {
            preferred: Arc::new(engine),
            embedded: embedded().ok(),
            programs: Vec::new(),
        });
    }
    #[cfg(not(feature = "onnxruntime"))]
    if let OnnxRuntime::Library(path) = wanted {
        return Err(OpenError::OnnxRuntime {
            path: path.clone(),
            reason: "this build was made without it".to_owned(),
        });
    }
    embedded().map(Engines::only)
}

#[cfg(feature = "tract")]
fn embedded() -> Result<Arc<dyn Engine>, OpenError> {
    Ok(Arc::new(tract::Tract))
}

#[cfg(not(feature = "tract"))]
fn embedded() -> Result<Arc<dyn Engine>, OpenError> {
    Err(OpenError::NoEngine)
}

/// Runs a model; a panic in it is its own failure.
pub(crate) fn run_fenced(
    model: &dyn Model,
    inputs: &[Tensor],
    laps: &mut Laps,
) -> Result<Vec<Tensor>> {
    fenced(|| model.run(inputs, laps))
}

/// The same for a run of whatever kind.
pub(crate) fn fenced(run: impl FnOnce() -> Result<Vec<Tensor>>) -> Result<Vec<Tensor>> {
    // Unwind safety: models are shared between runs that do not see each other's state.
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(outputs) => outputs,
        Err(panic) => Err(Error::handler_failed(format!(
            "the engine panicked: {}",
            panic_message(panic.as_ref())
        ))),
    }
}

/// The tensor of an input that a model declares.
///
/// # Errors
/// `DoesNotFit` when it is missing, which the pipeline finds first.
#[cfg(any(feature = "onnxruntime", feature = "tract"))]
fn input_of<'a>(inputs: &'a [Tensor], declared: &TensorMetadata) -> Result<&'a Tensor> {
    inputs
        .iter()
        .find(|tensor| tensor.name() == declared.name)
        .ok_or_else(|| {
            Error::does_not_fit(format!(
                "input '{}' is missing",
                oip_protocol::error::excerpt(&declared.name)
            ))
        })
}
