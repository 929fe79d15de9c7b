//! Large tensors are hashed, compared and copied off the async threads, and of all caches
//! together no more at once than leave a CPU to what is small.

use std::sync::{Arc, LazyLock};
use std::thread::available_parallelism;

use oip_protocol::{Error, Result};
use tokio::sync::Semaphore;

static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(all_but_one())));

fn all_but_one() -> usize {
    let processors = available_parallelism().map_or(1, usize::from);
    processors.saturating_sub(1).max(1)
}

/// Does this when it is its turn: in the order in which it is asked for. Who leaves before has
/// none.
///
/// # Errors
/// When the work panicked.
pub(super) async fn take<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let turn = Arc::clone(&TURNS).acquire_owned().await;
    let turn = turn.map_err(Error::handler_failed)?;
    // Held by the work and not by whoever waits for it, who may leave meanwhile.
    let work = move || {
        let _turn = turn;
        work()
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(Error::handler_failed)
}

/// Takes every turn, so that a test sees what waits for one.
#[cfg(test)]
pub(super) async fn occupied() -> tokio::sync::OwnedSemaphorePermit {
    let all = u32::try_from(all_but_one()).unwrap();
    Arc::clone(&TURNS).acquire_many_owned(all).await.unwrap()
}
