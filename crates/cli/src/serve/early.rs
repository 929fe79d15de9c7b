//! Signals that would end the process, and must not, from the first moment on.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Begins to listen to SIGHUP, and has the writing of a file that may grow no further (SIGXFSZ,
/// `ulimit -f`) fail as on a full disk. What has come is kept for whoever listens later.
///
/// # Errors
/// Where signals cannot be listened to.
pub(super) fn listen() -> io::Result<Signal> {
    // They are registered within a runtime, and for the process: they outlive it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let _within = runtime.enter();
    drop(signal(SignalKind::from_raw(nix::libc::SIGXFSZ))?);
    signal(SignalKind::hangup())
}
