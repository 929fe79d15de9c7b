//! A Python object as a model handler: where its methods run, and how often its metadata is
//! asked for.

use std::sync::{Arc, Mutex, PoisonError};

use oip::{
    Call, Error, ErrorKind, InferRequest, InferResponse, ModelHandler, ModelMetadata, ModelRef,
    Result,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use tokio::sync::oneshot;

use crate::aio::{CancelOnDrop, Finish, Loop};
use crate::batch::{self, Batches, Key, Waiting, Wish};
use crate::errors::{self, INFER};
use crate::messages;
use crate::metadata::MetadataCache;
use crate::pool::Jobs;

/// The methods of a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Infer,
    Metadata,
    Load,
    Unload,
    Ready,
}

impl Method {
    const ALL: [Self; 5] = [
        Self::Infer,
        Self::Metadata,
        Self::Load,
        Self::Unload,
        Self::Ready,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Infer => "infer",
            Self::Metadata => "model_metadata",
            Self::Load => "model_load",
            Self::Unload => "model_unload",
            Self::Ready => "model_ready",
        }
    }

    /// What it is called in a message.
    const fn phrase(self) -> &'static str {
        match self {
            Self::Infer => INFER,
            Self::Metadata => "model metadata",
            Self::Load => "model load",
            Self::Unload => "model unload",
            Self::Ready => "model ready",
        }
    }
}

/// A Python object behind the pipeline.
#[derive(Clone)]
pub(crate) struct PyHandler(Arc<Inner>);

struct Inner {
    methods: [Bound; 5],
    jobs: Jobs,
    asyncio: Loop,
    metadata: MetadataCache,
    checks_metadata: bool,
    batches: Option<(Wish, Batches)>,
}

/// A method that is looked up already.
struct Bound {
    callable: Py<PyAny>,
    is_async: bool,
}

type Arguments =
    Box<dyn for<'py> FnOnce(Python<'py>) -> PyResult<pyo3::Bound<'py, PyTuple>> + Send>;
type Reader<T> = Box<dyn FnOnce(Python<'_>, &pyo3::Bound<'_, PyAny>) -> Result<T> + Send>;

impl PyHandler {
    /// The handler that this object is.
    ///
    /// # Errors
    /// `AttributeError` where it lacks a method.
    pub(crate) fn new(
        object: &pyo3::Bound<'_, PyAny>,
        jobs: Jobs,
        asyncio: Loop,
    ) -> PyResult<Self> {
        let py = object.py();
        let is_async = py.import("inspect")?.getattr("iscoroutinefunction")?;
        let mut methods = Vec::with_capacity(Method::ALL.len());
        for method in Method::ALL {
            let callable = object.getattr(method.name())?;
            methods.push(Bound {
                is_async: is_async.call1((&callable,))?.is_truthy()?,
                callable: callable.unbind(),
            });
        }
        let methods: [Bound; 5] = methods
            .try_into()
            .map_err(|_| errors::value("a handler has five methods"))?;
        let checks = object.getattr("checks_metadata");
        Ok(Self(Arc::new(Inner {
            methods,
            jobs,
            asyncio,
            metadata: MetadataCache::default(),
            batches: wish(object)?.map(|wish| (wish, Batches::default())),
            checks_metadata: checks.and_then(|checks| checks.is_truthy()).unwrap_or(true),
        })))
    }

