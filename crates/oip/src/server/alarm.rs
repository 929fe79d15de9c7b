//! A timer that is looked at only when it has rung.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A timer of a task that is woken with every request, where this rings every few seconds:
/// polling the timer each time would take more than much of what is done for a request.
pub(super) struct Alarm {
    timer: Pin<Box<Sleep>>,
    bell: Option<Arc<Bell>>,
    /// Whether the timer waits, and has the bell to ring.
    is_set: bool,
}

/// What the timer wakes, and who is woken by it.
struct Bell {
    rang: AtomicBool,
    task: Waker,
}

impl Alarm {
    /// One that rings at once.
    pub(super) fn new() -> Self {
        Self {
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            bell: None,
            is_set: false,
        }
    }

    /// It rings then, and no longer when it was to.
    pub(super) fn set(&mut self, at: Instant) {
        self.timer.as_mut().reset(at);
        self.is_set = false;
    }

    /// Whether it has rung, as it does until it is set anew. While it has not, it wakes the task
    /// when it does.
    pub(super) fn has_rung(&mut self, task: &Waker) -> bool {
        let bell = match &self.bell {
            Some(bell) if bell.task.will_wake(task) => bell,
            _ => {
                self.is_set = false;
                self.bell.insert(Bell::of(task))
            }
        };
        if self.is_set && !bell.rang.load(Acquire) {
            return false;
        }
        bell.rang.store(false, Release);
        let waker = Waker::from(Arc::clone(bell));
        let rung = self.timer.as_mut().poll(&mut Context::from_waker(&waker));
        self.is_set = rung.is_pending();
        rung.is_ready()
    }
}

impl Bell {
    fn of(task: &Waker) -> Arc<Self> {
        Arc::new(Self {
            rang: AtomicBool::new(false),
            task: task.clone(),
        })
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Release);
        self.task.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;

    /// Waits until it rings; returns how many seconds that took.
    async fn rings(alarm: &mut Alarm) -> u64 {
        let begun = Instant::now();
        poll_fn(|context| match alarm.has_rung(context.waker()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
        begun.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_once_and_then_whenever_it_is_set_to() {
        let mut alarm = Alarm::new();
        assert_eq!(rings(&mut alarm).await, 0);
        assert_eq!(rings(&mut alarm).await, 0, "it was not set anew");
        for seconds in [5, 1, 30] {
            alarm.set(Instant::now() + Duration::from_secs(seconds));
            assert_eq!(rings(&mut alarm).await, seconds);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_it_is_set_to_last_counts_whoever_looks() {
        let mut alarm = Alarm::new();
        let after = |seconds| Instant::now() + Duration::from_secs(seconds);
        for (first, last) in [(5, 30), (30, 5)] {
            alarm.set(after(first));
            assert!(!alarm.has_rung(Waker::noop()));
            assert!(!alarm.has_rung(Waker::noop()));
            alarm.set(after(last));
            assert!(!alarm.has_rung(Waker::noop()));
            assert_eq!(rings(&mut alarm).await, last);
        }
    }
}
