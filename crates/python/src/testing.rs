//! A handler behind the whole pipeline, without a network.

use std::sync::{Arc, OnceLock};

use oip::access::{
    Arrival, Authenticator, Credentials, Decision, Permit, PolicyDecisionPoint, Question, Subject,
    actions,
};
use oip::testing::InProcess;
use oip::{Access, BoxFuture, Caller, ModelRef, Result};
use pyo3::prelude::*;
use tokio::runtime::Runtime;

use crate::aio::Bridge;
use crate::context::Context;
use crate::handler::Handlers;
use crate::pool::Pool;
use crate::{buffers, errors, messages};

/// The one runtime of all clients in this process.
fn runtime() -> PyResult<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let made = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("oip-testing")
        .enable_all()
        .build()?;
    Ok(RUNTIME.get_or_init(|| made))
}

/// Asks a handler in this process.
#[pyclass(name = "InProcess", module = "oip._oip", frozen)]
pub(crate) struct Client(InProcess);

fn wait<T: Send>(py: Python<'_>, future: impl Future<Output = Result<T>> + Send) -> PyResult<T> {
    let runtime = runtime()?;
    py.detach(|| runtime.block_on(future))
        .map_err(|error| errors::exception(py, &error))
}

#[pymethods]
impl Client {
    #[new]
    fn new(
        py: Python<'_>,
        handler: &Bound<'_, PyAny>,
        pool: &Pool,
        bridge: &Bridge,
    ) -> PyResult<Self> {
        buffers::release_on(pool.jobs());
        let handler = Handlers::new(handler, pool, bridge.of_loop(), usize::MAX)?;
        let runtime = runtime()?;
        let client = py.detach(|| runtime.block_on(oip::testing::client(handler)));
        Ok(Self(client))
    }

    fn infer<'py>(
        &self,
        py: Python<'py>,
        model: ModelName,
        request: &Bound<'py, PyAny>,
        context: &Context,
    ) -> PyResult<Bound<'py, PyAny>> {
        let request = messages::read_request(request)?;
        let response = wait(py, async {
            let access = Access::new(
                Arc::new(Known(context.shared_subject().cloned())),
                Arc::new(Open),
            );
            let caller = access.authenticate(context.arrival()).await?;
            let permit = self.permit_to(&caller, model).await?;
            let deadline = context.deadline();
            self.0.dataplane().infer(permit, request, deadline).await
        })?;
        messages::response(py, response)
    }

    fn metadata<'py>(&self, py: Python<'py>, model: ModelName) -> PyResult<Bound<'py, PyAny>> {
        let metadata = wait(py, async {
            let permit = self.permit(model).await?;
            self.0.dataplane().model_metadata(permit).await
        })?;
        messages::metadata(py, metadata)
    }

    fn ready(&self, py: Python<'_>, model: ModelName) -> PyResult<bool> {
        wait(py, async {
            let permit = self.permit(model).await?;
            self.0.dataplane().model_ready(permit).await
        })
    }

    fn load(&self, py: Python<'_>, model: ModelName) -> PyResult<()> {
        wait(py, async {
            let permit = self.permit(model).await?;
            self.0.dataplane().load(permit).await
        })
    }

    fn unload(&self, py: Python<'_>, model: ModelName) -> PyResult<()> {
        wait(py, async {
            let permit = self.permit(model).await?;
            self.0.dataplane().unload(permit).await
        })
    }
}

impl Client {
    async fn permit<A: actions::Permitted>(&self, model: ModelName) -> Result<Permit<A>> {
        let caller = self.0.dataplane().authenticate(Arrival::default()).await?;
        self.permit_to(&caller, model).await
    }

    async fn permit_to<A: actions::Permitted>(
        &self,
        caller: &Caller,
        ModelName(name, version): ModelName,
    ) -> Result<Permit<A>> {
        let model = ModelRef { name, version };
        self.0.dataplane().authorize_model(caller, model).await
    }
}

/// Whoever asks is whom the test says.
struct Known(Option<Arc<Subject>>);

impl Authenticator for Known {
    fn authenticate<'a>(
        &'a self,
        _: &'a Credentials,
    ) -> BoxFuture<'a, Result<Option<Arc<Subject>>>> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

/// A decision point beside an authenticator; the pipeline of a test asks none.
struct Open;

impl PolicyDecisionPoint for Open {
    fn decide<'a>(&'a self, _: &'a Question<'a>) -> BoxFuture<'a, Decision> {
        let reason = "a test of a handler".to_owned();
        Box::pin(std::future::ready(Decision::Permit { reason }))
    }
}

/// Name and version.
#[derive(FromPyObject)]
struct ModelName(String, Option<String>);