    /// Calls a method where it belongs, and reads what it returns.
    async fn call<T: Send + 'static>(
        &self,
        method: Method,
        model: &str,
        arguments: Arguments,
        read: Reader<T>,
    ) -> Result<T> {
        let (receiver, guard) = self.begin(method, model, arguments, read);
        let outcome = receiver.await;
        if let Some(guard) = guard {
            guard.ended();
        }
        outcome.unwrap_or_else(|_| Err(stopping()))
    }

    /// The same for a thread that may wait, and that does not hold the GIL.
    fn call_blocking<T: Send + 'static>(
        &self,
        method: Method,
        model: &str,
        arguments: Arguments,
        read: Reader<T>,
    ) -> Result<T> {
        let (receiver, guard) = self.begin(method, model, arguments, read);
        let outcome = receiver.blocking_recv();
        if let Some(guard) = guard {
            guard.ended();
        }
        outcome.unwrap_or_else(|_| Err(stopping()))
    }

    fn begin<T: Send + 'static>(
        &self,
        method: Method,
        model: &str,
        arguments: Arguments,
        read: Reader<T>,
    ) -> (oneshot::Receiver<Result<T>>, Option<CancelOnDrop>) {
        let (sender, receiver) = oneshot::channel();
        let name = model.to_owned();
        let finish = move |py: Python<'_>, result: PyResult<pyo3::Bound<'_, PyAny>>| {
            let outcome = match result {
                Ok(result) => read(py, &result),
                Err(error) => Err(errors::raised(py, &error, method.phrase(), &name)),
            };
            // Nobody waits any more where the caller has left.
            let _ = sender.send(outcome);
        };
        let finish: Finish = Box::new(finish);
        let guard = match self.method(method).is_async {
            true => Some(self.on_loop(method, arguments, finish)),
            false => {
                self.on_pool(method, arguments, finish);
                None
            }
        };
        (receiver, guard)
    }

    fn method(&self, method: Method) -> &Bound {
        let [infer, metadata, load, unload, ready] = &self.0.methods;
        match method {
            Method::Infer => infer,
            Method::Metadata => metadata,
            Method::Load => load,
            Method::Unload => unload,
            Method::Ready => ready,
        }
    }

    fn on_loop(&self, method: Method, arguments: Arguments, finish: Finish) -> CancelOnDrop {
        let this = self.clone();
        let begin = Box::new(move |py: Python<'_>| {
            let callable = &this.method(method).callable;
            callable.call1(py, arguments(py)?)
        });
        self.0.asyncio.begin(begin, finish)
    }

    fn on_pool(&self, method: Method, arguments: Arguments, finish: Finish) {
        let this = self.clone();
        let job = Box::new(move |py: Python<'_>| {
            let callable = this.method(method).callable.bind(py);
            let result = arguments(py).and_then(|arguments| callable.call1(arguments));
            match result {
                Ok(result) if is_coroutine(&result) => {
                    // A plain method that returns a coroutine: a decorated one, say.
                    let coroutine = result.unbind();
                    let begin = Box::new(move |_: Python<'_>| Ok(coroutine));
                    this.0.asyncio.begin(begin, finish).ended();
                }
                result => finish(py, result),
            }
        });
        self.0.jobs.push(job);
    }

    /// Answers everybody who waits for the same kind of call.
    async fn run_batches(self, key: Key, delay: std::time::Duration) {
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        loop {
            let taken = Arc::new(Mutex::new((Vec::new(), false)));
            let result = self.run_batch(&key, &taken).await;
            let (waiting, more) = {
                let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut *taken)
            };
            if let (true, Err(error), Some((_, batches))) =
                (waiting.is_empty(), &result, &self.0.batches)
            {
                // The call never began: the server is stopping.
                let (left, _) = batches.take(&key, u64::MAX);
                return batch::answer(left, Err(error.clone()));
            }
            batch::answer(waiting, result);
            if !more {
                return;
            }
        }
    }

    /// One call. Who is in it is settled on the thread that runs it, at the last moment.
    async fn run_batch(
        &self,
        key: &Key,
        taken: &Arc<Mutex<(Vec<Waiting>, bool)>>,
    ) -> Result<InferResponse> {
        let (model, declared) = (key.0.clone(), self.0.metadata.outputs(&key.0));
        let (this, taken, key) = (self.clone(), Arc::clone(taken), key.clone());
        let arguments: Arguments = Box::new(move |py| {
            let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((wish, batches)) = &this.0.batches {
                *taken = batches.take(&key, wish.most);
            }
            let request = batch::merge(&taken.0).map_err(|error| errors::exception(py, &error))?;
            drop(taken);
            let payload = messages::request(py, request)?;
            let ModelRef { name, version } = key.0;
            (payload, name, version).into_pyobject(py)
        });
        let read = read_answer(&model, declared);
        self.call(Method::Infer, &model.name, arguments, read).await
    }

    /// What a model declares, for a thread that may wait.
    pub(crate) fn metadata_blocking(&self, model: &ModelRef) -> Result<ModelMetadata> {
        let arguments = name_and_version(model);
        self.call_blocking(
            Method::Metadata,
            &model.name,
            arguments,
            read_metadata(model),
        )
    }

    /// Loads a model, for a thread that may wait. A handler that loads nothing is ready as it is.
    pub(crate) fn load_blocking(&self, model: &ModelRef) -> Result<()> {
        let arguments = name_alone(model);
        match self.call_blocking(Method::Load, &model.name, arguments, read_loaded(model)) {
            Err(error) if error.kind() == ErrorKind::NotImplemented => Ok(()),
            other => other,
        }
    }

    /// Runs a model, for a thread that may wait.
    pub(crate) fn infer_blocking(
        &self,
        model: &ModelRef,
        request: InferRequest,
        declared: Vec<(String, &'static str)>,
    ) -> Result<InferResponse> {
        let arguments = payload_of(model.clone(), request);
        let read = read_answer(model, declared);
        self.call_blocking(Method::Infer, &model.name, arguments, read)
    }

    /// Metadata from memory where it is fresh, else from the handler.
    async fn declared(&self, model: &ModelRef) -> Result<ModelMetadata> {
        if let Some(known) = self.0.metadata.get(model) {
            return known;
        }
        let arguments = name_and_version(model);
        let read = read_metadata(model);
        let metadata = self
            .call(Method::Metadata, &model.name, arguments, read)
            .await;
        self.0.metadata.put(model, &metadata);
        metadata
    }
}

