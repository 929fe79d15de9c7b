//! The signals that stop a server, or make it read its settings again.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Is done when the process is asked to stop: SIGTERM or SIGINT (Ctrl-C).
///
/// Listening begins when this is called, not when it is first polled, so that no signal is lost
/// in between.
pub fn stop_signal() -> impl Future<Output = ()> {
    let mut signals = StopSignals::listen();
    async move { signals.next().await }
}

/// SIGTERM and SIGINT, one after the other.
pub struct StopSignals(Option<(Signal, Signal)>);

impl StopSignals {
    /// Begins to listen. To be called within tokio's runtime.
    #[must_use]
    pub fn listen() -> Self {
        let terminate = signal(SignalKind::terminate());
        let interrupt = signal(SignalKind::interrupt());
        match (terminate, interrupt) {
            (Ok(terminate), Ok(interrupt)) => Self(Some((terminate, interrupt))),
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(%error, "signals cannot be listened to; stop with SIGKILL");
                Self(None)
            }
        }
    }

    /// Is done at the next one.
    pub async fn next(&mut self) {
        match &mut self.0 {
            Some((terminate, interrupt)) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            None => std::future::pending().await,
        }
    }
}
