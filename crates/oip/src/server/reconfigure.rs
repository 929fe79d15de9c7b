//! Settings that change while the server runs (`reload`).
//!
//! The doors do not know of it: around them stands one that is replaced as a whole, so a request
//! sees either the old settings or the new ones, and a server that watches nothing pays nothing.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwapOption;
use axum::Router;
use axum::body::Body;
use axum::routing::future::RouteFuture;
use http::Request;
use tower::Service;

use super::configure;
use crate::config::Settings;
use crate::door::access_log::AccessLog;
use crate::door::{Door, DoorOptions, Origins};
use crate::{grpc, rest};

/// The doors under one set of settings.
#[derive(Clone)]
pub(super) struct Routers {
    pub(super) rest: Router,
    pub(super) grpc: Router,
}

/// Where the doors of a server listen, and what they have in common whatever the settings.
pub(super) struct Frame {
    pub(super) own: Vec<SocketAddr>,
    pub(super) scheme: &'static str,
    pub(super) log: Option<AccessLog>,
}

impl Frame {
    pub(super) fn routers(&self, door: &Arc<Door>) -> Routers {
        let allowed = &door.options.cors_origins;
        let origins = Arc::new(Origins::new(&self.own, allowed, self.scheme));
        let rest = rest::router(Arc::clone(door), Arc::clone(&origins));
        let grpc = grpc::routes(Arc::clone(door), origins);
        match &self.log {
            None => Routers { rest, grpc },
            Some(log) => Routers {
                rest: log.around("rest", rest),
                grpc: log.around("grpc", grpc),
            },
        }
    }
}

/// Gives a running server other settings, as far as they can change without a restart.
#[derive(Clone)]
pub struct Reconfigure {
    door: Arc<Door>,
    running: Arc<ArcSwapOption<(Frame, Routers)>>,
}

impl Reconfigure {
    pub(super) fn of(door: &Arc<Door>) -> Self {
        Self {
            door: Arc::clone(door),
            running: Arc::default(),
        }
    }

    /// Applies what can change: the options that the table calls hot. Requests that are under way
    /// keep what they began with. Before the server serves, nothing is applied.
    pub fn apply(&self, settings: &Settings) {
        let Some(running) = self.running.load_full() else {
            return;
        };
        let options = DoorOptions {
            // Decided once, at the start.
            access_log: self.door.options.access_log,
            probes_by_policy: self.door.options.probes_by_policy,
            ..configure::options(settings)
        };
        let dataplane = Arc::clone(&self.door.dataplane);
        dataplane.set_request_timeout(settings.request_timeout);
        let (frame, _) = &*running;
        let frame = Frame {
            own: frame.own.clone(),
            scheme: frame.scheme,
            log: frame
                .log
                .as_ref()
                .map(|log| log.trusting(&options.trusted_proxies)),
        };
        let routers = frame.routers(&Arc::new(Door { dataplane, options }));
        self.running.store(Some(Arc::new((frame, routers))));
    }

    /// Doors that change when settings are applied.
    pub(super) fn around(&self, frame: Frame, routers: Routers) -> Routers {
        self.running.store(Some(Arc::new((frame, routers.clone()))));
        let changing = |pick: fn(&Routers) -> &Router, first| {
            let running = Arc::clone(&self.running);
            Router::new().fallback_service(Changing {
                running,
                pick,
                first,
            })
        };
        Routers {
            rest: changing(|routers| &routers.rest, routers.rest),
            grpc: changing(|routers| &routers.grpc, routers.grpc),
        }
    }
}

/// One door, whichever is in force when a request arrives.
#[derive(Clone)]
struct Changing {
    running: Arc<ArcSwapOption<(Frame, Routers)>>,
    pick: fn(&Routers) -> &Router,
    first: Router,
}

impl Service<Request<Body>> for Changing {
    type Response = axum::response::Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let running = self.running.load();
        let mut door = match running.as_deref() {
            Some((_, routers)) => (self.pick)(routers).clone(),
            None => self.first.clone(),
        };
        door.call(request)
    }
}
