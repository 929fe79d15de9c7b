//! The Python package `oip`: Python handlers behind the Rust core.
//!
//! | file | what it holds |
//! |---|---|
//! | `data`, `lists` | a request's tensors as Python sees them |
//! | `outputs`, `buffers` | what a handler returns, as tensors |
//! | `messages`, `context`, `errors` | requests, who asks, responses and errors between the two languages |
//! | `pool`, `aio` | where Python runs: threads for blocking handlers, a loop for the others |
//! | `handler`, `metadata`, `batch` | a Python object as a `ModelHandler` |
//! | `server`, `testing` | a server around it, and a client without a network |
//! | `cli`, `engine` | the command line, and `model.py` in a folder of models |
//! | `packing` | tensors on their way to another process |
//! | `logging` | the server's lines in Python's log |
//!
//! The GIL is held by the pool's threads and the loop's alone; threads that do input and output
//! never wait for it.

mod aio;
mod batch;
mod buffers;
mod cli;
mod context;
mod data;
mod engine;
mod errors;
mod handler;
mod lists;
mod logging;
mod messages;
mod metadata;
mod outputs;
mod packing;
mod pool;
mod server;
mod testing;

use pyo3::prelude::*;

/// Checks the data of a tensor against its datatype and shape.
#[pyfunction]
fn check_tensor(tensor: &Bound<'_, PyAny>) -> PyResult<()> {
    messages::read_tensor("tensor", tensor).map(drop)
}

#[pymodule]
fn _oip(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<data::TensorData>()?;
    module.add_class::<data::Buffer>()?;
    module.add_class::<context::Context>()?;
    module.add_class::<pool::Pool>()?;
    module.add_class::<aio::Bridge>()?;
    module.add_class::<server::Running>()?;
    module.add_class::<testing::Client>()?;
    module.add_function(wrap_pyfunction!(check_tensor, module)?)?;
    module.add_function(wrap_pyfunction!(server::start, module)?)?;
    module.add_function(wrap_pyfunction!(server::before_start, module)?)?;
    module.add_function(wrap_pyfunction!(server::in_force, module)?)?;
    module.add_function(wrap_pyfunction!(server::options, module)?)?;
    module.add_function(wrap_pyfunction!(cli::run_cli, module)?)?;
    module.add_function(wrap_pyfunction!(logging::log_to, module)?)?;
    module.add_function(wrap_pyfunction!(logging::flush_log, module)?)?;
    module.add_function(wrap_pyfunction!(packing::pack, module)?)?;
    module.add_function(wrap_pyfunction!(packing::unpack, module)?)?;
    Ok(())
}
