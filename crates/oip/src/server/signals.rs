//! The signals that stop a server, or make it read its settings again.

use std::io;
use std::sync::mpsc::SyncSender;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Is done when the process is asked to stop: SIGTERM or SIGINT (Ctrl-C).
///
/// Listening begins when this is called, not when it is first polled, so that no signal is lost
/// in between.
pub fn stop_signal() -> impl Future<Output = ()> {
    let mut signals = StopSignals::listen();
    async move { signals.next().await }
}

/// SIGTERM and SIGINT, one after the other. A thread of its own listens, so that they come through
/// where every thread that serves is held up.
pub struct StopSignals(Option<UnboundedReceiver<()>>);

impl StopSignals {
    /// Begins to listen.
    #[must_use]
    pub fn listen() -> Self {
        let (tell, told) = unbounded_channel();
        let (ready, listens) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("oip-signals".to_owned());
        let thread = thread.spawn(move || run(&tell, &ready));
        let began = thread.and_then(|_| listens.recv().unwrap_or(Ok(())));
        match began {
            Ok(()) => Self(Some(told)),
            Err(error) => {
                tracing::error!(%error, "signals cannot be listened to; stop with SIGKILL");
                Self(None)
            }
        }
    }

    /// Is done at the next one.
    pub async fn next(&mut self) {
        let next = match &mut self.0 {
            Some(told) => told.recv().await,
            None => None,
        };
        if next.is_none() {
            std::future::pending().await
        }
    }
}

/// Says whether it can listen, and listens until nobody wants to be told any more.
fn run(tell: &UnboundedSender<()>, ready: &SyncSender<io::Result<()>>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let began = runtime.enable_io().build().and_then(|runtime| {
        // They are registered where they are made: within a runtime.
        let within = runtime.enter();
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        drop(within);
        Ok((runtime, terminate, interrupt))
    });
    let (listening, said) = match began {
        Ok(listening) => (Some(listening), Ok(())),
        Err(error) => (None, Err(error)),
    };
    // Whoever began this waits for the word.
    let _ = ready.send(said);
    let Some((runtime, mut terminate, mut interrupt)) = listening else {
        return;
    };
    runtime.block_on(async {
        while tokio::select! {
            _ = terminate.recv() => tell.send(()).is_ok(),
            _ = interrupt.recv() => tell.send(()).is_ok(),
            () = tell.closed() => false,
        } {}
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn signals_come_one_after_the_other_without_the_help_of_those_who_wait() {
        let mut signals = StopSignals::listen();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        for _ in 0..2 {
            let kill = std::process::Command::new("kill")
                .args(["-INT", &std::process::id().to_string()])
                .status();
            assert!(kill.unwrap().success());
            let next = async {
                tokio::time::timeout(Duration::from_secs(10), signals.next())
                    .await
                    .unwrap();
            };
            runtime.block_on(next);
        }
    }
}
