//! A server: bind every door, then serve, then drain.

mod accept;
mod alarm;
mod answer;
mod bound;
mod burden;
mod configure;
mod connection;
mod crowd;
mod drain;
mod files;
mod inherited;
mod insistent;
mod keeping;
mod life;
mod listen;
mod noticed;
mod notify;
mod owed;
mod parting;
mod places;
mod reconfigure;
mod signals;
mod socket_file;
mod transport;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use oip_core::content::ContentCodec;
use oip_core::models::Handled;
use oip_core::{Access, Dataplane, ModelHandler, Models};

pub use accept::ConnectionLimits;
pub use bound::BoundServer;
#[cfg(feature = "runtime")]
pub use configure::onnxruntime;
pub use configure::{StartError, bounds};
pub use listen::Place;
pub use notify::Notify;
pub use oip_core::Limits;
pub use oip_core::dataplane::Phase;
pub use oip_core::models::Bounds;
pub use reconfigure::Reconfigure;
pub use signals::{StopSignals, stop_signal};

use crate::config::Settings;
use crate::door::{Door, DoorOptions, Origins};
use crate::logging::LogControl;
use crate::rest;
use crate::telemetry::Telemetry;
use keeping::Keeping;
use listen::{Doors, Kind, Listener};
use transport::Transport;

/// Port of the REST door where none is given.
pub const REST_PORT: u16 = 8082;
/// Port of the gRPC door where none is given.
pub const GRPC_PORT: u16 = 8081;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// It was said neither who may come in nor that everybody may.
    #[error(
        "authentication is on and nothing says how: give the server an Access, or switch \
         authentication off on purpose with Server::without_authentication()"
    )]
    NoAccess,
    /// A place cannot be listened at.
    #[error("cannot listen on {place} for {door}: {source}")]
    Bind {
        /// The place.
        place: Place,
        /// Which door: `REST`, `gRPC` or `REST and gRPC`.
        door: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A socket that was handed over has a name that says nothing.
    #[error(
        "a socket that was handed over is called '{0}': rest, grpc and oip (both doors on one) are \
         known"
    )]
    InheritedName(String),
    /// A Unix socket beside TLS.
    #[error(
        "{0} speaks no TLS, and with tls_cert both doors speak nothing else: give the door an \
         address, or leave TLS to a proxy before it"
    )]
    PlainSocket(Place),
    /// The audit cannot be kept.
    #[cfg(feature = "auth")]
    #[error(transparent)]
    Gates(#[from] crate::gates::GateError),
}

/// A server to be: its models, its gates, its doors and their limits.
///
/// ```no_run
/// use oip::{Call, InferRequest, InferResponse, ModelHandler, Result, Server};
///
/// struct Echo;
///
/// impl ModelHandler for Echo {
///     async fn infer(&self, request: InferRequest, _: &Call) -> Result<InferResponse> {
///         Ok(InferResponse::new(request.inputs))
///     }
/// }
///
/// #[tokio::main]
/// async fn main() -> Result<(), oip::server::ServerError> {
///     // On loopback only, and open to everyone there, as we say so.
///     Server::new(Echo).model("echo").without_authentication().serve().await
/// }
/// ```
pub struct Server {
    models: Box<dyn FnOnce(Vec<String>, Bounds) -> Arc<dyn Models> + Send>,
    names: Vec<String>,
    bounds: Bounds,
    access: Option<Access>,
    #[cfg(feature = "auth")]
    gates: Option<crate::gates::Gates>,
    limits: Limits,
    options: DoorOptions,
    connections: ConnectionLimits,
    transport: Transport,
    codecs: Vec<AddCodec>,
    doors: Doors,
    metrics: Option<SocketAddr>,
    telemetry: Telemetry,
    log: Option<LogControl>,
    /// What the operator is told of when it serves.
    settings: Option<Box<Settings>>,
    delay: Duration,
    grace: Duration,
}

type AddCodec = Box<dyn FnOnce(Dataplane) -> Dataplane + Send>;

impl Server {
    /// A server for a handler of yours. It answers for the names given by [`model`](Self::model),
    /// and for every name when none is given.
    pub fn new(handler: impl ModelHandler) -> Self {
        Self::with(Box::new(move |names, bounds| {
            Arc::new(Handled::new(handler, names).with_bounds(bounds))
        }))
    }

    /// A server for models that come and go by their own rules, such as a repository's.
    pub fn of_models(models: Arc<dyn Models>) -> Self {
        Self::with(Box::new(move |_, _| models))
    }

