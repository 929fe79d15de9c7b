//! `NAME/VERSION/model.py` in a folder of models: the class derived from `ModelHandler` that it
//! holds, as a model of the repository.

use std::sync::Arc;

use oip::runtime::engine::{Programs, Share};
use oip::runtime::{Engine, Laps, LoadError, Model, ModelFile};
use oip::{InferRequest, ModelRef, Result, Tensor, TensorMetadata};
use pyo3::prelude::*;

use crate::aio::Bridge;
use crate::buffers;
use crate::handler::PyHandler;
use crate::pool::Pool;

/// The engine for programs of Python. `programs` is the module `oip._programs`.
pub(crate) fn programs(programs: Py<PyAny>) -> Programs {
    Programs {
        file: "model.py",
        engine: Arc::new(PythonEngine(programs)),
    }
}

struct PythonEngine(Py<PyAny>);

/// What `oip._programs.open_model` returns.
type Opened<'py> = (Bound<'py, PyAny>, Bound<'py, Pool>, Bound<'py, Bridge>);

impl PythonEngine {
    fn open(&self, file: &ModelFile, model: &ModelRef) -> PyResult<PyHandler> {
        Python::attach(|py| {
            let arguments = (&file.path, &model.name, &model.version);
            let opened = self.0.call_method1(py, "open_model", arguments)?;
            let (handler, pool, bridge) = opened.extract::<Opened<'_>>(py)?;
            buffers::release_on(pool.get().jobs());
            PyHandler::new(&handler, pool.get().jobs(), bridge.get().of_loop())
        })
    }
}

impl Engine for PythonEngine {
    fn name(&self) -> &'static str {
        "python"
    }

    fn platform(&self) -> &'static str {
        "python"
    }

    fn warms_up(&self) -> bool {
        false
    }

    fn load(&self, file: &ModelFile, _: Share) -> Result<Arc<dyn Model>, LoadError> {
        let model = named(file);
        let failed = |error: PyErr| LoadError::Invalid(error.to_string());
        let handler = self.open(file, &model).map_err(failed)?;
        let said = |error: oip::Error| match error.cause() {
            Some(cause) => LoadError::Missing(format!("{}: {cause}", error.message())),
            None => LoadError::Missing(error.message().to_owned()),
        };
        handler.load_blocking(&model).map_err(said)?;
        let metadata = handler.metadata_blocking(&model).map_err(said)?;
        Ok(Arc::new(Program {
            handler,
            model,
            declared: metadata
                .outputs
                .iter()
                .map(|output| (output.name.clone(), output.datatype.name()))
                .collect(),
            inputs: metadata.inputs,
            outputs: metadata.outputs,
        }))
    }
}

/// Name and version, by the folders that a file lies in: `NAME/VERSION/model.py` or
/// `NAME/model.py`.
fn named(file: &ModelFile) -> ModelRef {
    let mut folders = file.path.ancestors().skip(1).filter_map(|folder| {
        let name = folder.file_name()?;
        Some(name.to_string_lossy().into_owned())
    });
    let last = folders.next().unwrap_or_default();
    match last.bytes().all(|byte| byte.is_ascii_digit()) {
        true => ModelRef::new(folders.next().unwrap_or_default()).version(last),
        false => ModelRef::new(last).version("1"),
    }
}

struct Program {
    handler: PyHandler,
    model: ModelRef,
    inputs: Vec<TensorMetadata>,
    outputs: Vec<TensorMetadata>,
    declared: Vec<(String, &'static str)>,
}

impl Model for Program {
    fn inputs(&self) -> &[TensorMetadata] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorMetadata] {
        &self.outputs
    }

    fn run(&self, inputs: &[Tensor], laps: &mut Laps) -> Result<Vec<Tensor>> {
        laps.inputs_made();
        let request = InferRequest::new(inputs);
        let declared = self.declared.clone();
        let response = self.handler.infer_blocking(&self.model, request, declared);
        laps.ran();
        let outputs = in_order(&self.outputs, response?.outputs);
        laps.outputs_taken();
        Ok(outputs)
    }
}

/// In the declared order; what is not declared comes last, and the pipeline refuses it.
fn in_order(declared: &[TensorMetadata], mut outputs: Vec<Tensor>) -> Vec<Tensor> {
    let place = |tensor: &Tensor| declared.iter().position(|one| one.name == tensor.name());
    outputs.sort_by_key(|tensor| place(tensor).unwrap_or(usize::MAX));
    outputs
}
