//! What both doors share: their settings, and what they read from the head of a request before
//! anything else.

pub(crate) mod access_log;
mod arrival;
pub(crate) mod awaited;
mod body;
mod deadline;
mod origin;
pub(crate) mod pace;
mod present;
mod proxies;
mod request_id;
mod served;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Extensions;
use oip_core::Dataplane;
use oip_protocol::DecodeLimits;
use oip_protocol::json::NonFinite;

use crate::config::{AccessLogFormat, ServerTiming};
use crate::telemetry::Telemetry;

pub(crate) use access_log::note_caller;
pub use arrival::arrival;
pub(crate) use arrival::forwarded;
pub(crate) use body::Body;
pub use deadline::{TIMEOUT_HEADER, deadline};
pub use origin::{Origins, refuse_foreign_origin};
pub use present::Present;
pub use proxies::{Network, caller};
pub(crate) use request_id::{identify, show};
pub(crate) use served::{Answering, Served, Serves};

/// The caller's address, which an application leaves in a request's extensions where it mounts
/// the REST door among its own routes.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// The other end of a connection: what is known of it before it has said a word of HTTP.
#[derive(Debug, Clone, Default)]
pub struct Remote {
    /// Its address; none at a Unix socket.
    pub peer: Option<SocketAddr>,
    /// What it showed in the handshake of TLS.
    pub certificate: Option<ClientCertificate>,
}

impl Remote {
    /// As an application says it, by [`Peer`] and [`ClientCertificate`].
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        Self {
            peer: extensions.get::<Peer>().map(|peer| peer.0),
            certificate: extensions.get().cloned(),
        }
    }
}

/// The client certificate that the TLS layer verified. An application that mounts the REST door
/// leaves it in a request's extensions.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    name: Arc<str>,
    not_after: u64,
}

impl ClientCertificate {
    /// The holder's name (empty where the certificate names nobody) and the last second at which
    /// the certificate holds, since 1970.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, not_after: u64) -> Self {
        Self {
            name: name.into(),
            not_after,
        }
    }

    /// The name that is shown as a credential. Empty, which no caller may be named, once the
    /// certificate has expired: a connection may live longer than it.
    #[must_use]
    pub fn shown(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        match now {
            Ok(now) if now.as_secs() <= self.not_after => self.name.to_string(),
            _ => String::new(),
        }
    }
}

/// One server as its doors see it.
pub struct Door {
    /// The pipeline.
    pub dataplane: Arc<Dataplane>,
    /// The settings of both doors.
    pub options: DoorOptions,
    /// What is seen of its requests; one for all doors of a server, whatever its settings become.
    pub telemetry: Arc<Telemetry>,
}

impl Door {
    /// Doors that nothing was seen at yet.
    #[must_use]
    pub fn new(dataplane: Arc<Dataplane>, options: DoorOptions) -> Self {
        Self {
            dataplane,
            options,
            telemetry: Arc::default(),
        }
    }
}

/// Settings of the doors, with the defaults of the contract.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DoorOptions {
    /// Largest body, also after decompression, and largest gRPC message, in bytes: 64 MiB.
    pub body_limit: usize,
    /// Longest that nothing may arrive of a body, or of a gRPC message, that has begun: 30 s.
    pub body_timeout: Duration,
    /// Longest that a body, or a gRPC message, may take to arrive in all: 5 min. That of a call that
    /// is no inference has 5 s at most.
    pub body_time: Duration,
    /// What decoders refuse to take in.
    pub decode: DecodeLimits,
    /// Names, in lower case, of the headers that handlers may see; none.
    pub forward_headers: Vec<String>,
    /// Origins of web pages that may call this server; none but its own.
    pub cors_origins: Vec<String>,
    /// How a float that is not finite is written in a JSON answer: as `null`.
    pub non_finite: NonFinite,
    /// Whether `/docs` is served; true.
    pub docs: bool,
    /// Whether probes (live, ready, `grpc.health.v1`) are decided by the policy; false, they are
    /// open.
    pub probes_by_policy: bool,
    /// Proxies whose `X-Forwarded-For` and `Forwarded` headers are believed; none.
    pub trusted_proxies: Vec<Network>,
    /// The form of the access log, a line for each request on standard error; off.
    pub access_log: AccessLogFormat,
    /// When callers are told how long the rooms of an inference took: when they ask for it.
    pub server_timing: ServerTiming,
    /// Whether `/metrics` is served by an address of its own, and so not by the REST door; false.
    pub metrics_elsewhere: bool,
}

impl Default for DoorOptions {
    fn default() -> Self {
        Self {
            body_limit: 64 << 20,
            body_timeout: Duration::from_secs(30),
            body_time: Duration::from_secs(300),
            decode: DecodeLimits::default(),
            forward_headers: Vec::new(),
            cors_origins: Vec::new(),
            non_finite: NonFinite::Null,
            docs: true,
            probes_by_policy: false,
            trusted_proxies: Vec::new(),
            access_log: AccessLogFormat::Off,
            server_timing: ServerTiming::Request,
            metrics_elsewhere: false,
        }
    }
}
