//! Running a handler: a slot, a deadline, and a fence against its panics.

pub mod blocking;
mod deadline;
mod fence;
mod memory;
mod rate;
mod slot;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use oip_protocol::{Error, Limit, Result};
use tokio::time::Instant;

pub use deadline::deadline;
pub use fence::fenced;
pub use memory::{Held, Memory, UNCOUNTED};
pub(crate) use rate::Rates;
pub use slot::{Slot, Slots};

/// Waits for a future until a deadline. A timer is made only where the future has to wait.
///
/// # Errors
/// [`TimedOut`](oip_protocol::ErrorKind::TimedOut) when the deadline comes first, without
/// polling the future at all when it has passed already.
pub async fn until<T>(
    deadline: Option<Instant>,
    future: impl Future<Output = Result<T>> + Unpin,
) -> Result<T> {
    // Without a deadline no clock is read.
    let now = deadline.map(|_| Instant::now());
    until_from(now, deadline, future).await
}

/// The same where it is known what time it is.
///
/// # Errors
/// As [`until`].
pub(crate) async fn until_from<T>(
    now: Option<Instant>,
    deadline: Option<Instant>,
    future: impl Future<Output = Result<T>> + Unpin,
) -> Result<T> {
    let mut future = future;
    let Some(deadline) = deadline else {
        return future.await;
    };
    if now.is_some_and(|now| deadline <= now) {
        return Err(expired());
    }
    let first = poll_fn(|context| Poll::Ready(Pin::new(&mut future).poll(context)));
    if let Poll::Ready(result) = first.await {
        return result;
    }
    // In a box: few come here, and all would carry its size.
    match Box::pin(tokio::time::timeout_at(deadline, future)).await {
        Ok(result) => result,
        Err(_) => Err(expired()),
    }
}

fn expired() -> Error {
    Error::timed_out("the deadline ran out before the model answered")
        .at_limit(Limit::RequestTimeout)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use oip_protocol::ErrorKind;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_comes_first_is_timed_out() {
        let deadline = Some(Instant::now() + Duration::from_millis(10));
        let slow = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(())
        };
        let error = until(deadline, pin!(slow)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn past_its_deadline_a_future_is_not_run_at_all() {
        let mut ran = false;
        let work = async {
            ran = true;
            Ok(())
        };
        assert!(until(Some(Instant::now()), pin!(work)).await.is_err());
        assert!(!ran);
    }
}
