//! The signals that stop a server.

/// Is done when the process is asked to stop: SIGTERM or SIGINT (Ctrl-C).
///
/// Listening begins when this is called, not when it is first polled, so that no signal is lost
/// in between.
pub fn stop_signal() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = signal(SignalKind::terminate());
    let interrupt = signal(SignalKind::interrupt());
    async move {
        match (terminate, interrupt) {
            (Ok(mut terminate), Ok(mut interrupt)) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(%error, "signals cannot be listened to; stop with SIGKILL");
                std::future::pending::<()>().await;
            }
        }
    }
}
