//! A server: bind every door, then serve, then drain.

mod accept;
mod configure;
mod drain;
mod keeping;
mod reconfigure;
mod signals;
mod transport;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use oip_core::content::ContentCodec;
use oip_core::models::Handled;
use oip_core::{Access, Dataplane, Limits, ModelHandler, Models};
use tokio::net::TcpListener;

pub use accept::ConnectionLimits;
pub use configure::StartError;
#[cfg(feature = "runtime")]
pub use configure::onnxruntime;
pub use oip_core::dataplane::Phase;
pub use reconfigure::Reconfigure;
pub use signals::stop_signal;

use crate::door::access_log::AccessLog;
use crate::door::{Door, DoorOptions, Origins};
use crate::rest;
use keeping::Keeping;
use reconfigure::Frame;
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
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for {door}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Which door: `REST`, `gRPC` or `REST and gRPC`.
        door: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
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
    models: Box<dyn FnOnce(Vec<String>) -> Arc<dyn Models> + Send>,
    names: Vec<String>,
    access: Option<Access>,
    #[cfg(feature = "auth")]
    gates: Option<crate::gates::Gates>,
    limits: Limits,
    options: DoorOptions,
    connections: ConnectionLimits,
    transport: Transport,
    codecs: Vec<AddCodec>,
    doors: Doors,
    delay: Duration,
    grace: Duration,
}

type AddCodec = Box<dyn FnOnce(Dataplane) -> Dataplane + Send>;

#[derive(Clone, Copy)]
enum Doors {
    Two { rest: SocketAddr, grpc: SocketAddr },
    One(SocketAddr),
    Rest(SocketAddr),
}

impl Server {
    /// A server for a handler of yours. It answers for the names given by [`model`](Self::model),
    /// and for every name when none is given.
    pub fn new(handler: impl ModelHandler) -> Self {
        Self::with(Box::new(move |names| {
            Arc::new(Handled::new(handler, names))
        }))
    }

    /// A server for models that come and go by their own rules, such as a repository's.
    pub fn of_models(models: Arc<dyn Models>) -> Self {
        Self::with(Box::new(move |_| models))
    }

