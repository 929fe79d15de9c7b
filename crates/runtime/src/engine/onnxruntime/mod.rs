//! ONNX Runtime, loaded when its shared library is found. Nothing of it is linked or downloaded
//! when this crate is built.
//!
//! One run uses up to `threads` threads. A session takes one run at a time, as the `ort` crate
//! insists, so a model gets as many sessions as leave each its threads: one where a run may use
//! the whole machine (the default), one a core with `threads = 1`.
//!
//! A model that divides the smallest INT32 or INT64 by -1 ends the process: the library does not
//! catch the processor's signal. Where callers choose divisors, use the embedded engine.

pub mod bare;
mod convert;
mod environment;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use oip_protocol::{DeclaredShape, Error, Result, Tensor, TensorMetadata};
use ort::environment::Environment;
use ort::session::builder::{PrepackedWeights, SessionBuilder};
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Outlet, ValueType};

pub(super) use environment::find;

use super::made::zeros;
use super::{EXPORT_TENSORS, Share, input_of, run_fenced};
use crate::model::{Engine, Laps, LoadError, Model, ModelFile};

/// Loads ONNX models with ONNX Runtime.
pub struct OnnxRuntimeEngine {
    environment: Environment,
}

impl Engine for OnnxRuntimeEngine {
    fn name(&self) -> &'static str {
        "onnxruntime"
    }

    fn load(&self, file: &ModelFile, share: Share) -> Result<Arc<dyn Model>, LoadError> {
        let count = count(share);
        let weights = PrepackedWeights::new();
        let session = || {
            self.session(file, share.threads, &weights)
                .map_err(|error| refused(&error))
        };
        let first = session()?;
        let inputs = declared("input", first.inputs())?;
        let outputs = declared("output", first.outputs())?;
        let mut sessions = vec![Mutex::new(first)];
        while sessions.len() < count {
            sessions.push(Mutex::new(session()?));
        }
        let mut model = OnnxRuntimeModel {
            sessions,
            next: AtomicUsize::new(0),
            inputs,
            outputs,
        };
        model.learn_ranks();
        Ok(Arc::new(model))
    }
}

impl OnnxRuntimeEngine {
    fn session(
        &self,
        file: &ModelFile,
        threads: usize,
        weights: &PrepackedWeights,
    ) -> ort::Result<Session> {
        let mut builder: SessionBuilder = Session::builder(&self.environment)?
            .with_intra_threads(threads)?
            // Threads that spin while they wait for work take it from the server.
            .with_intra_op_spinning(false)?
            .with_prepacked_weights(weights)?;
        // Where external data lies; the bytes alone do not say where they came from.
        if let Some(folder) = file.path.parent().and_then(|folder| folder.to_str()) {
            let key = "session.model_external_initializers_file_folder_path";
            builder = builder.with_config_entry(key, folder)?;
        }
        builder.commit_from_memory(&file.bytes)
    }
}

/// How many sessions a model gets.
fn count(share: Share) -> usize {
    let machine = std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = machine.div_ceil(share.threads.max(1));
    let count = wanted.clamp(1, share.concurrency.max(1));
    share.sessions.unwrap_or(count)
}

/// A model that ONNX Runtime has made ready.
struct OnnxRuntimeModel {
    sessions: Vec<Mutex<Session>>,
    /// Which session to wait for when all are busy.
    next: AtomicUsize,
    inputs: Vec<TensorMetadata>,
    outputs: Vec<TensorMetadata>,
}

impl Model for OnnxRuntimeModel {
    fn inputs(&self) -> &[TensorMetadata] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorMetadata] {
        &self.outputs
    }

    fn run(&self, inputs: &[Tensor], laps: &mut Laps) -> Result<Vec<Tensor>> {
        let aligned = self
            .inputs
            .iter()
            .map(|declared| convert::align(input_of(inputs, declared)?))
            .collect::<Result<Vec<Tensor>>>()?;
        let values = aligned
            .iter()
            .map(convert::take_in)
            .collect::<Result<Vec<SessionInputValue<'_>>>>()?;
        laps.inputs_made();
        let outputs = self.run_session(&values)?;
        laps.ran();
        let outputs = self
            .outputs
            .iter()
            .zip(outputs)
            .map(|(declared, value)| convert::hand_out(declared, value))
            .collect();
        laps.outputs_taken();
        outputs
    }

    fn side_by_side(&self) -> Option<usize> {
        Some(self.sessions.len())
    }
}

