//! Finishing what is in flight.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// How far a drain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Stage {
    /// The server takes connections.
    Serving = 0,
    /// Connections should end after what they have in flight.
    Begun = 1,
    /// They are cut.
    Over = 2,
}

/// Tells every accept loop and connection that the server stops, and waits for the connections.
#[derive(Debug, Clone)]
pub(super) struct Drain {
    stage: Arc<AtomicU8>,
    closed: CancellationToken,
    listeners: TaskTracker,
    begun: CancellationToken,
    over: CancellationToken,
    connections: TaskTracker,
}

impl Drain {
    pub(super) fn new() -> Self {
        Self {
            stage: Arc::default(),
            closed: CancellationToken::new(),
            listeners: TaskTracker::new(),
            begun: CancellationToken::new(),
            over: CancellationToken::new(),
            connections: TaskTracker::new(),
        }
    }

    /// Counts a connection while what is returned is held.
    pub(super) fn count(&self) -> TaskTrackerToken {
        self.connections.token()
    }

    /// Counts a listener while what is returned is held.
    pub(super) fn count_listener(&self) -> TaskTrackerToken {
        self.listeners.token()
    }

    /// Is done when nobody is to listen any more.
    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// How far it is: told before those who wait are woken. Looking costs next to nothing.
    pub(super) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Serving,
            1 => Stage::Begun,
            _ => Stage::Over,
        }
    }

    fn reach(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Release);
        match stage {
            Stage::Serving => {}
            Stage::Begun => self.begun.cancel(),
            Stage::Over => self.over.cancel(),
        }
    }

    /// Is done a while after connections were told to end.
    #[cfg(feature = "tls")]
    pub(super) async fn begun_for(&self, a_while: Duration) {
        self.begun.cancelled().await;
        tokio::time::sleep(a_while).await;
    }

    /// Is done when the grace has run out and connections are cut.
    #[cfg(any(feature = "tls", test))]
    pub(super) async fn over(&self) {
        self.over.cancelled().await;
    }

    /// Stops accepting and waits up to `grace` for the connections; those left are cut. Returns
    /// how many.
    pub(super) async fn finish(&self, grace: Duration) -> usize {
        self.closed.cancel();
        self.listeners.close();
        // First this: a client that is told to end its connection comes with another at once, and
        // one that comes just when listening ends may be lost in the system.
        self.listeners.wait().await;
        self.reach(Stage::Begun);
        self.connections.close();
        let left = match tokio::time::timeout(grace, self.connections.wait()).await {
            Ok(()) => 0,
            Err(_) => self.connections.len(),
        };
        self.reach(Stage::Over);
        left
    }
}

/// The stages of a drain as one connection looks at them, every time it is woken: it waits for the
/// next one once and then only looks.
pub(super) struct Stages {
    drain: Drain,
    begun: Pin<Box<WaitForCancellationFutureOwned>>,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Who will be woken.
    waits: Option<Waker>,
}

impl Stages {
    pub(super) fn new(drain: &Drain) -> Self {
        Self {
            begun: Box::pin(drain.begun.clone().cancelled_owned()),
            over: Box::pin(drain.over.clone().cancelled_owned()),
            drain: drain.clone(),
            waits: None,
        }
    }

    /// The stage now. The caller's task is woken when another is reached.
    pub(super) fn look(&mut self, context: &mut Context<'_>) -> Stage {
        let waker = context.waker();
        let waits = self.waits.as_ref();
        if !waits.is_some_and(|waits| waits.will_wake(waker)) {
            // A stage is told before it wakes: what is missed here is seen below.
            if self.drain.stage() < Stage::Begun {
                let _ = self.begun.as_mut().poll(context);
            }
            if self.drain.stage() < Stage::Over {
                let _ = self.over.as_mut().poll(context);
            }
            self.waits = Some(context.waker().clone());
        }
        self.drain.stage()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_its_connections_and_no_longer_than_the_grace() {
        let drain = Drain::new();
        let held = drain.count();
        assert_eq!(drain.finish(Duration::from_secs(5)).await, 1);
        drain.over().await;
        drop(held);
        assert_eq!(Drain::new().finish(Duration::from_secs(5)).await, 0);
    }

    #[tokio::test]
    async fn a_connection_that_looks_is_woken_at_each_stage_and_not_before() {
        let (drain, woken) = (Drain::new(), Arc::new(AtomicU8::new(0)));
        struct Counts(Arc<AtomicU8>);
        impl std::task::Wake for Counts {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let waker = Waker::from(Arc::new(Counts(Arc::clone(&woken))));
        let mut context = Context::from_waker(&waker);
        let mut stages = Stages::new(&drain);
        for _ in 0..3 {
            assert_eq!(stages.look(&mut context), Stage::Serving);
        }
        assert_eq!(woken.load(Ordering::Relaxed), 0);
        for (stage, count) in [(Stage::Begun, 1), (Stage::Over, 2)] {
            drain.reach(stage);
            assert_eq!(woken.load(Ordering::Relaxed), count);
            assert_eq!(stages.look(&mut context), stage);
        }
    }
}
