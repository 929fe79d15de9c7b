//! The command line of the Rust binary, from Python, where `oip serve` takes programs of Python
//! too.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use oip::config::{LogFormat, LogLevel, Settings};
use oip::models::{Handled, Models};
use oip_cli::{Exit, Programs};
use pyo3::prelude::*;

use crate::aio::Bridge;
use crate::handler::Handlers;
use crate::pool::Pool;
use crate::{buffers, engine};

/// Runs a command and returns its exit code. The first argument is the program's name;
/// `programs` is the module `oip._programs`.
#[pyfunction]
pub(crate) fn run_cli(py: Python<'_>, arguments: Vec<OsString>, programs: Py<PyAny>) -> u8 {
    py.detach(|| oip_cli::run_with(arguments, &PythonPrograms(programs)) as u8)
}

struct PythonPrograms(Py<PyAny>);

/// What `oip._programs.open` returns: a handler, where it runs, and the names it answers for.
type Opened<'py> = (
    Bound<'py, PyAny>,
    Bound<'py, Pool>,
    Bound<'py, Bridge>,
    Vec<String>,
);

impl Programs for PythonPrograms {
    fn knows(&self, path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension == "py")
    }

    fn log_as(&self, level: LogLevel, format: LogFormat) {
        let set = Python::attach(|py| {
            let logging = py.import("oip._logging")?;
            logging.call_method1("to_stderr", (level.as_str(), format.as_str()))?;
            PyResult::Ok(())
        });
        if let Err(error) = set {
            Python::attach(|py| error.print(py));
        }
    }

    fn supervise(&self, path: &Path) -> Option<Exit> {
        Python::attach(|py| {
            let code = self.0.call_method1(py, "supervise", (path,));
            match code.and_then(|code| code.extract::<Option<u8>>(py)) {
                Ok(None) => None,
                Ok(Some(0)) => Some(Exit::Success),
                Ok(Some(_)) => Some(Exit::Failed),
                Err(error) => {
                    error.print(py);
                    Some(Exit::Failed)
                }
            }
        })
    }

    fn settings(&self, path: &Path) -> Result<Vec<(String, String)>, String> {
        Python::attach(|py| {
            let given = self.0.call_method1(py, "settings", (path,));
            given
                .and_then(|given| given.extract(py))
                .map_err(|error| said(py, &error))
        })
    }

    fn open(&self, path: &Path, settings: &Settings) -> Result<Arc<dyn Models>, String> {
        Python::attach(|py| {
            let opened = self.0.call_method1(py, "open", (path, settings.workers));
            let opened = opened.map_err(|error| said(py, &error))?;
            let (handler, pool, bridge, names) = opened
                .extract::<Opened<'_>>(py)
                .map_err(|error| said(py, &error))?;
            let (pool, asyncio) = (pool.get(), bridge.get().of_loop());
            buffers::release_on(pool.jobs());
            let handler = Handlers::new(&handler, pool, asyncio, settings.model_queue)
                .map_err(|error| said(py, &error))?;
            let names = match settings.model_name.is_empty() {
                true => names,
                false => settings.model_name.clone(),
            };
            let models: Arc<dyn Models> =
                Arc::new(Handled::new(handler, names).with_bounds(oip::server::bounds(settings)));
            Ok(models)
        })
    }

    fn itself(&self) -> Vec<OsString> {
        let program = Python::attach(|py| {
            let executable = py.import("sys")?.getattr("executable")?;
            executable.extract::<OsString>()
        });
        match program {
            Ok(program) => vec![program, "-m".into(), "oip.cli".into()],
            Err(_) => Vec::new(),
        }
    }

    fn engines(&self) -> Vec<oip::runtime::engine::Programs> {
        vec![Python::attach(|py| engine::programs(self.0.clone_ref(py)))]
    }
}

/// A program that cannot be served, in one line; the traceback stands above it.
fn said(py: Python<'_>, error: &PyErr) -> String {
    let ours = py
        .import("oip.errors")
        .and_then(|errors| errors.getattr("StartError"))
        .is_ok_and(|class| error.value(py).is_instance(&class).unwrap_or(false));
    if !ours {
        error.print(py);
    }
    error.value(py).to_string()
}