    fn with(models: Box<dyn FnOnce(Vec<String>, Bounds) -> Arc<dyn Models> + Send>) -> Self {
        Self {
            models,
            names: Vec::new(),
            bounds: Bounds::default(),
            access: None,
            #[cfg(feature = "auth")]
            gates: None,
            limits: Limits::default(),
            options: DoorOptions::default(),
            connections: ConnectionLimits::default(),
            transport: Transport::default(),
            codecs: Vec::new(),
            doors: Doors::of([
                ((Ipv4Addr::LOCALHOST, REST_PORT).into(), Kind::Rest),
                ((Ipv4Addr::LOCALHOST, GRPC_PORT).into(), Kind::Grpc),
            ]),
            metrics: None,
            telemetry: Telemetry::default(),
            log: None,
            settings: None,
            delay: Duration::ZERO,
            grace: Duration::from_secs(30),
        }
    }

    /// Adds a name that the handler answers for; its `model_load` runs at start.
    #[must_use]
    pub fn model(mut self, name: impl Into<String>) -> Self {
        self.names.push(name.into());
        self
    }

    /// Who may come in, and what they may do.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = Some(access);
        self
    }

    /// Who may come in, and what they may do, as the configuration describes it.
    #[cfg(feature = "auth")]
    #[must_use]
    pub fn gates(mut self, gates: crate::gates::Gates) -> Self {
        self.gates = Some(gates);
        self
    }

    /// Both doors speak TLS, and nothing else.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: crate::tls::Tls) -> Self {
        self.transport = Transport::of(tls);
        self
    }

    /// Everyone may do everything.
    #[must_use]
    pub fn without_authentication(self) -> Self {
        self.access(Access::open())
    }

    /// Where the REST door listens; 127.0.0.1:8082. Port 0 lets the system choose.
    #[must_use]
    pub fn rest(mut self, address: impl Into<SocketAddr>) -> Self {
        self.doors.set_address(address.into(), Kind::Rest);
        self
    }

    /// Where the gRPC door listens; 127.0.0.1:8081. Port 0 lets the system choose.
    #[must_use]
    pub fn grpc(mut self, address: impl Into<SocketAddr>) -> Self {
        self.doors.set_address(address.into(), Kind::Grpc);
        self
    }

    /// Serves REST and gRPC on one port.
    #[must_use]
    pub fn one_port(mut self, address: impl Into<SocketAddr>) -> Self {
        self.doors.set_addresses([(address.into(), Kind::Both)]);
        self
    }

    /// Serves REST alone.
    #[must_use]
    pub fn rest_only(mut self, address: impl Into<SocketAddr>) -> Self {
        self.doors.set_addresses([(address.into(), Kind::Rest)]);
        self
    }

    /// The REST door listens at a Unix socket and at no address. The file is made at the start,
    /// for its owner and its group, and goes at the stop; one that nobody listens on is replaced.
    #[must_use]
    pub fn rest_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.doors.set_socket(path.into(), Kind::Rest);
        self
    }

    /// The same for the gRPC door. Where both have the same path, one socket serves both.
    #[must_use]
    pub fn grpc_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.doors.set_socket(path.into(), Kind::Grpc);
        self
    }

    /// The permissions of Unix sockets; 0o660.
    #[must_use]
    pub fn socket_mode(mut self, mode: u32) -> Self {
        self.doors.set_mode(mode);
        self
    }

    /// Serves `/metrics` here and not at the REST door; `None`, the default, for that door.
    #[must_use]
    pub fn metrics(mut self, address: Option<SocketAddr>) -> Self {
        self.metrics = address;
        self
    }

    /// Where traces and payloads go; by default traces that callers ask for go to the log.
    #[must_use]
    pub fn telemetry(mut self, telemetry: Telemetry) -> Self {
        self.telemetry = telemetry;
        self
    }

    /// Lets callers who may do so change what is logged (the extension `logging`).
    #[must_use]
    pub fn logging(mut self, log: LogControl) -> Self {
        self.log = Some(log);
        self
    }

    /// The limits of the pipeline.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What each model of the handler may take.
    #[must_use]
    pub fn bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// The settings of the doors.
    #[must_use]
    pub fn options(mut self, options: DoorOptions) -> Self {
        self.options = options;
        self
    }

    /// The limits of connections.
    #[must_use]
    pub fn connections(mut self, connections: ConnectionLimits) -> Self {
        self.connections = connections;
        self
    }

    /// Adds a content type.
    #[must_use]
    pub fn codec(mut self, codec: impl ContentCodec) -> Self {
        let add: AddCodec = Box::new(move |dataplane| dataplane.with_codec(codec));
        self.codecs.push(add);
        self
    }

    /// On a stop: how long new connections are still taken while readiness is false already
    /// (0 s), and how long what is in flight may take to finish after that (30 s).
    #[must_use]
    pub fn shutdown(mut self, delay: Duration, grace: Duration) -> Self {
        (self.delay, self.grace) = (delay, grace);
        self
    }

    /// The pipeline and the door settings that this builder describes.
    fn door(&mut self) -> Result<(Arc<Door>, Keeping), ServerError> {
        let keeping = self.open_gates()?;
        let access = self.access.take().ok_or(ServerError::NoAccess)?;
        let nothing: Box<dyn FnOnce(Vec<String>, Bounds) -> Arc<dyn Models> + Send> =
            Box::new(|names, _| Arc::new(Handled::new(oip_core::DefaultModelHandler, names)));
        let models = std::mem::replace(&mut self.models, nothing);
        let models = models(std::mem::take(&mut self.names), self.bounds);
        let dataplane = Dataplane::new(models, access, self.limits.clone());
        let codecs = std::mem::take(&mut self.codecs);
        let dataplane = codecs
            .into_iter()
            .fold(dataplane, |dataplane, add| add(dataplane));
        let telemetry = std::mem::take(&mut self.telemetry).with_log(self.log.take());
        let dataplane = dataplane.with_extension("trace");
        let dataplane = match telemetry.has_log() {
            true => dataplane.with_extension("logging"),
            false => dataplane,
        };
        let mut options = self.options.clone();
        options.metrics_elsewhere = self.metrics.is_some();
        let door = Arc::new(Door {
            telemetry: Arc::new(telemetry),
            ..Door::new(Arc::new(dataplane), options)
        });
        Ok((door, keeping))
    }

    #[cfg(feature = "auth")]
    fn open_gates(&mut self) -> Result<Keeping, ServerError> {
        let Some(gates) = self.gates.take() else {
            return Ok(Keeping::default());
        };
        let (access, keeper) = gates.open()?;
        self.access = Some(access);
        Ok(Keeping::of(keeper))
    }

    #[cfg(not(feature = "auth"))]
    fn open_gates(&mut self) -> Result<Keeping, ServerError> {
        Ok(Keeping::default())
    }

    /// The REST routes, to be mounted in an axum application of your own, and the pipeline
    /// behind them, whose [`start`](Dataplane::start) loads the models. Pages of that
    /// application may call the routes, those of others not. TLS is that application's, too.
    ///
    /// # Errors
    /// [`ServerError::NoAccess`] when nothing says who may come in.
    pub fn into_router(mut self) -> Result<(Router, Arc<Dataplane>), ServerError> {
        let (door, keeping) = self.door()?;
        keeping.start();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            door.telemetry.start(&runtime);
        }
        let dataplane = Arc::clone(&door.dataplane);
        let origins = Arc::new(Origins::same_host(&self.options.cors_origins));
        Ok((rest::routes(door, origins), dataplane))
    }

    /// Binds every door. Nothing is served yet, but clients can connect and wait.
    ///
    /// # Errors
    /// [`ServerError`]: a place cannot be listened at, or nothing says who may come in.
    pub async fn bind(mut self) -> Result<BoundServer, ServerError> {
        let (door, keeping) = self.door()?;
        let mut doors = std::mem::take(&mut self.doors);
        if let Some(address) = self.metrics {
            doors.add_metrics(address);
        }
        let listeners = doors.bind().await?;
        let plain = listeners.iter().find_map(|(listener, _)| match listener {
            Listener::Unix(..) => listener.socket(),
            Listener::Tcp(_) => None,
        });
        if let (Some(path), true) = (plain, self.transport.is_tls()) {
            return Err(ServerError::PlainSocket(Place::Socket(path)));
        }
        Ok(BoundServer {
            door,
            keeping,
            listeners,
            reconfigure: None,
            connections: self.connections,
            transport: self.transport,
            settings: self.settings,
            delay: self.delay,
            grace: self.grace,
        })
    }

    /// Binds every door, serves until SIGTERM or SIGINT, and drains.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub async fn serve(self) -> Result<(), ServerError> {
        let bound = self.bind().await?;
        bound.serve(stop_signal()).await;
        Ok(())
    }
}
