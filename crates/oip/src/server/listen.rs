//! Where the doors listen: addresses, Unix sockets, and sockets that were handed over.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::ServerError;
use super::socket_file::SocketFile;

/// Which doors stand behind a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Rest,
    Grpc,
    Both,
    /// `/metrics` alone.
    Metrics,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Rest => "REST",
            Self::Grpc => "gRPC",
            Self::Both => "REST and gRPC",
            Self::Metrics => "metrics",
        }
    }

    /// Whether one of the doors behind `self` is behind `other` too.
    pub(super) fn meets(self, other: Self) -> bool {
        let both = self == Self::Both || other == Self::Both;
        let metrics = self == Self::Metrics || other == Self::Metrics;
        self == other || (both && !metrics)
    }
}

/// A place to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A TCP address.
    Address(SocketAddr),
    /// A Unix socket.
    Socket(PathBuf),
    /// A socket that was handed over at the start, by its place among them.
    Inherited(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
            Self::Inherited(index) => write!(f, "the inherited socket {index}"),
        }
    }
}

/// Where the doors are to listen.
#[derive(Debug, Default)]
pub(super) struct Doors {
    addresses: Vec<(SocketAddr, Kind)>,
    sockets: Vec<(PathBuf, Kind)>,
    mode: Option<u32>,
    inherited: Vec<(Listener, Kind)>,
}

impl Doors {
    pub(super) fn of(addresses: impl Into<Vec<(SocketAddr, Kind)>>) -> Self {
        Self {
            addresses: addresses.into(),
            ..Self::default()
        }
    }

    /// From now on a door is at this address.
    pub(super) fn set_address(&mut self, address: SocketAddr, kind: Kind) {
        let there = self
            .addresses
            .iter()
            .find(|(_, there)| *there == Kind::Both);
        if let Some((both, _)) = there.copied() {
            self.addresses = vec![(both, Kind::Rest), (both, Kind::Grpc)];
        }
        self.addresses.retain(|(_, there)| *there != kind);
        self.addresses.push((address, kind));
        // REST first.
        self.addresses.sort_by_key(|(_, kind)| *kind == Kind::Grpc);
    }

    /// The addresses are these alone.
    pub(super) fn set_addresses(&mut self, addresses: impl Into<Vec<(SocketAddr, Kind)>>) {
        self.addresses = addresses.into();
    }

    /// `/metrics` has an address of its own.
    pub(super) fn add_metrics(&mut self, address: SocketAddr) {
        self.addresses.push((address, Kind::Metrics));
    }

    /// A door is at a Unix socket, and at no address.
    pub(super) fn set_socket(&mut self, path: PathBuf, kind: Kind) {
        match self.sockets.iter_mut().find(|(there, _)| *there == path) {
            Some((_, there)) if *there != kind => *there = Kind::Both,
            Some(_) => {}
            None => self.sockets.push((path, kind)),
        }
    }

    pub(super) fn set_mode(&mut self, mode: u32) {
        self.mode = Some(mode);
    }

    /// A door is at a socket that was handed over, and nowhere else.
    pub(super) fn inherit(&mut self, listener: Listener, kind: Kind) {
        self.inherited.push((listener, kind));
    }

    /// Listens everywhere.
    pub(super) async fn bind(self) -> Result<Vec<(Listener, Kind)>, ServerError> {
        let mut listeners = self.inherited;
        let taken = |listeners: &[(Listener, Kind)], kind: Kind| {
            listeners.iter().any(|(_, there)| there.meets(kind))
        };
        for (path, kind) in self.sockets {
            if taken(&listeners, kind) {
                continue;
            }
            let bound = Listener::at_socket(&path, self.mode.unwrap_or(MODE)).await;
            let place = || Place::Socket(path.clone());
            listeners.push((bound.map_err(failed(place, kind))?, kind));
        }
        for (address, kind) in self.addresses {
            if taken(&listeners, kind) {
                continue;
            }
            let bound = TcpListener::bind(address).await.map(Listener::Tcp);
            let place = || Place::Address(address);
            listeners.push((bound.map_err(failed(place, kind))?, kind));
        }
        Ok(listeners)
    }
}

/// Most connections that are taken when listening ends: what a system lets wait.
const MOST_WAITING: usize = 4096;

