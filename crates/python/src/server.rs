//! A server around a Python handler, in the background of a Python program.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oip::config::{Config, Kind, OPTIONS, Settings, Sources, Value};
use oip::server::{BoundServer, Phase};
use oip::{Dataplane, Server};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::aio::Bridge;
use crate::handler::Handlers;
use crate::pool::Pool;
use crate::{buffers, errors};

/// A server that serves: its doors, and how to stop it.
#[pyclass(name = "Running", module = "oip._oip", frozen)]
pub(crate) struct Running {
    rest: Option<SocketAddr>,
    grpc: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    stopped: watch::Receiver<bool>,
    dataplane: Arc<Dataplane>,
    runtime: Mutex<Option<Runtime>>,
}

/// The values in force: keyword arguments, environment, properties files, defaults.
fn resolved(py: Python<'_>, given: BTreeMap<String, Vec<String>>) -> PyResult<Config> {
    let mut sources = Sources::process();
    for (key, values) in given {
        let mut options = OPTIONS.iter();
        let option = options.find(|option| option.key_spellings().any(|known| known == key));
        let Some(option) = option else {
            return Err(PyTypeError::new_err(format!(
                "'{key}' is not a setting; docs/configuration.md lists them all"
            )));
        };
        for value in values {
            sources = sources.with_flag(option.flag(), value);
        }
    }
    Config::resolve(&sources).map_err(|error| errors::start(py, error))
}

/// The same, checked together, and what is odd about them.
fn settings(
    py: Python<'_>,
    given: BTreeMap<String, Vec<String>>,
) -> PyResult<(Settings, Vec<String>)> {
    let config = resolved(py, given)?;
    let settings = config
        .settings()
        .map_err(|error| errors::start(py, error))?;
    Ok((settings, config.warnings().to_vec()))
}

/// The value in force of every key, under each of its names; secrets as `***`.
#[pyfunction]
pub(crate) fn in_force(
    py: Python<'_>,
    given: BTreeMap<String, Vec<String>>,
) -> PyResult<Bound<'_, PyDict>> {
    let values = PyDict::new(py);
    for entry in resolved(py, given)?.entries() {
        let value = match &entry.value {
            Value::Absent => py.None().into_bound(py),
            Value::Bool(value) => PyBool::new(py, *value).to_owned().into_any(),
            Value::Number(value) => value.into_pyobject(py)?.into_any(),
            Value::Duration(value) => value.as_secs_f64().into_pyobject(py)?.into_any(),
            Value::Address(value) => value.to_string().into_pyobject(py)?.into_any(),
            Value::Text(value) => value.into_pyobject(py)?.into_any(),
            Value::List(value) => value.into_pyobject(py)?,
            _ => entry.shown().into_pyobject(py)?.into_any(),
        };
        for key in entry.option.key_spellings() {
            values.set_item(key, &value)?;
        }
    }
    Ok(values)
}

/// Every setting: its key, what kind of value it takes, and what it does.
#[pyfunction]
pub(crate) fn options() -> Vec<(&'static str, &'static str, &'static str)> {
    let each = OPTIONS.iter().flat_map(|option| {
        let kind = match option.kind {
            Kind::Bool => "bool",
            Kind::Port | Kind::Count { .. } | Kind::Integer => "int",
            Kind::Size { .. } => "int | str",
            Kind::Duration => "float | str",
            Kind::Ratio => "float",
            Kind::Path => "str | Path",
            Kind::List => "str | Sequence[str]",
            _ => "str",
        };
        option
            .key_spellings()
            .map(move |key| (key, kind, option.help))
    });
    each.collect()
}

/// What is to be known before a server starts: how its log is to be, and how many processes are
/// to share its work.
///
/// Raises `StartError` where a setting makes no sense.
#[pyfunction]
pub(crate) fn before_start(
    py: Python<'_>,
    given: BTreeMap<String, Vec<String>>,
) -> PyResult<(&'static str, &'static str, bool, usize)> {
    let (settings, _) = settings(py, given)?;
    Ok((
        settings.log_level.as_str(),
        settings.log_format.as_str(),
        settings.latency_log,
        settings.workers,
    ))
}

