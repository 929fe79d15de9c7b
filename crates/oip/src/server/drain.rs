//! Finishing what is in flight.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Tells every accept loop and connection that the server stops, and waits for the connections.
#[derive(Debug, Clone)]
pub(super) struct Drain {
    begun: CancellationToken,
    over: CancellationToken,
    connections: TaskTracker,
}

impl Drain {
    pub(super) fn new() -> Self {
        Self {
            begun: CancellationToken::new(),
            over: CancellationToken::new(),
            connections: TaskTracker::new(),
        }
    }

    /// Counts a connection while what is returned is held.
    pub(super) fn count(&self) -> TaskTrackerToken {
        self.connections.token()
    }

    /// Is done when the server takes no new connections and connections should end after what
    /// they have in flight.
    pub(super) async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Is done when the grace has run out and connections are cut.
    pub(super) async fn over(&self) {
        self.over.cancelled().await;
    }

    /// Stops accepting and waits up to `grace` for the connections; those left are cut. Returns
    /// how many.
    pub(super) async fn finish(&self, grace: Duration) -> usize {
        self.begun.cancel();
        self.connections.close();
        let left = match tokio::time::timeout(grace, self.connections.wait()).await {
            Ok(()) => 0,
            Err(_) => self.connections.len(),
        };
        self.over.cancel();
        left
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
}
