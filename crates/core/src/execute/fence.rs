//! A handler's panic is its request's failure, not the server's.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use oip_protocol::{Error, Result};

/// Runs a future and turns a panic in it into a failure of the handler.
///
/// # Errors
/// The future's own, or [`HandlerFailed`](oip_protocol::ErrorKind::HandlerFailed) with the
/// panic's message as the cause.
pub fn fenced<T>(future: impl Future<Output = Result<T>>) -> impl Future<Output = Result<T>> {
    // Unwind safety: whatever state the panic broke belongs to the handler, which is told in the
    // documentation of the trait that it will be called again.
    let caught = AssertUnwindSafe(future).catch_unwind();
    caught.map(|ended| ended.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))))
}

#[cold]
fn panicked(panic: &(dyn Any + Send)) -> Error {
    Error::handler_failed(format!("panic: {}", message(panic)))
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_failure_with_its_message_as_the_cause() {
        let error = fenced::<()>(async { panic!("index {} out of range", 3) })
            .await
            .unwrap_err();
        assert_eq!(error.kind(), oip_protocol::ErrorKind::HandlerFailed);
        assert_eq!(error.cause(), Some("panic: index 3 out of range"));
    }
}
