//! `NAME/VERSION/model.py` in a folder of models: the class derived from `ModelHandler` that it
//! holds, as a model of the repository.

use std::sync::Arc;

use oip::runtime::engine::{Programs, Share};
use oip::runtime::{Engine, Laps, LoadError, Model, ModelFile, Note};
use oip::{Call, Error, InferRequest, InferResponse, ModelRef, Result, Tensor, TensorMetadata};
use pyo3::prelude::*;
use tokio_util::sync::CancellationToken;

use crate::aio::Bridge;
use crate::context::Context;
use crate::handler::PyHandler;
use crate::pool::Pool;
use crate::{buffers, errors};

/// The engine for programs of Python. `programs` is the module `oip._programs`.
pub(crate) fn programs(programs: Py<PyAny>) -> Programs {
    Programs {
        file: "model.py",
        engine: Arc::new(PythonEngine(programs)),
    }
}

struct PythonEngine(Py<PyAny>);

/// What `oip._programs.open_model` returns: the handler, where it runs, and its module.
type Opened<'py> = (
    Bound<'py, PyAny>,
    Bound<'py, Pool>,
    Bound<'py, Bridge>,
    Bound<'py, PyAny>,
);

impl PythonEngine {
    /// The handler in a file.
    ///
    /// # Errors
    /// What went wrong, in one line.
    fn open(&self, file: &ModelFile, model: &ModelRef) -> Result<Loaded, String> {
        let open = |py: Python<'_>| {
            let arguments = (&file.path, &model.name, &model.version);
            let opened = self.0.call_method1(py, "open_model", arguments)?;
            let (object, pool, bridge, module) = opened.extract::<Opened<'_>>(py)?;
            buffers::release_on(pool.get().jobs());
            // The queue of the model is the repository's.
            let (pool, asyncio) = (pool.get(), bridge.get().of_loop());
            Ok(Loaded {
                handler: PyHandler::new(&object, pool, asyncio, usize::MAX)?,
                object: object.unbind(),
                module: module.unbind(),
                programs: self.0.clone_ref(py),
                name: model.name.clone(),
            })
        };
        Python::attach(|py| open(py).map_err(|error| errors::one_line(py, &error)))
    }
}

/// A handler that is there; it is let go of when this is dropped.
struct Loaded {
    handler: PyHandler,
    object: Py<PyAny>,
    module: Py<PyAny>,
    programs: Py<PyAny>,
    name: String,
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let (object, module, programs, name) = Python::attach(|py| {
            let [object, module, programs] =
                [&self.object, &self.module, &self.programs].map(|one| one.clone_ref(py));
            (object, module, programs, std::mem::take(&mut self.name))
        });
        self.handler.later(Box::new(move |py| {
            if let Err(error) = programs.call_method1(py, "close_model", (object, module, name)) {
                error.print(py);
            }
        }));
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
        let opened = self.open(file, &model);
        let loaded = opened.map_err(|why| LoadError::Missing(format!("model.py: {why}")))?;
        let handler = &loaded.handler;
        if handler.stacks() {
            return Err(LoadError::Missing(STACKS.to_owned()));
        }
        let said = |error: oip::Error| match error.cause() {
            Some(cause) => LoadError::Missing(format!("{}: {cause}", error.message())),
            None => LoadError::Missing(error.message().to_owned()),
        };
        handler.load_blocking(&model).map_err(said)?;
        let metadata = handler.metadata_blocking(&model).map_err(said)?;
        Ok(Arc::new(Program {
            loaded,
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

/// A wish that cannot be fulfilled here.
const STACKS: &str = "model.py: max_batch_size of the class has no effect in a folder of models; \
    write it in the table [batching] of model.toml";

/// How many inferences an `async` handler has side by side, where nobody says.
const SIDE_BY_SIDE: usize = 64;

/// What a handler may know of a request besides its tensors.
struct Said {
    /// Without its inputs.
    request: InferRequest,
    context: Context,
    /// Nobody waits for the answer any more.
    left: CancellationToken,
}

struct Program {
    loaded: Loaded,
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
        let request = InferRequest::new(inputs);
        let handler = &self.loaded.handler;
        self.timed(laps, || {
            handler.infer_blocking(&self.model, request, self.declared.clone())
        })
    }

    fn note(&self, request: &InferRequest, call: &Call) -> Option<Note> {
        let mut about = InferRequest::new([]);
        about.id.clone_from(&request.id);
        about.parameters.clone_from(&request.parameters);
        about.outputs.clone_from(&request.outputs);
        Some(Box::new(Said {
            request: about,
            context: Context::of(call),
            left: call.cancelled().clone(),
        }))
    }

    fn run_noted(&self, inputs: &[Tensor], note: Note, laps: &mut Laps) -> Result<Vec<Tensor>> {
        let Ok(said) = note.downcast::<Said>() else {
            return self.run(inputs, laps);
        };
        let Said {
            mut request,
            context,
            left,
        } = *said;
        request.inputs = inputs.to_vec();
        let handler = &self.loaded.handler;
        let answer = handler.infer_for(context, &self.model, request, self.declared.clone());
        let answer = left.run_until_cancelled(answer);
        self.timed(laps, || {
            let answer = tokio::runtime::Handle::current().block_on(answer);
            answer.unwrap_or_else(|| Err(Error::timed_out("nobody waits for the answer any more")))
        })
    }

    fn would_run(&self) -> Option<usize> {
        let waits = self.loaded.handler.runs_on_loop();
        waits.then_some(SIDE_BY_SIDE)
    }
}

impl Program {
    /// Runs the handler, and takes every output in the declared order.
    fn timed(
        &self,
        laps: &mut Laps,
        run: impl FnOnce() -> Result<InferResponse>,
    ) -> Result<Vec<Tensor>> {
        laps.inputs_made();
        let response = run();
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
