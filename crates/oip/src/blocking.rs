//! Work that keeps a CPU busy, off the async threads.

use oip_protocol::{Error, Result};

/// Runs a piece of work on a thread where it may take long.
///
/// # Errors
/// When the work panicked.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(Error::handler_failed)
}
