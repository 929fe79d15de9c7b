//! Settings that change while the server runs (`reload`).
//!
//! The doors do not know of it: around them stands one that is replaced as a whole, so a request
//! sees either the old settings or the new ones, and a server that watches nothing pays nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::Request;

use super::configure;
use super::keeping::Reopen;
use crate::config::Settings;
use crate::door::access_log::AccessLog;
use crate::door::{Answering, Body, Door, DoorOptions, Origins, Remote, Served, Serves};
use crate::{grpc, rest};

/// The doors under one set of settings.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) rest: Served,
    pub(super) grpc: Served,
}

/// Where the doors of a server listen, and what they have in common whatever the settings.
pub(super) struct Frame {
    pub(super) own: Vec<SocketAddr>,
    pub(super) scheme: &'static str,
    pub(super) log: Option<AccessLog>,
}

impl Frame {
    pub(super) fn doors(&self, door: &Arc<Door>) -> Pair {
        let allowed = &door.options.cors_origins;
        let origins = Arc::new(Origins::new(&self.own, allowed, self.scheme));
        let rest = rest::door(Arc::clone(door), Arc::clone(&origins));
        let grpc = grpc::door(Arc::clone(door), origins);
        match &self.log {
            None => Pair { rest, grpc },
            Some(log) => Pair {
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
    running: Arc<ArcSwapOption<(Frame, Pair)>>,
    audit: Option<Reopen>,
}

impl Reconfigure {
    pub(super) fn of(door: &Arc<Door>, audit: Option<Reopen>) -> Self {
        Self {
            door: Arc::clone(door),
            audit,
            running: Arc::default(),
        }
    }

    /// Applies what can change: the options that the table calls hot. Requests that are under way
    /// keep what they began with. Before the server serves, nothing is applied.
    pub fn apply(&self, settings: &Settings) {
        let Some(running) = self.running.load_full() else {
            return;
        };
        if let Some(concern) = settings.every_proxy() {
            tracing::warn!("{concern}");
        }
        let options = DoorOptions {
            // Decided once, at the start.
            access_log: self.door.options.access_log,
            metrics_elsewhere: self.door.options.metrics_elsewhere,
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
        let doors = frame.doors(&Arc::new(Door {
            dataplane,
            options,
            telemetry: Arc::clone(&self.door.telemetry),
        }));
        self.running.store(Some(Arc::new((frame, doors))));
    }

    /// Has what is written to files go on in new ones, where they were moved away (by logrotate,
    /// say): the audit and the payloads. Blocks: call it off the async threads.
    pub fn reopen_files(&self) {
        self.door.telemetry.reopen();
        if let Some(audit) = &self.audit {
            audit();
        }
    }

    /// Doors that change when settings are applied.
    pub(super) fn around(&self, frame: Frame, doors: Pair) -> Pair {
        self.running.store(Some(Arc::new((frame, doors.clone()))));
        let changing = |pick: fn(&Pair) -> &Served, first| {
            let running = Arc::clone(&self.running);
            Served::new(Changing {
                running,
                pick,
                first,
            })
        };
        Pair {
            rest: changing(|doors| &doors.rest, doors.rest),
            grpc: changing(|doors| &doors.grpc, doors.grpc),
        }
    }
}

/// One door, whichever is in force when a request arrives.
struct Changing {
    running: Arc<ArcSwapOption<(Frame, Pair)>>,
    pick: fn(&Pair) -> &Served,
    first: Served,
}

impl Serves for Changing {
    fn answer(&self, request: Request<Body>, remote: Arc<Remote>) -> Answering {
        let running = self.running.load();
        match running.as_deref() {
            Some((_, doors)) => (self.pick)(doors).answer(request, remote),
            None => self.first.answer(request, remote),
        }
    }
}
