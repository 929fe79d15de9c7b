//! A Python object as a model handler: where its methods run, and how often its metadata is
//! asked for.

mod ask;
mod calls;
mod members;
mod stacked;

use std::sync::Arc;

use oip::{
    Call, Error, ErrorKind, InferRequest, InferResponse, ModelHandler, ModelMetadata, ModelRef,
    Result,
};
use pyo3::prelude::*;

use crate::aio::Loop;
use crate::batch::{Batches, Wish};
use crate::context::Context;
use crate::errors;
use crate::metadata::MetadataCache;
use crate::pool::{Job, Jobs, Pool};

use ask::Method;

pub(crate) use members::Handlers;

/// A Python object behind the pipeline.
#[derive(Clone)]
pub(crate) struct PyHandler(Arc<Inner>);

struct Inner {
    methods: [calls::Bound; 5],
    jobs: Jobs,
    /// What does not wait behind inferences.
    control: Jobs,
    /// So many inferences may wait for a thread.
    most_waiting: usize,
    asyncio: Loop,
    metadata: MetadataCache,
    checks_metadata: bool,
    /// Whether it has a word of its own on whether a model is ready.
    says_when_ready: bool,
    batches: Option<(Wish, Batches)>,
}

impl PyHandler {
    /// The handler that this object is, run on these threads and this loop. `most_waiting`
    /// inferences may wait for a thread; one more is refused.
    ///
    /// # Errors
    /// An exception of Python's where one of its attributes makes no sense.
    pub(crate) fn new(
        object: &Bound<'_, PyAny>,
        pool: &Pool,
        asyncio: Loop,
        most_waiting: usize,
    ) -> PyResult<Self> {
        let methods = Method::ALL.into_iter();
        let methods = methods.map(|method| calls::Bound::of(object, method));
        let methods = methods.collect::<PyResult<Vec<_>>>()?.try_into();
        let checks = object.getattr("checks_metadata");
        let module = object.py().import("oip.handler")?;
        let says_when_ready = module.call_method1("says_when_ready", (object,))?;
        Ok(Self(Arc::new(Inner {
            methods: methods.map_err(|_| errors::value("a handler has five methods"))?,
            jobs: pool.jobs(),
            control: pool.control(),
            most_waiting,
            asyncio,
            metadata: MetadataCache::default(),
            batches: stacked::wish(object)?.map(|wish| (wish, Batches::default())),
            checks_metadata: checks.and_then(|checks| checks.is_truthy()).unwrap_or(true),
            says_when_ready: says_when_ready.is_truthy()?,
        })))
    }

    /// Whether requests are to be stacked.
    pub(crate) fn stacks(&self) -> bool {
        self.0.batches.is_some()
    }

    /// Has a thread of the pool do something, some time.
    pub(crate) fn later(&self, job: Job) {
        self.0.jobs.push(job);
    }

    /// What a model declares, for a thread that may wait.
    pub(crate) fn metadata_blocking(&self, model: &ModelRef) -> Result<ModelMetadata> {
        self.call_blocking(ask::metadata(model))
    }

    /// Loads a model, for a thread that may wait. A handler that loads nothing is ready as it is.
    pub(crate) fn load_blocking(&self, model: &ModelRef) -> Result<()> {
        match self.call_blocking(ask::load(model)) {
            Err(error) if error.kind() == ErrorKind::NotImplemented => Ok(()),
            loaded => could_load(model, loaded?),
        }
    }

    /// Runs a model, for a thread that may wait. Who asks is not known there.
    pub(crate) fn infer_blocking(
        &self,
        model: &ModelRef,
        request: InferRequest,
        declared: Vec<(String, &'static str)>,
    ) -> Result<InferResponse> {
        self.call_blocking(ask::infer(model, request, None, declared))
    }

    /// Runs a model for a caller who is known, and ends the call when this is dropped.
    pub(crate) async fn infer_for(
        &self,
        context: Context,
        model: &ModelRef,
        request: InferRequest,
        declared: Vec<(String, &'static str)>,
    ) -> Result<InferResponse> {
        self.call(ask::infer(model, request, Some(context), declared))
            .await
    }

    /// Whether inferences run on the loop, where they wait side by side.
    pub(crate) fn runs_on_loop(&self) -> bool {
        self.is_async(Method::Infer)
    }
}

fn could_load(model: &ModelRef, loaded: bool) -> Result<()> {
    let name = &model.name;
    let failed = || Error::does_not_fit(format!("the handler could not load model '{name}'"));
    loaded.then_some(()).ok_or_else(failed)
}

impl ModelHandler for PyHandler {
    async fn infer(&self, request: InferRequest, call: &Call) -> Result<InferResponse> {
        let model = call.model();
        if let Some((batches, key, rows)) = self.stackable(model, &request) {
            return self.infer_stacked(batches, key, rows, request).await;
        }
        // One that stacks requests sees no caller, lest that depend on who else waits.
        let context = self.0.batches.is_none().then(|| Context::of(call));
        let declared = self.0.metadata.outputs(model);
        let ask = ask::infer(model, request, context, declared).holding(call.place());
        self.call_timed(ask, call.timings()).await
    }

    /// Metadata from memory where it is fresh, else from the handler.
    async fn model_metadata(&self, model: &ModelRef) -> Result<ModelMetadata> {
        if let Some(known) = self.0.metadata.get(model) {
            return known;
        }
        let metadata = self.call(ask::metadata(model)).await;
        self.0.metadata.put(model, &metadata);
        metadata
    }

    fn checks_metadata(&self) -> bool {
        self.0.checks_metadata
    }

    async fn model_load(&self, model: &ModelRef) -> Result<()> {
        self.0.metadata.forget();
        let loaded = self.call(ask::load(model)).await?;
        could_load(model, loaded)
    }

    async fn model_unload(&self, model: &ModelRef) -> Result<()> {
        self.0.metadata.forget();
        self.call(ask::unload(model)).await
    }

    /// One that has nothing to say needs no thread for that: it is ready, also when all are taken.
    async fn model_ready(&self, model: &ModelRef) -> Result<bool> {
        match self.0.says_when_ready {
            true => self.call(ask::ready(model)).await,
            false => Ok(true),
        }
    }
}
