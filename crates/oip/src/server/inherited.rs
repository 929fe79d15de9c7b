//! Sockets that were handed over at the start (systemd's socket activation).
//!
//! Source: sd_listen_fds(3). `LISTEN_FDS` says how many there are, `LISTEN_FDNAMES` what they are
//! called: `rest`, `grpc`, or `oip` for both doors on one. Without names, one socket is for both
//! doors, and two are for REST and gRPC in this order.

use std::io;

use listenfd::ListenFd;
use tokio::net::{TcpListener, UnixListener};

use super::listen::{Doors, Kind, Listener, Place};
use super::{Server, ServerError};

impl Server {
    /// Takes the sockets that were handed over to this process, by their names (as
    /// `LISTEN_FDNAMES` has them, separated by colons). A door that has one listens nowhere else.
    /// To be called once, within tokio's runtime.
    ///
    /// # Errors
    /// [`ServerError`]: one of them listens to nothing, or has a name that means nothing here.
    pub fn inherit(mut self, names: Option<&str>) -> Result<Self, ServerError> {
        let mut given = ListenFd::from_env();
        let count = given.len();
        let names: Vec<&str> = names
            .map(|names| names.split(':').collect())
            .unwrap_or_default();
        for index in 0..count {
            let kind = kind(names.get(index).copied(), index, count)?;
            let listener = take(&mut given, index).map_err(|source| ServerError::Bind {
                place: Place::Inherited(index),
                door: kind.name(),
                source,
            })?;
            Doors::inherit(&mut self.doors, listener, kind);
        }
        Ok(self)
    }
}

fn take(given: &mut ListenFd, index: usize) -> io::Result<Listener> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    match given.take_tcp_listener(index) {
        Ok(listener) => {
            let listener = listener.ok_or_else(gone)?;
            listener.set_nonblocking(true)?;
            Ok(Listener::Tcp(TcpListener::from_std(listener)?))
        }
        Err(_) => {
            let listener = given.take_unix_listener(index)?.ok_or_else(gone)?;
            listener.set_nonblocking(true)?;
            Ok(Listener::Unix(UnixListener::from_std(listener)?, None))
        }
    }
}

/// Which doors a socket is for. systemd calls one that has no name of its own by its unit
/// (`oip.socket`) or `unknown`.
fn kind(name: Option<&str>, index: usize, count: usize) -> Result<Kind, ServerError> {
    match (name, index, count) {
        (Some("rest"), ..) => Ok(Kind::Rest),
        (Some("grpc"), ..) => Ok(Kind::Grpc),
        (Some("oip"), ..) | (_, 0, 1) => Ok(Kind::Both),
        (None | Some("" | "unknown" | "oip.socket"), 0, 2) => Ok(Kind::Rest),
        (None | Some("" | "unknown" | "oip.socket"), 1, 2) => Ok(Kind::Grpc),
        (name, ..) => Err(ServerError::InheritedName(name.unwrap_or("").to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inherited_socket_is_for_the_door_of_its_name_or_place() {
        for (name, index, count, expected) in [
            (Some("grpc"), 0, 2, Some(Kind::Grpc)),
            (Some("rest"), 1, 2, Some(Kind::Rest)),
            (Some("oip"), 0, 3, Some(Kind::Both)),
            (None, 0, 1, Some(Kind::Both)),
            (Some("unknown"), 0, 2, Some(Kind::Rest)),
            (Some("oip.socket"), 1, 2, Some(Kind::Grpc)),
            (Some("web"), 0, 2, None),
            (None, 2, 3, None),
        ] {
            assert_eq!(kind(name, index, count).ok(), expected, "{name:?}");
        }
    }
}
