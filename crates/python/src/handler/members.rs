//! A Python object as it is served: one handler for every name, or one for each of several.

use std::collections::HashMap;

use oip::{
    Call, Error, InferRequest, InferResponse, ModelHandler, ModelMetadata, ModelRef, Result,
};
use pyo3::prelude::*;

use super::PyHandler;
use crate::aio::Loop;
use crate::pool::Pool;

/// What is put behind the pipeline.
pub(crate) enum Handlers {
    /// It answers for every name.
    One(PyHandler),
    /// Each answers for its name, and is called as it wants to be: in batches, on the loop.
    Each(HashMap<String, PyHandler>),
}

impl Handlers {
    /// Those that this object stands for; see [`PyHandler::new`].
    ///
    /// # Errors
    /// An exception of Python's where one of their attributes makes no sense.
    pub(crate) fn new(
        object: &Bound<'_, PyAny>,
        pool: &Pool,
        asyncio: Loop,
        most_waiting: usize,
    ) -> PyResult<Self> {
        let py = object.py();
        let members = py
            .import("oip.handler")?
            .call_method1("members_of", (object,))?;
        let Some(members) = members.extract::<Option<HashMap<String, Bound<'_, PyAny>>>>()? else {
            return PyHandler::new(object, pool, asyncio, most_waiting).map(Self::One);
        };
        // One that has several names is one handler: its batches are for all of them.
        let mut made: HashMap<usize, PyHandler> = HashMap::new();
        let mut each = HashMap::new();
        for (name, member) in members {
            let known = made.get(&(member.as_ptr() as usize)).cloned();
            let handler = match known {
                Some(handler) => handler,
                None => PyHandler::new(&member, pool, asyncio.clone(), most_waiting)?,
            };
            made.insert(member.as_ptr() as usize, handler.clone());
            each.insert(name, handler);
        }
        Ok(Self::Each(each))
    }

    fn of(&self, model: &ModelRef) -> Result<&PyHandler> {
        match self {
            Self::One(handler) => Ok(handler),
            Self::Each(each) => each
                .get(&model.name)
                .ok_or_else(|| Error::not_found(format!("model '{}' is not found", model.name))),
        }
    }
}

impl ModelHandler for Handlers {
    async fn infer(&self, request: InferRequest, call: &Call) -> Result<InferResponse> {
        self.of(call.model())?.infer(request, call).await
    }

    async fn model_metadata(&self, model: &ModelRef) -> Result<ModelMetadata> {
        self.of(model)?.model_metadata(model).await
    }

    fn checks_metadata_of(&self, model: &ModelRef) -> bool {
        self.of(model).is_ok_and(PyHandler::checks_metadata)
    }

    async fn model_load(&self, model: &ModelRef) -> Result<()> {
        self.of(model)?.model_load(model).await
    }

    async fn model_unload(&self, model: &ModelRef) -> Result<()> {
        self.of(model)?.model_unload(model).await
    }

    async fn model_ready(&self, model: &ModelRef) -> Result<bool> {
        self.of(model)?.model_ready(model).await
    }
}
