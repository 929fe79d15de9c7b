//! The engines, and which of them serves here: ONNX Runtime where its library is found, else
//! tract.

#[cfg(feature = "onnxruntime")]
pub mod onnxruntime;
#[cfg(any(feature = "onnxruntime", feature = "tract"))]
mod text;
#[cfg(feature = "tract")]
pub mod tract;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use oip_protocol::{Error, Result, Shape, Tensor, TensorMetadata};

use crate::library::OnnxRuntime;
use crate::model::{Engine, Laps, Model, panic_message};
use crate::repository::OpenError;

/// The remedy for sequences and maps.
#[cfg(any(feature = "onnxruntime", feature = "tract"))]
pub(crate) const EXPORT_TENSORS: &str =
    "export the model with tensors as outputs (scikit-learn: `zipmap=False`)";

/// How much of the machine the engines may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// How many threads one run of ONNX Runtime may use; tract uses the one that it runs on.
    pub threads: usize,
    /// How many requests one model runs side by side.
    pub concurrency: usize,
}

/// Chooses the engine, once at start.
///
/// # Errors
/// [`OpenError::OnnxRuntime`] when a library was named and cannot be used,
/// [`OpenError::NoEngine`] when this build has no engine at all.
pub fn choose(wanted: &OnnxRuntime, share: Share) -> Result<Arc<dyn Engine>, OpenError> {
    #[cfg(feature = "onnxruntime")]
    if let Some(engine) = onnxruntime::find(wanted, share)? {
        return Ok(Arc::new(engine));
    }
    #[cfg(not(feature = "onnxruntime"))]
    if let OnnxRuntime::Library(path) = wanted {
        return Err(OpenError::OnnxRuntime {
            path: path.clone(),
            reason: "this build was made without it".to_owned(),
        });
    }
    #[cfg(not(feature = "onnxruntime"))]
    let _ = share;
    embedded()
}

#[cfg(feature = "tract")]
fn embedded() -> Result<Arc<dyn Engine>, OpenError> {
    Ok(Arc::new(tract::Tract))
}

#[cfg(not(feature = "tract"))]
fn embedded() -> Result<Arc<dyn Engine>, OpenError> {
    Err(OpenError::NoEngine)
}

/// Runs a model once on zeros (empty strings), with 1 for each open dimension, so that what an
/// engine does on the first run alone is done before the first request.
///
/// # Errors
/// The model's own; some models take neither zeros nor one row.
pub fn warm_up(model: &dyn Model) -> Result<()> {
    let inputs = model
        .inputs()
        .iter()
        .map(zeros)
        .collect::<Result<Vec<_>>>()?;
    run_fenced(model, &inputs, &mut Laps::begin())?;
    Ok(())
}

fn zeros(declared: &TensorMetadata) -> Result<Tensor> {
    let dims = declared.shape.dims().iter();
    let shape = Shape::new(
        dims.map(|dim| u64::try_from(*dim).unwrap_or(1))
            .collect::<Vec<_>>(),
    );
    // Four zero bytes are an empty string.
    let size = declared.datatype.size().unwrap_or(4);
    let count = shape.element_count().and_then(|n| n.checked_mul(size));
    let Some(count) = count else {
        return Err(Error::handler_failed("an input is too large to make"));
    };
    Ok(Tensor::new(
        &declared.name,
        declared.datatype,
        shape,
        vec![0; count],
    )?)
}

/// Runs a model; a panic in it is its own failure.
pub(crate) fn run_fenced(
    model: &dyn Model,
    inputs: &[Tensor],
    laps: &mut Laps,
) -> Result<Vec<Tensor>> {
    // Unwind safety: models are shared between runs that do not see each other's state.
    match catch_unwind(AssertUnwindSafe(|| model.run(inputs, laps))) {
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
