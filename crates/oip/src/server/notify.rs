//! Telling the service manager where the server stands.
//!
//! Source: sd_notify(3): a datagram of lines to the socket that `NOTIFY_SOCKET` names.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Tells the service manager, where there is one.
#[derive(Debug, Clone, Default)]
pub struct Notify(Option<Arc<Manager>>);

#[derive(Debug)]
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    /// Whether it was told that the server stops: what comes later must not say otherwise.
    stopping: Mutex<bool>,
}

impl Notify {
    /// `socket` is a path, or a name that begins with `@`; `None` where nobody wants to know.
    #[must_use]
    pub fn new(socket: Option<&OsStr>) -> Self {
        let Some(socket) = socket else {
            return Self::default();
        };
        match open(socket) {
            Ok(manager) => Self(Some(Arc::new(manager))),
            Err(error) => {
                tracing::warn!(%error, "the service manager is not told anything");
                Self::default()
            }
        }
    }

    fn tell(&self, state: &str) {
        if let Some(manager) = &self.0 {
            manager.tell(state);
        }
    }

    /// The same unless the server stops; `stops` says whether that is what is told.
    fn tell_stage(&self, state: &str, stops: bool) {
        let Some(manager) = &self.0 else {
            return;
        };
        let stopping = manager.stopping.lock();
        let mut stopping = stopping.unwrap_or_else(PoisonError::into_inner);
        if !*stopping {
            *stopping = stops;
            manager.tell(state);
        }
    }

    /// Every model that should be there from the start was tried.
    pub fn ready(&self) {
        self.tell_stage("READY=1\nSTATUS=serving", false);
    }

    /// The server stops. Nothing but that it is alive is told after this.
    pub fn stopping(&self) {
        self.tell_stage("STOPPING=1\nSTATUS=finishing what is in flight", true);
    }

    /// Settings are read again. `now` is the monotonic clock, in microseconds. To be followed by
    /// [`ready`](Self::ready).
    pub fn reloading(&self, now: u64) {
        self.tell_stage(&format!("RELOADING=1\nMONOTONIC_USEC={now}"), false);
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

impl Manager {
    fn tell(&self, state: &str) {
        let told = self.socket.send_to_addr(state.as_bytes(), &self.address);
        if let Err(error) = told {
            tracing::debug!(%error, "the service manager was not told");
        }
    }
}

fn open(name: &OsStr) -> io::Result<Manager> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that reads nothing must not stop the server.
    socket.set_nonblocking(true)?;
    Ok(Manager {
        socket,
        address,
        stopping: Mutex::new(false),
    })
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
        notify.ready();
        notify.reloading(18);
        manager.set_nonblocking(true).unwrap();
        assert!(
            manager.recv(&mut [0; 256]).is_err(),
            "told that it is ready"
        );
        Notify::new(None).ready();
        Notify::new(Some(OsStr::new("/nowhere/at/all"))).ready();
    }
}
