//! A handler behind the whole pipeline, without a network.

use std::sync::OnceLock;

use oip::access::{Arrival, Permit, actions};
use oip::testing::InProcess;
use oip::{ModelRef, Result};
use pyo3::prelude::*;
use tokio::runtime::Runtime;

use crate::aio::Bridge;
use crate::handler::PyHandler;
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
        let handler = PyHandler::new(handler, pool.jobs(), bridge.of_loop())?;
        let runtime = runtime()?;
        let client = py.detach(|| runtime.block_on(oip::testing::client(handler)));
        Ok(Self(client))
    }

    fn infer<'py>(
        &self,
        py: Python<'py>,
        model: ModelName,
        request: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let request = messages::read_request(request)?;
        let response = wait(py, async {
            let permit = self.permit(model).await?;
            self.0.dataplane().infer(permit, request, None).await
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
        let dataplane = self.0.dataplane();
        let caller = dataplane.authenticate(Arrival::default()).await?;
        let ModelName(name, version) = model;
        dataplane
            .authorize_model(&caller, ModelRef { name, version })
            .await
    }
}

/// Name and version.
#[derive(FromPyObject)]
struct ModelName(String, Option<String>);
