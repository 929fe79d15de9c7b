//! Telling the service manager where the server stands.
//!
//! Source: sd_notify(3): a datagram of lines to the socket that `NOTIFY_SOCKET` names.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// Tells the service manager, where there is one.
#[derive(Debug, Clone, Default)]
pub struct Notify(Option<Arc<(UnixDatagram, SocketAddr)>>);

impl Notify {
    /// `socket` is a path, or a name that begins with `@`; `None` where nobody wants to know.
    #[must_use]
    pub fn new(socket: Option<&OsStr>) -> Self {
        let Some(socket) = socket else {
            return Self::default();
        };
        match open(socket) {
            Ok(open) => Self(Some(Arc::new(open))),
            Err(error) => {
                tracing::warn!(%error, "the service manager is not told anything");
                Self::default()
            }
        }
    }

    fn tell(&self, state: &str) {
        let Some((socket, address)) = self.0.as_deref() else {
            return;
        };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            tracing::debug!(%error, "the service manager was not told");
        }
    }

    /// Every model that should be there from the start was tried.
    pub fn ready(&self) {
        self.tell("READY=1\nSTATUS=serving");
    }

    /// The server stops.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=finishing what is in flight");
    }

    /// Settings are read again. `now` is the monotonic clock, in microseconds. To be followed by
    /// [`ready`](Self::ready).
    pub fn reloading(&self, now: u64) {
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
    }

    /// Says that the server is alive twice in every `interval`, for as long as the task runs.
    pub async fn alive_every(self, interval: Duration) {
        let mut ticks = tokio::time::interval((interval / 2).max(Duration::from_millis(10)));
        loop {
            ticks.tick().await;
            self.tell("WATCHDOG=1");
        }
    }
}

fn open(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that reads nothing must not stop the server.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_manager_is_told_in_its_words_and_nobody_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notify = Notify::new(Some(path.as_os_str()));
        let read = || {
            let mut buffer = [0; 256];
            let length = manager.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        notify.ready();
        assert!(read().starts_with("READY=1\n"));
        notify.reloading(17);
        assert_eq!(read(), "RELOADING=1\nMONOTONIC_USEC=17");
        notify.stopping();
        assert!(read().starts_with("STOPPING=1\n"));
        Notify::new(None).ready();
        Notify::new(Some(OsStr::new("/nowhere/at/all"))).ready();
    }
}
