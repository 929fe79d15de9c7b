//! Large pieces of decoding, encoding and packing: they keep a CPU busy for milliseconds.
//!
//! They run off the async threads, and no more of them at once than leave a CPU to what is small:
//! a hundred threads that compute would hold a health probe up as well as one that serves it. What
//! waits for the network, a disk or a model does not belong here.

use std::sync::{Arc, LazyLock};
use std::thread::available_parallelism;

use oip_protocol::{Error, Result};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

/// Those of this process: its servers share its CPUs.
static PLACES: LazyLock<Places> = LazyLock::new(|| Places::new(all_but_one()));

fn all_but_one() -> usize {
    let processors = available_parallelism().map_or(1, usize::from);
    processors.saturating_sub(1).max(1)
}

/// Runs a piece of work that computes for long, when it is its turn: in the order in which they
/// are asked for, as many at once as there are CPUs but one, and at least one.
///
/// Who drops this gives its turn up, and work that has not begun does not run. It may wait for
/// others, so ask for it within the deadline of the request.
///
/// # Errors
/// When the work panicked.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    PLACES.run(work).await
}

/// How many pieces of work may compute at once. Who waits is served in order.
struct Places(Arc<Semaphore>);

impl Places {
    fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let place = Arc::clone(&self.0).acquire_owned().await;
        let place = place.map_err(Error::handler_failed)?;
        // The work holds its place and not whoever waits for it: that may leave, and the thread
        // goes on computing.
        let work = move || {
            let _place = place;
            work()
        };
        let done = AbortOnDropHandle::new(tokio::task::spawn_blocking(work)).await;
        done.map_err(Error::handler_failed)
    }
}

/// Takes every place, so that a test of a door sees what waits for one: until this is dropped.
#[doc(hidden)]
pub async fn occupied() -> Result<impl Drop + Send> {
    let all = u32::try_from(all_but_one()).map_err(Error::handler_failed)?;
    let places = Arc::clone(&PLACES.0);
    let taken = places.acquire_many_owned(all).await;
    taken.map_err(Error::handler_failed)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc;
    use std::time::Duration;

    use futures_util::FutureExt;
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn no_more_work_than_there_are_places_computes_at_once() {
        let places = Places::new(2);
        let running = Arc::new(AtomicUsize::new(0));
        let works = (0..8).map(|_| {
            let running = Arc::clone(&running);
            places.run(move || {
                let at_once = running.fetch_add(1, SeqCst) + 1;
                std::thread::sleep(Duration::from_millis(5));
                running.fetch_sub(1, SeqCst);
                at_once
            })
        });
        let at_once = join_all(works).await.into_iter().map(Result::unwrap);
        assert!(at_once.max().unwrap() <= 2);
    }

    #[tokio::test]
    async fn work_is_done_in_the_order_in_which_it_was_asked_for_without_who_has_left() {
        let places = Places::new(1);
        let (release, released) = mpsc::channel::<()>();
        let done = Arc::new(Mutex::new(Vec::new()));
        let work = |name: &'static str| {
            let done = Arc::clone(&done);
            places.run(move || done.lock().unwrap().push(name))
        };
        let mut first = Box::pin(places.run(move || released.recv().unwrap()));
        assert!(first.as_mut().now_or_never().is_none());
        let mut waiting: Vec<_> = ["b", "c", "d", "e"].map(work).map(Box::pin).into();
        for waits in &mut waiting {
            assert!(waits.as_mut().now_or_never().is_none());
        }
        // Who waits and leaves has no turn.
        drop(waiting.remove(1));
        release.send(()).unwrap();
        first.await.unwrap();
        // Asked for last to first: whoever asks again is not served before its turn.
        waiting.reverse();
        join_all(waiting).await;
        assert_eq!(*done.lock().unwrap(), ["b", "d", "e"]);
        assert_eq!(places.0.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_place_is_taken_until_the_work_ends_though_nobody_waits_for_it() {
        let places = Places::new(1);
        let (release, released) = mpsc::channel::<()>();
        let (begin, begun) = tokio::sync::oneshot::channel();
        let mut left = Box::pin(places.run(move || {
            begin.send(()).unwrap();
            released.recv().unwrap();
        }));
        assert!(left.as_mut().now_or_never().is_none());
        begun.await.unwrap();
        drop(left);
        assert_eq!(places.0.available_permits(), 0);
        let mut next = pin!(places.run(|| ()));
        assert!(next.as_mut().now_or_never().is_none());
        release.send(()).unwrap();
        next.await.unwrap();
    }

    #[test]
    fn work_that_has_not_begun_when_its_caller_leaves_does_not_run() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let (release, released) = mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || released.recv().unwrap());
            let places = Places::new(1);
            let (ran, runs) = mpsc::channel();
            let mut left = Box::pin(places.run(move || ran.send(()).unwrap()));
            assert!(left.as_mut().now_or_never().is_none());
            drop(left);
            release.send(()).unwrap();
            busy.await.unwrap();
            places.run(|| ()).await.unwrap();
            assert!(runs.try_recv().is_err());
        });
    }

    #[tokio::test]
    async fn work_that_panics_gives_its_place_back() {
        let places = Places::new(1);
        assert!(
            places
                .run::<()>(|| panic!("as it was told to"))
                .await
                .is_err()
        );
        places.run(|| ()).await.unwrap();
    }
}