fn stopping() -> Error {
    Error::unavailable("the server is stopping")
}

/// Whether a handler wants batches: `max_batch_size` rows, `max_batch_delay` seconds.
fn wish(object: &pyo3::Bound<'_, PyAny>) -> PyResult<Option<Wish>> {
    let Some(most) = object.getattr_opt("max_batch_size")? else {
        return Ok(None);
    };
    let most: u64 = most.extract::<Option<u64>>()?.unwrap_or(0);
    let delay: f64 = match object.getattr_opt("max_batch_delay")? {
        Some(delay) => delay.extract::<Option<f64>>()?.unwrap_or(0.0),
        None => 0.0,
    };
    let delay = std::time::Duration::try_from_secs_f64(delay).map_err(errors::value)?;
    Ok((most > 1).then_some(Wish { most, delay }))
}

fn is_coroutine(value: &pyo3::Bound<'_, PyAny>) -> bool {
    let name = value.get_type().name();
    name.is_ok_and(|name| name.to_cow().is_ok_and(|name| name == "coroutine"))
}

/// `(name, version)`, the version `None` where nobody asked for one.
fn name_and_version(model: &ModelRef) -> Arguments {
    let model = model.clone();
    Box::new(move |py| (model.name, model.version).into_pyobject(py))
}

fn payload_of(model: ModelRef, request: InferRequest) -> Arguments {
    Box::new(move |py| {
        let payload = messages::request(py, request)?;
        (payload, model.name, model.version).into_pyobject(py)
    })
}

fn read_answer(model: &ModelRef, declared: Vec<(String, &'static str)>) -> Reader<InferResponse> {
    let name = model.name.clone();
    Box::new(move |py, result| {
        answer(result, &declared).map_err(|error| errors::bad_answer(py, &error, INFER, &name))
    })
}

fn read_metadata(model: &ModelRef) -> Reader<ModelMetadata> {
    let name = model.name.clone();
    Box::new(move |py, result| {
        messages::read_metadata(result)
            .map_err(|error| errors::bad_answer(py, &error, Method::Metadata.phrase(), &name))
    })
}

fn read_loaded(model: &ModelRef) -> Reader<()> {
    let name = model.name.clone();
    Box::new(
        move |_, result| match result.is_none() || result.is_truthy().unwrap_or(false) {
            true => Ok(()),
            false => Err(Error::does_not_fit(format!(
                "the handler could not load model '{name}'"
            ))),
        },
    )
}

fn name_alone(model: &ModelRef) -> Arguments {
    let name = model.name.clone();
    Box::new(move |py| (name,).into_pyobject(py))
}

impl ModelHandler for PyHandler {
    async fn infer(&self, request: InferRequest, call: &Call) -> Result<InferResponse> {
        let model = call.model().clone();
        if let Some((wish, batches)) = &self.0.batches
            && let Some((key, rows)) = batch::key(&model, &request)
            && rows < wish.most
        {
            let (reply, answer) = oneshot::channel();
            if batches.wait(key.clone(), request, rows, reply) {
                tokio::spawn(self.clone().run_batches(key, wish.delay));
            }
            let answer = answer.await;
            return answer.unwrap_or_else(|_| Err(stopping()));
        }
        let read = read_answer(&model, self.0.metadata.outputs(&model));
        let arguments = payload_of(model, request);
        self.call(Method::Infer, &call.model().name, arguments, read)
            .await
    }

    async fn model_metadata(&self, model: &ModelRef) -> Result<ModelMetadata> {
        self.declared(model).await
    }

    fn checks_metadata(&self) -> bool {
        self.0.checks_metadata
    }

    async fn model_load(&self, model: &ModelRef) -> Result<()> {
        self.0.metadata.forget();
        let read = read_loaded(model);
        self.call(Method::Load, &model.name, name_alone(model), read)
            .await
    }

    async fn model_unload(&self, model: &ModelRef) -> Result<()> {
        self.0.metadata.forget();
        let read: Reader<()> = Box::new(|_, _| Ok(()));
        self.call(Method::Unload, &model.name, name_alone(model), read)
            .await
    }

    async fn model_ready(&self, model: &ModelRef) -> Result<bool> {
        let read: Reader<bool> = Box::new(|py, result| {
            let ready = result.getattr(intern!(py, "ready"));
            let ready = ready.unwrap_or_else(|_| result.clone());
            Ok(ready.is_truthy().unwrap_or(false))
        });
        self.call(Method::Ready, &model.name, name_and_version(model), read)
            .await
    }
}

/// What a handler returned, in full or in short.
fn answer(
    result: &pyo3::Bound<'_, PyAny>,
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
