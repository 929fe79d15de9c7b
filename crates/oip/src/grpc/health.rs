//! `grpc.health.v1`: the server's readiness, as load balancers and orchestrators ask for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream;
use oip_core::BoxFuture;
use oip_core::dataplane::Phase;
use oip_protocol::Error;
use oip_protocol::error::excerpt;
use tokio::sync::watch;
use tonic::codegen::tokio_stream::Stream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::generated::grpc_inference_service_server::SERVICE_NAME;
use super::{methods, respond};
use crate::door::Door;

/// How often the readiness is looked at for those who watch it.
const EVERY: Duration = Duration::from_millis(500);
/// Largest request: the name of a service.
const REQUEST: usize = 64 << 10;

/// The health service.
pub(super) fn service(door: &Arc<Door>) -> HealthServer<impl Health> {
    let health = Readiness {
        door: Arc::clone(door),
        lookout: Arc::new(Lookout::new()),
    };
    HealthServer::new(health).max_decoding_message_size(REQUEST)
}

#[derive(Clone)]
struct Readiness {
    door: Arc<Door>,
    lookout: Arc<Lookout>,
}

impl Readiness {
    /// Whether a service can take requests; the empty name stands for the server.
    async fn of(&self, service: &str) -> ServingStatus {
        if !is_known(service) {
            return ServingStatus::ServiceUnknown;
        }
        match self.door.dataplane.ready().await {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        }
    }
}

fn is_known(service: &str) -> bool {
    ["", SERVICE_NAME, methods::ORIGINAL_NAME, methods::HEALTH].contains(&service)
}

/// What was seen of the server last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    Ready,
    NotReady,
    /// It stops.
    Closing,
}

/// Looks for all who watch: once for however many there are, and not at all for nobody.
struct Lookout {
    seen: watch::Sender<Seen>,
    /// Whether a task looks.
    looks: Mutex<bool>,
}

impl Lookout {
    fn new() -> Self {
        Self {
            seen: watch::Sender::new(Seen::Nothing),
            looks: Mutex::new(false),
        }
    }

    /// One more who watches.
    fn join(self: &Arc<Self>, door: &Arc<Door>) -> watch::Receiver<Seen> {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = self.seen.subscribe();
        if !std::mem::replace(&mut *looks, true) {
            let (lookout, door) = (Arc::clone(self), Arc::clone(door));
            tokio::spawn(async move { lookout.look(&door).await });
        }
        seen
    }

    async fn look(&self, door: &Door) {
        while !self.is_left() {
            // A model that does not say whether it is ready must not hide that the server stops.
            let ready = tokio::time::timeout(EVERY, door.dataplane.ready()).await;
            let now = match (door.dataplane.phase(), ready) {
                (Phase::Closing, _) => Seen::Closing,
                (_, Ok(true)) => Seen::Ready,
                (_, Ok(false) | Err(_)) => Seen::NotReady,
            };
            self.seen
                .send_if_modified(|seen| std::mem::replace(seen, now) != now);
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Whether nobody watches any more. The next one begins anew.
    fn is_left(&self) -> bool {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        *looks = self.seen.receiver_count() > 0;
        if !*looks {
            self.seen.send_replace(Seen::Nothing);
        }
        !*looks
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
        let watch = Watch {
            service: request.into_inner().service,
            seen: self.lookout.join(&self.door),
            _lookout: Arc::clone(&self.lookout),
            told: None,
        };
        Ok(Response::new(Box::pin(stream::unfold(Some(watch), next))))
    }
}

/// One who watches.
struct Watch {
    service: String,
    seen: watch::Receiver<Seen>,
    /// Says nothing any more once it is dropped.
    _lookout: Arc<Lookout>,
    told: Option<ServingStatus>,
}

impl Watch {
    /// The next status that differs from the one told last; none when the server stops.
    async fn changed(&mut self) -> Option<ServingStatus> {
        loop {
            let seen = *self.seen.borrow_and_update();
            let status = match seen {
                Seen::Nothing => None,
                _ if !is_known(&self.service) => Some(ServingStatus::ServiceUnknown),
                Seen::Ready => Some(ServingStatus::Serving),
                Seen::NotReady | Seen::Closing => Some(ServingStatus::NotServing),
            };
            if status.is_some() && status != self.told {
                self.told = status;
                return status;
            }
            if seen == Seen::Closing || self.seen.changed().await.is_err() {
                return None;
            }
        }
    }
}

/// One change, and the watch as it goes on.
type Change = Option<(Result<HealthCheckResponse, Status>, Option<Watch>)>;

fn next(watch: Option<Watch>) -> BoxFuture<'static, Change> {
    Box::pin(async move {
        let mut watch = watch?;
        match watch.changed().await {
            Some(status) => Some((Ok(answer(status)), Some(watch))),
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use oip_core::models::Handled;
    use oip_core::{Access, Dataplane, DefaultModelHandler, Limits, ModelHandler};
    use oip_protocol::ModelRef;

    use super::*;
    use crate::door::DoorOptions;

    async fn door() -> Arc<Door> {
        let dataplane = Dataplane::of_handler(DefaultModelHandler, Access::open());
        dataplane.start().await;
        Arc::new(Door::new(Arc::new(dataplane), DoorOptions::default()))
    }

    fn watch(lookout: &Arc<Lookout>, door: &Arc<Door>) -> Watch {
        Watch {
            service: String::new(),
            seen: lookout.join(door),
            _lookout: Arc::clone(lookout),
            told: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_task_looks_for_all_who_watch_and_ends_with_the_last() {
        let (door, lookout) = (door().await, Arc::new(Lookout::new()));
        let before = tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks();
        let mut watching: Vec<_> = (0..100).map(|_| watch(&lookout, &door)).collect();
        for one in &mut watching {
            assert_eq!(one.changed().await, Some(ServingStatus::Serving));
        }
        let tasks = || {
            tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks()
        };
        assert_eq!(tasks(), before + 1);
        door.dataplane.drain();
        for one in &mut watching {
            assert_eq!(one.changed().await, Some(ServingStatus::NotServing));
        }
        watching.clear();
        tokio::time::sleep(EVERY * 2).await;
        assert_eq!(tasks(), before);
        // Whoever comes later is told what is so then.
        let mut late = watch(&lookout, &door);
        assert_eq!(late.changed().await, Some(ServingStatus::NotServing));
        door.dataplane.close();
        assert_eq!(late.changed().await, None);
    }

    /// Panics when it is asked whether it is ready, until it is well.
    struct Unwell(Arc<AtomicBool>);

    impl ModelHandler for Unwell {
        async fn model_ready(&self, _: &ModelRef) -> oip_protocol::Result<bool> {
            assert!(self.0.load(Relaxed), "as it was told to");
            Ok(true)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_model_that_panics_when_it_is_asked_ends_no_watch() {
        let well = Arc::new(AtomicBool::new(false));
        let models = Handled::new(Unwell(Arc::clone(&well)), ["m"]);
        let dataplane = Dataplane::new(Arc::new(models), Access::open(), Limits::default());
        dataplane.start().await;
        let door = Arc::new(Door::new(Arc::new(dataplane), DoorOptions::default()));
        let lookout = Arc::new(Lookout::new());
        let mut watching = watch(&lookout, &door);
        for status in [ServingStatus::NotServing, ServingStatus::Serving] {
            let changed = tokio::time::timeout(EVERY * 10, watching.changed()).await;
            assert_eq!(changed, Ok(Some(status)));
            well.store(true, Relaxed);
        }
    }
}