/// Permissions of a Unix socket where none are given: its owner and its group.
const MODE: u32 = 0o660;

fn failed(place: impl Fn() -> Place, kind: Kind) -> impl FnOnce(io::Error) -> ServerError {
    move |source| ServerError::Bind {
        place: place(),
        door: kind.name(),
        source,
    }
}

/// A socket that is listened on.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    /// With the file that goes when the server does; `None` for one that was handed over.
    Unix(UnixListener, Option<SocketFile>),
}

/// A connection that was accepted.
pub(super) enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Accepted {
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, peer) => Some(*peer),
            Self::Unix(_) => None,
        }
    }
}

impl Listener {
    async fn at_socket(path: &Path, mode: u32) -> io::Result<Self> {
        let (listener, file) = SocketFile::listen(path, mode).await?;
        Ok(Self::Unix(listener, Some(file)))
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Accepted::Tcp(stream, peer)
            }
            Self::Unix(listener, _) => Accepted::Unix(listener.accept().await?.0),
        })
    }

    /// Ends listening; returns the connections that have come and that nobody has taken. The
    /// system is asked for them, as the runtime may not have heard of them yet.
    pub(super) fn close(self) -> Vec<Accepted> {
        let mut waiting = Vec::new();
        match self {
            Self::Tcp(listener) => {
                let Ok(listener) = listener.into_std() else {
                    return waiting;
                };
                while waiting.len() < MOST_WAITING
                    && let Ok((stream, peer)) = listener.accept()
                {
                    let stream = stream.set_nonblocking(true).map(|()| stream);
                    if let Ok(stream) = stream.and_then(TcpStream::from_std) {
                        waiting.push(Accepted::Tcp(stream, peer));
                    }
                }
            }
            Self::Unix(listener, _file) => {
                let Ok(listener) = listener.into_std() else {
                    return waiting;
                };
                while waiting.len() < MOST_WAITING
                    && let Ok((stream, _)) = listener.accept()
                {
                    let stream = stream.set_nonblocking(true).map(|()| stream);
                    if let Ok(stream) = stream.and_then(UnixStream::from_std) {
                        waiting.push(Accepted::Unix(stream));
                    }
                }
            }
        }
        waiting
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }

    /// The path of a Unix socket.
    pub(super) fn socket(&self) -> Option<PathBuf> {
        match self {
            Self::Tcp(_) => None,
            // The listener itself knows the name that it was made under.
            Self::Unix(_, Some(file)) => Some(file.path().to_owned()),
            Self::Unix(listener, None) => {
                let address = listener.local_addr().ok()?;
                address.as_pathname().map(Path::to_owned)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_or_an_inherited_one_takes_the_place_of_an_address() {
        let folder = tempfile::tempdir().unwrap();
        let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut doors = Doors::of([(free, Kind::Rest), (free, Kind::Grpc)]);
        let path = folder.path().join("rest.sock");
        doors.set_socket(path.clone(), Kind::Rest);
        let listeners = doors.bind().await.unwrap();
        let kinds: Vec<Kind> = listeners.iter().map(|(_, kind)| *kind).collect();
        assert_eq!(kinds, [Kind::Rest, Kind::Grpc]);
        assert_eq!(listeners[0].0.socket(), Some(path));
        assert!(listeners[1].0.address().is_some());

        let inherited = TcpListener::bind(free).await.unwrap();
        let at = inherited.local_addr().unwrap();
        let mut doors = Doors::of([(free, Kind::Rest), (free, Kind::Grpc)]);
        doors.inherit(Listener::Tcp(inherited), Kind::Both);
        let listeners = doors.bind().await.unwrap();
        assert_eq!(listeners.len(), 1);
        assert_eq!(listeners[0].0.address(), Some(at));
    }

    #[tokio::test]
    async fn one_path_for_both_doors_is_one_socket() {
        let folder = tempfile::tempdir().unwrap();
        let mut doors = Doors::default();
        doors.set_socket(folder.path().join("oip.sock"), Kind::Rest);
        doors.set_socket(folder.path().join("oip.sock"), Kind::Grpc);
        let listeners = doors.bind().await.unwrap();
        assert_eq!(listeners.len(), 1);
        assert_eq!(listeners[0].1, Kind::Both);
    }
}
