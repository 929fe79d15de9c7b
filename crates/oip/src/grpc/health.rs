//! `grpc.health.v1`: the server's readiness, as load balancers and orchestrators ask for it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use oip_core::BoxFuture;
use oip_core::dataplane::Phase;
use oip_protocol::Error;
use oip_protocol::error::excerpt;
use tonic::codegen::tokio_stream::Stream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::generated::grpc_inference_service_server::SERVICE_NAME;
use super::{methods, respond};
use crate::door::Door;

/// Longest that a watcher waits for a change.
const EVERY: Duration = Duration::from_millis(500);
/// Largest request: the name of a service.
const REQUEST: usize = 64 << 10;

/// The health service.
pub(super) fn service(door: &Arc<Door>) -> HealthServer<impl Health> {
    let health = Readiness(Arc::clone(door));
    HealthServer::new(health).max_decoding_message_size(REQUEST)
}

#[derive(Clone)]
struct Readiness(Arc<Door>);

impl Readiness {
    /// Whether a service can take requests; the empty name stands for the server.
    async fn of(&self, service: &str) -> ServingStatus {
        let known = ["", SERVICE_NAME, methods::ORIGINAL_NAME, methods::HEALTH];
        if !known.contains(&service) {
            return ServingStatus::ServiceUnknown;
        }
        match self.0.dataplane.ready().await {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        }
    }

    /// The next status that differs from the one told last; none when the server stops.
    async fn changed(&self, service: &str, told: Option<ServingStatus>) -> Option<ServingStatus> {
        loop {
            let status = self.of(service).await;
            if told != Some(status) {
                return Some(status);
            }
            if self.is_closing() {
                return None;
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    fn is_closing(&self) -> bool {
        self.0.dataplane.phase() == Phase::Closing
    }
}

type Watched = std::pin::Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Health for Readiness {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        match self.of(&service).await {
            ServingStatus::ServiceUnknown => Err(respond::status(&Error::not_found(format!(
                "there is no service '{}' here",
                excerpt(&service)
            )))),
            status => Ok(Response::new(answer(status))),
        }
    }

    type WatchStream = Watched;

    /// Tells each change. A drain is told too, and then the stream ends, so that it does not
    /// hold up the stop.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Watched>, Status> {
        let (health, service) = (self.clone(), request.into_inner().service);
        let told = stream::unfold(Some((health, service, None)), next);
        Ok(Response::new(Box::pin(told)))
    }
}

type Watch = Option<(Readiness, String, Option<ServingStatus>)>;

/// One change, and the watch as it goes on.
fn next(watch: Watch) -> BoxFuture<'static, Option<(Result<HealthCheckResponse, Status>, Watch)>> {
    Box::pin(async move {
        let (health, service, told) = watch?;
        match health.changed(&service, told).await {
            Some(status) => {
                let watch = Some((health, service, Some(status)));
                Some((Ok(answer(status)), watch))
            }
            None => {
                let error = Error::unavailable("the server is shutting down");
                Some((Err(respond::status(&error)), None))
            }
        }
    })
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}