/// Binds the doors and serves in the background.
///
/// `settings` are texts by key, `names` the models that the handler answers for.
#[pyfunction]
pub(crate) fn start(
    py: Python<'_>,
    handler: &Bound<'_, PyAny>,
    pool: &Pool,
    bridge: &Bridge,
    given: BTreeMap<String, Vec<String>>,
) -> PyResult<Running> {
    let (settings, warnings) = settings(py, given)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    buffers::release_on(pool.jobs());
    let handler = Handlers::new(handler, pool, bridge.of_loop(), settings.model_queue)?;
    let server = settings
        .model_name
        .iter()
        .fold(Server::new(handler), |server, name| server.model(name));
    let server = server
        .configure(&settings)
        .guarded(&settings)
        .map_err(|error| errors::start(py, error))?;
    let threads = settings.worker_threads;
    py.detach(|| Running::start(server, threads))
        .map_err(|error| errors::start(py, error))
}

impl Running {
    fn start(server: Server, threads: Option<usize>) -> Result<Self, String> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        if let Some(count) = threads {
            builder.worker_threads(count);
        }
        let runtime = builder
            .thread_name("oip-io")
            .enable_all()
            .build()
            .map_err(|error| format!("cannot start threads: {error}"))?;
        let bound = runtime
            .block_on(server.bind())
            .map_err(|error| error.to_string())?;
        Ok(Self::of(bound, runtime))
    }

    fn of(bound: BoundServer, runtime: Runtime) -> Self {
        let (stop, mut asked) = watch::channel(false);
        let (ended, stopped) = watch::channel(false);
        let (rest, grpc) = (bound.rest_address(), bound.grpc_address());
        let dataplane = Arc::clone(bound.dataplane());
        runtime.spawn(async move {
            bound
                .serve(async move {
                    // An error means that nobody can ask any more, which is a stop too.
                    let _ = asked.wait_for(|asked| *asked).await;
                })
                .await;
            let _ = ended.send(true);
        });
        Self {
            rest,
            grpc,
            stop,
            stopped,
            dataplane,
            runtime: Mutex::new(Some(runtime)),
        }
    }

    fn handle(&self) -> Option<tokio::runtime::Handle> {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        runtime.as_ref().map(|runtime| runtime.handle().clone())
    }
}

#[pymethods]
impl Running {
    /// Where the REST door listens, as host and port.
    #[getter]
    fn rest_address(&self) -> Option<(String, u16)> {
        self.rest.map(|at| (at.ip().to_string(), at.port()))
    }

    /// Where the gRPC door listens, as host and port.
    #[getter]
    fn grpc_address(&self) -> Option<(String, u16)> {
        self.grpc.map(|at| (at.ip().to_string(), at.port()))
    }

    /// Waits until every model that should be there from the start was tried, for `seconds` at
    /// most.
    fn wait_until_loaded(&self, py: Python<'_>, seconds: f64) -> bool {
        let dataplane = Arc::clone(&self.dataplane);
        py.detach(|| {
            let most = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
            let begun = std::time::Instant::now();
            while dataplane.phase() == Phase::Starting {
                if begun.elapsed() >= most {
                    return false;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            true
        })
    }

    /// Asks the server to drain and stop; returns at once.
    fn stop(&self) {
        let _ = self.stop.send(true);
    }

    /// Waits until the server has stopped, for `seconds` at most; whether it has.
    fn wait(&self, py: Python<'_>, seconds: f64) -> bool {
        let mut stopped = self.stopped.clone();
        let Some(handle) = self.handle() else {
            return true;
        };
        py.detach(|| {
            let most = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
            handle.block_on(async move {
                let ended = stopped.wait_for(|stopped| *stopped);
                // A closed channel means that the server is gone.
                tokio::time::timeout(most, ended).await.is_ok()
            })
        })
    }

    /// Leaves the threads alone: after a `fork` they are not there to be waited for.
    fn forget(&self) {
        if let Ok(mut runtime) = self.runtime.try_lock() {
            std::mem::forget(runtime.take());
        }
    }

    /// Lets go of the threads. What still runs is cut off.
    fn close(&self, py: Python<'_>) {
        let runtime = {
            let mut runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
            runtime.take()
        };
        py.detach(|| {
            if let Some(runtime) = runtime {
                runtime.shutdown_timeout(Duration::from_secs(1));
            }
        });
    }
}
