//! Where the doors listen: addresses, ports and Unix sockets, and which of them exclude each other.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Entry;
use super::error::ConfigError;
use super::reader::Reader;
use super::settings::unfit;

/// Where the doors listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// REST and gRPC, each on its own address.
    Two {
        /// The REST door.
        rest: SocketAddr,
        /// The gRPC door.
        grpc: SocketAddr,
    },
    /// Both on one.
    One(SocketAddr),
    /// REST alone.
    RestOnly(SocketAddr),
}

impl Listen {
    /// The address of the REST door.
    #[must_use]
    pub const fn rest(self) -> SocketAddr {
        match self {
            Self::Two { rest, .. } => rest,
            Self::One(address) | Self::RestOnly(address) => address,
        }
    }
}

/// The Unix sockets of the doors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sockets {
    /// Of the REST door.
    pub rest: Option<PathBuf>,
    /// Of the gRPC door.
    pub grpc: Option<PathBuf>,
    /// Their permissions.
    pub mode: u32,
}

impl Default for Sockets {
    fn default() -> Self {
        Self {
            rest: None,
            grpc: None,
            mode: 0o660,
        }
    }
}

impl Sockets {
    pub(super) fn new(read: &Reader<'_>) -> Result<Self, ConfigError> {
        let (rest, grpc) = (read.path("rest_socket"), read.path("grpc_socket"));
        let given = [("rest_socket", &rest), ("grpc_socket", &grpc)];
        let given = given.iter().find(|(_, path)| path.is_some());
        let port = read.entry("port");
        if let (Some((key, _)), true) = (given, port.is_given()) {
            return Err(ConfigError::Conflict {
                sentence: format!(
                    "port ({}) is one port for both doors and does not go with {key} ({})",
                    port.origin,
                    read.entry(key).origin
                ),
                keys: &["port", "rest_socket", "grpc_socket"],
            });
        }
        let mode = read.text("socket_mode").unwrap_or_default();
        let octal = u32::from_str_radix(&mode, 8).ok();
        let Some(mode) = octal.filter(|mode| *mode <= 0o777) else {
            let allowed = "permissions in octal, such as 660";
            return Err(unfit(read, "socket_mode", &mode, allowed));
        };
        Ok(Self { rest, grpc, mode })
    }
}

/// What says where the doors listen.
const PORTS: &[&str] = &[
    "port",
    "rest_port",
    "grpc_port",
    "rest_host",
    "grpc_host",
    "grpc",
];

/// The ports of one door each.
const SINGLE: [&str; 2] = ["rest_port", "grpc_port"];

/// The port of one door that was given at a stronger level than `port`, which then counts for
/// nothing.
pub(super) fn overruling_port<'a>(read: &Reader<'a>) -> Option<&'a Entry> {
    let port = read.entry("port");
    let mut singles = SINGLE.map(|key| read.entry(key)).into_iter();
    singles.find(|single| port.is_given() && single.origin.level() > port.origin.level())
}

/// `port` against `rest_port` and `grpc_port`: what was given at the stronger level counts.
pub(super) fn listen(read: &Reader<'_>) -> Result<Listen, ConfigError> {
    let rest = SocketAddr::new(read.address("rest_host"), read.port("rest_port"));
    let grpc = SocketAddr::new(read.address("grpc_host"), read.port("grpc_port"));
    let port = read.entry("port");
    let two = match read.bool("grpc") {
        true => Listen::Two { rest, grpc },
        false => Listen::RestOnly(rest),
    };
    if port.is_given() && overruling_port(read).is_none() {
        for single in SINGLE.map(|key| read.entry(key)) {
            if single.origin.level() == port.origin.level() {
                return Err(ConfigError::Conflict {
                    sentence: format!(
                        "port ({}) is one port for both doors and does not go with {} ({})",
                        port.origin, single.option.key, single.origin
                    ),
                    keys: PORTS,
                });
            }
        }
        let address = SocketAddr::new(rest.ip(), read.port("port"));
        return Ok(match read.bool("grpc") {
            true => Listen::One(address),
            false => Listen::RestOnly(address),
        });
    }
    refuse_one_port_twice(read, two)
}

fn refuse_one_port_twice(read: &Reader<'_>, listen: Listen) -> Result<Listen, ConfigError> {
    match listen {
        Listen::Two { rest, grpc } if rest == grpc && rest.port() != 0 => {
            let origins = ["rest_port", "grpc_port"].map(|key| &read.entry(key).origin);
            let port = read.entry("rest_port").shown();
            Err(ConfigError::Conflict {
                sentence: format!(
                    "rest_port ({}) and grpc_port ({}) are both {}: port = {} serves both on one \
                     port",
                    origins[0], origins[1], port, port
                ),
                keys: PORTS,
            })
        }
        listen => Ok(listen),
    }
}