impl OnnxRuntimeModel {
    fn run_session(&self, values: &[SessionInputValue<'_>]) -> Result<Vec<DynValue>> {
        let run = |session: &mut Session| {
            let outputs = session.run(values).map_err(|error| run_failed(&error))?;
            Ok(outputs.into_iter().map(|(_, value)| value).collect())
        };
        for session in &self.sessions {
            // A panic left the lock poisoned, not the session: it happens on our side of it.
            match session.try_lock() {
                Ok(mut session) => return run(&mut session),
                Err(TryLockError::Poisoned(session)) => return run(&mut session.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let turn = self.next.fetch_add(1, Relaxed) % self.sessions.len().max(1);
        match self.sessions.get(turn) {
            Some(session) => run(&mut session.lock().unwrap_or_else(PoisonError::into_inner)),
            None => Err(Error::handler_failed("a model without a session")),
        }
    }

    /// ONNX Runtime calls the shape of an output that declares none `[]`. One run tells a scalar
    /// from such an output, whose rank is then declared as it was found.
    fn learn_ranks(&mut self) {
        if self.outputs.iter().all(|output| output.shape.rank() > 0) {
            return;
        }
        let inputs = zeros(&self.inputs);
        let found = inputs.and_then(|inputs| run_fenced(self, &inputs, &mut Laps::begin()));
        for (declared, found) in self.outputs.iter_mut().zip(found.unwrap_or_default()) {
            if declared.shape.rank() == 0 {
                declared.shape = DeclaredShape::new(vec![-1; found.shape().rank()]);
            }
        }
    }
}

/// What a session declares of its inputs or outputs.
fn declared(what: &str, outlets: &[Outlet]) -> Result<Vec<TensorMetadata>, LoadError> {
    let of_outlet = |outlet: &Outlet| {
        let name = outlet.name();
        let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
            return Err(LoadError::Unsupported {
                lacking: format!(
                    "{what} '{name}' is no tensor but {}, which the protocol cannot carry",
                    outlet.dtype()
                ),
                remedy: EXPORT_TENSORS,
            });
        };
        let Some(datatype) = convert::datatype(*ty) else {
            return Err(LoadError::Unsupported {
                lacking: format!(
                    "{what} '{name}' is of the datatype {ty}, which the protocol does not have"
                ),
                remedy: "export the model with another datatype for it",
            });
        };
        let dims = shape.iter().map(|dim| (*dim).max(-1)).collect::<Vec<i64>>();
        Ok(TensorMetadata::new(name, datatype, dims))
    };
    outlets.iter().map(of_outlet).collect()
}

/// Why a model does not load.
fn refused(error: &ort::Error) -> LoadError {
    let message = error.message();
    if message.contains("is not a registered function/op") {
        return LoadError::Unsupported {
            lacking: format!("ONNX Runtime lacks an operator: {message}"),
            remedy: "export the model without it, or with a newer ONNX Runtime",
        };
    }
    // On a processor it lacks most operators on BF16, among others.
    if message.contains("Could not find an implementation for") {
        return LoadError::Unsupported {
            lacking: format!("ONNX Runtime lacks an operator for the datatype given it: {message}"),
            remedy: "export the model with another datatype, or serve it with the embedded engine",
        };
    }
    LoadError::Invalid(format!("ONNX Runtime: {message}"))
}

/// Why a run failed. What ONNX Runtime calls an invalid argument are the values that it was
/// given: the caller's.
fn run_failed(error: &ort::Error) -> Error {
    let message = error.message();
    if error.code() != ort::ErrorCode::InvalidArgument {
        return Error::handler_failed(format!("ONNX Runtime: {message}"));
    }
    // Before these words stand the operator's name and a path of the library's sources.
    let said = message.rsplit_once("Status Message: ");
    let said = said.map_or(message, |(_, said)| said);
    Error::does_not_fit(format!("the model does not take these inputs: {said}")).caused_by(message)
}

#[cfg(all(test, feature = "tract"))]
mod tests;
