//! Finding the library and loading it, once a process: it cannot be unloaded or exchanged.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use super::OnnxRuntimeEngine;
use crate::library::{OnnxRuntime, candidates};
use crate::model::panic_message;
use crate::repository::OpenError;

/// The library that this process has loaded, and from where.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// The engine, when its library is found and can be used.
///
/// # Errors
/// When a library was named and cannot be used. One that was only found is passed over, with a
/// warning that says why.
pub(in crate::engine) fn find(
    wanted: &OnnxRuntime,
) -> Result<Option<OnnxRuntimeEngine>, OpenError> {
    let environment = match wanted {
        OnnxRuntime::Off => None,
        OnnxRuntime::Library(path) => match load(path) {
            Ok(environment) => Some(environment),
            Err(reason) => {
                let path = path.clone();
                return Err(OpenError::OnnxRuntime { path, reason });
            }
        },
        OnnxRuntime::Find(_) if STATIC => {
            tracing::info!(
                "ONNX Runtime is not looked for: {CANNOT_LOAD}; the embedded engine serves"
            );
            None
        }
        OnnxRuntime::Find(surroundings) => {
            candidates(surroundings)
                .iter()
                .find_map(|path| match load(path) {
                    Ok(environment) => Some(environment),
                    Err(reason) => {
                        let path = path.display();
                        tracing::warn!("ONNX Runtime at {path} is passed over: {reason}");
                        None
                    }
                })
        }
    };
    Ok(environment.map(|environment| OnnxRuntimeEngine { environment }))
}

/// Whether the program brings its own C library, and so no way to load others.
const STATIC: bool = cfg!(target_feature = "crt-static") && cfg!(unix);

const CANNOT_LOAD: &str = "this program is linked statically and cannot load libraries";

/// Loads a library, or takes the one that is loaded where it is the same.
fn load(path: &Path) -> Result<Environment, String> {
    if STATIC {
        return Err(CANNOT_LOAD.to_owned());
    }
    // From the working folder, as the operator means it.
    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
    if !path.is_file() {
        return Err("there is no such file".to_owned());
    }
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    match &*loaded {
        Some((from, environment)) if *from == path => return Ok(environment.clone()),
        Some((from, _)) => {
            let from = from.display();
            return Err(format!("this process has loaded it from {from} already"));
        }
        None => {}
    }
    let environment = catch_unwind(AssertUnwindSafe(|| load_first(&path)))
        .unwrap_or_else(|panic| Err(panic_message(panic.as_ref()).to_owned()))?;
    tracing::info!("ONNX Runtime loaded from {}", path.display());
    *loaded = Some((path, environment.clone()));
    Ok(environment)
}

fn load_first(path: &Path) -> Result<Environment, String> {
    let builder = ort::init_from(path).map_err(|error| match error {
        ort::LoadDynamicError::BadVersion { version_str, .. } => format!(
            "it is version {version_str}, too old: at least 1.{} is needed",
            ort::MINOR_VERSION
        ),
        other => other.to_string(),
    })?;
    builder
        .with_name("oip")
        .with_telemetry(false)
        .with_logger(Arc::new(log))
        .build()
        .map_err(|error| error.message().to_owned())
}

/// What ONNX Runtime says, in our log.
fn log(level: LogLevel, category: &str, _id: &str, _location: &str, message: &str) {
    match level {
        LogLevel::Verbose | LogLevel::Info => tracing::trace!(category, "{message}"),
        LogLevel::Warning => tracing::debug!(category, "{message}"),
        // Errors reach whoever loads or runs, who logs them.
        LogLevel::Error | LogLevel::Fatal => tracing::debug!(category, "{message}"),
    }
}
