//! ONNX Runtime, loaded when its shared library is found. Not here yet: the embedded engine
//! serves every model.

use std::sync::Arc;

use crate::library::OnnxRuntime;
use crate::model::Engine;
use crate::repository::OpenError;

/// The engine, when a library is found.
///
/// # Errors
/// When a library was named, as none is loaded yet.
pub fn find(wanted: &OnnxRuntime, _threads: usize) -> Result<Option<Arc<dyn Engine>>, OpenError> {
    match wanted {
        OnnxRuntime::Library(path) => Err(OpenError::OnnxRuntime {
            path: path.clone(),
            reason: "this version does not load it yet".to_owned(),
        }),
        OnnxRuntime::Off | OnnxRuntime::Find(_) => Ok(None),
    }
}