    fn with(models: Box<dyn FnOnce(Vec<String>) -> Arc<dyn Models> + Send>) -> Self {
        Self {
            models,
            names: Vec::new(),
            access: None,
            #[cfg(feature = "auth")]
            gates: None,
            limits: Limits::default(),
            options: DoorOptions::default(),
            connections: ConnectionLimits::default(),
            transport: Transport::default(),
            codecs: Vec::new(),
            doors: Doors::Two {
                rest: (Ipv4Addr::LOCALHOST, REST_PORT).into(),
                grpc: (Ipv4Addr::LOCALHOST, GRPC_PORT).into(),
            },
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
        let (_, grpc) = self.doors.addresses();
        let rest = address.into();
        self.doors = Doors::Two { rest, grpc };
        self
    }

    /// Where the gRPC door listens; 127.0.0.1:8081. Port 0 lets the system choose.
    #[must_use]
    pub fn grpc(mut self, address: impl Into<SocketAddr>) -> Self {
        let (rest, _) = self.doors.addresses();
        let grpc = address.into();
        self.doors = Doors::Two { rest, grpc };
        self
    }

    /// Serves REST and gRPC on one port.
    #[must_use]
    pub fn one_port(mut self, address: impl Into<SocketAddr>) -> Self {
        self.doors = Doors::One(address.into());
        self
    }

    /// Serves REST alone.
    #[must_use]
    pub fn rest_only(mut self, address: impl Into<SocketAddr>) -> Self {
        self.doors = Doors::Rest(address.into());
        self
    }

    /// The limits of the pipeline.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
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
        let nothing: Box<dyn FnOnce(Vec<String>) -> Arc<dyn Models> + Send> =
            Box::new(|names| Arc::new(Handled::new(oip_core::DefaultModelHandler, names)));
        let models = std::mem::replace(&mut self.models, nothing);
        let models = models(std::mem::take(&mut self.names));
        let dataplane = Dataplane::new(models, access, self.limits.clone());
        let codecs = std::mem::take(&mut self.codecs);
        let dataplane = codecs
            .into_iter()
            .fold(dataplane, |dataplane, add| add(dataplane));
        let door = Arc::new(Door {
            dataplane: Arc::new(dataplane),
            options: self.options.clone(),
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
        let dataplane = Arc::clone(&door.dataplane);
        let origins = Arc::new(Origins::same_host(&self.options.cors_origins));
        Ok((rest::routes(door, origins), dataplane))
    }

    /// Binds every door. Nothing is served yet, but clients can connect and wait.
    ///
    /// # Errors
    /// [`ServerError`]: an address cannot be listened on, or nothing says who may come in.
    pub async fn bind(mut self) -> Result<BoundServer, ServerError> {
        let (door, keeping) = self.door()?;
        let mut listeners = Vec::new();
        for (address, kind) in self.doors.listen() {
            let listener = TcpListener::bind(address).await;
            let listener = listener.map_err(|source| ServerError::Bind {
                address,
                door: kind.name(),
                source,
            })?;
            listeners.push((listener, kind));
        }
        Ok(BoundServer {
            door,
            keeping,
            listeners,
            reconfigure: None,
            connections: self.connections,
            transport: self.transport,
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

/// Which doors stand behind a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rest,
    Grpc,
    Both,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Rest => "REST",
            Self::Grpc => "gRPC",
            Self::Both => "REST and gRPC",
        }
    }
}

impl Doors {
    fn addresses(self) -> (SocketAddr, SocketAddr) {
        match self {
            Self::Two { rest, grpc } => (rest, grpc),
            Self::One(address) | Self::Rest(address) => (address, address),
        }
    }

    fn listen(self) -> Vec<(SocketAddr, Kind)> {
        match self {
            Self::Two { rest, grpc } => vec![(rest, Kind::Rest), (grpc, Kind::Grpc)],
            Self::One(address) => vec![(address, Kind::Both)],
            Self::Rest(address) => vec![(address, Kind::Rest)],
        }
    }
}

/// A server whose doors are bound.
pub struct BoundServer {
    door: Arc<Door>,
    keeping: Keeping,
    listeners: Vec<(TcpListener, Kind)>,
    reconfigure: Option<Reconfigure>,
    connections: ConnectionLimits,
    transport: Transport,
    delay: Duration,
    grace: Duration,
}

impl BoundServer {
    /// Makes this a server whose settings can change while it serves.
    pub fn reconfigurable(&mut self) -> Reconfigure {
        let reconfigure = self
            .reconfigure
            .get_or_insert_with(|| Reconfigure::of(&self.door));
        reconfigure.clone()
    }

    fn address(&self, wanted: Kind) -> Option<SocketAddr> {
        self.listeners
            .iter()
            .find(|(_, kind)| *kind == wanted || *kind == Kind::Both)
            .and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// Where the REST door listens.
    #[must_use]
    pub fn rest_address(&self) -> Option<SocketAddr> {
        self.address(Kind::Rest)
    }

    /// Where the gRPC door listens.
    #[must_use]
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        self.address(Kind::Grpc)
    }

    /// The pipeline behind the doors.
    #[must_use]
    pub fn dataplane(&self) -> &Arc<Dataplane> {
        &self.door.dataplane
    }

    /// Serves until `stop` is done, then drains: readiness turns false, new connections are
    /// taken for the delay and then refused, what is in flight is answered within the grace.
    /// Models are loaded meanwhile; the server is ready when they are.
    ///
    /// Returns how many connections had to be cut when the grace ran out.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> usize {
        let own: Vec<SocketAddr> = [self.rest_address(), self.grpc_address()]
            .into_iter()
            .flatten()
            .collect();
        let options = &self.door.options;
        let log = AccessLog::start(options.access_log, &options.trusted_proxies);
        let frame = Frame {
            own,
            scheme: self.transport.scheme(),
            log: log.clone(),
        };
        let mut doors = frame.doors(&self.door);
        if let Some(reconfigure) = self.reconfigure {
            doors = reconfigure.around(frame, doors);
        }
        self.keeping.start();
        let drain = drain::Drain::new();
        self.transport.start(&drain);
        let accepting = accept::Accepting::new(self.connections, self.transport, drain.clone());
        for (listener, kind) in self.listeners {
            accepting.spawn(listener, kind, doors.clone());
        }
        let dataplane = Arc::clone(&self.door.dataplane);
        let starting = tokio::spawn(async move { dataplane.start().await });
        stop.await;
        self.door.dataplane.drain();
        tracing::info!("stopping: not ready any more");
        tokio::time::sleep(self.delay).await;
        starting.abort();
        let cut = drain.finish(self.grace).await;
        match cut {
            0 => tracing::info!("stopped: everything in flight was answered"),
            cut => tracing::warn!(connections = cut, "stopped: the grace ran out"),
        }
        self.keeping.close().await;
        if let Some(log) = log {
            log.close().await;
        }
        cut
    }
}
