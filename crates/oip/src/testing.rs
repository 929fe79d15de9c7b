//! For tests of handlers: the pipeline without a network, and a whole server on free ports.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use oip_core::access::{Access, Arrival};
use oip_core::{Dataplane, ModelHandler};
use oip_protocol::{InferRequest, InferResponse, ModelMetadata, ModelRef, Result};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::Server;
use crate::server::ServerError;

/// A handler behind the whole pipeline (checks, content types, panics), and no network.
///
/// The handler answers for every name, and whoever asks may.
pub async fn client(handler: impl ModelHandler) -> InProcess {
    let dataplane = Dataplane::of_handler(handler, Access::open());
    dataplane.start().await;
    InProcess {
        dataplane: Arc::new(dataplane),
    }
}

/// Asks a pipeline without a network.
#[derive(Clone)]
pub struct InProcess {
    dataplane: Arc<Dataplane>,
}

impl InProcess {
    /// Runs a model.
    ///
    /// # Errors
    /// What a caller of the server would be told.
    pub async fn infer(
        &self,
        model: impl Into<String>,
        request: InferRequest,
    ) -> Result<InferResponse> {
        let caller = self.dataplane.authenticate(Arrival::default()).await?;
        let model = ModelRef::new(model);
        let permit = self.dataplane.authorize_model(&caller, model).await?;
        self.dataplane.infer(permit, request, None).await
    }

    /// What a model declares.
    ///
    /// # Errors
    /// What a caller of the server would be told.
    pub async fn metadata(&self, model: impl Into<String>) -> Result<ModelMetadata> {
        let caller = self.dataplane.authenticate(Arrival::default()).await?;
        let model = ModelRef::new(model);
        let permit = self.dataplane.authorize_model(&caller, model).await?;
        self.dataplane.model_metadata(permit).await
    }

    /// The pipeline itself.
    #[must_use]
    pub fn dataplane(&self) -> &Arc<Dataplane> {
        &self.dataplane
    }
}

/// A whole server on free ports of loopback, stopped when it is dropped.
pub struct TestServer {
    rest: SocketAddr,
    grpc: SocketAddr,
    dataplane: Arc<Dataplane>,
    stop: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<usize>>,
}

impl TestServer {
    /// Starts a server on free ports, whatever addresses it was given, and waits until its
    /// models are loaded.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub async fn start(server: Server) -> Result<Self, ServerError> {
        let free = (Ipv4Addr::LOCALHOST, 0);
        Self::start_bound(server.rest(free).grpc(free)).await
    }

    /// Starts a server that serves both doors on one free port.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub async fn start_on_one_port(server: Server) -> Result<Self, ServerError> {
        Self::start_bound(server.one_port((Ipv4Addr::LOCALHOST, 0))).await
    }

    async fn start_bound(server: Server) -> Result<Self, ServerError> {
        let bound = server.bind().await?;
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (stop, stopped) = oneshot::channel();
        let (rest, grpc) = (bound.rest_address(), bound.grpc_address());
        let dataplane = Arc::clone(bound.dataplane());
        let served = tokio::spawn(bound.serve(async move {
            // An error means that the test is over, which is a stop too.
            let _ = stopped.await;
        }));
        while dataplane.phase() == oip_core::dataplane::Phase::Starting {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        Ok(Self {
            rest: rest.unwrap_or(nowhere),
            grpc: grpc.unwrap_or(nowhere),
            dataplane,
            stop: Some(stop),
            served: Some(served),
        })
    }

    /// Where the REST door listens.
    #[must_use]
    pub fn rest_address(&self) -> SocketAddr {
        self.rest
    }

    /// Where the gRPC door listens.
    #[must_use]
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc
    }

    /// The pipeline behind the doors.
    #[must_use]
    pub fn dataplane(&self) -> &Arc<Dataplane> {
        &self.dataplane
    }

    /// Stops as SIGTERM does and waits; returns how many connections had to be cut.
    pub async fn stop(mut self) -> usize {
        drop(self.stop.take());
        match self.served.take() {
            Some(served) => served.await.unwrap_or(0),
            None => 0,
        }
    }
}
