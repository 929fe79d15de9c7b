//! A server whose doors are bound: it serves, and then it drains.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use oip_core::Dataplane;

use super::keeping::Keeping;
use super::listen::{Kind, Listener};
use super::reconfigure::{Frame, Reconfigure};
use super::transport::Transport;
use super::{ConnectionLimits, accept, drain, files};
use crate::config::{Reach, Settings};
use crate::door::Door;
use crate::door::access_log::AccessLog;
use crate::rest;
use crate::telemetry::Telemetry;

/// Longest that models may take to be unloaded at the end.
const UNLOAD: Duration = Duration::from_secs(3);

/// Longest that the audit, the logs, traces and payloads may take to be written and sent at the
/// end.
const FLUSHED: Duration = Duration::from_secs(5);

/// Longest that who reads the metrics as everything ends may take.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// A server whose doors are bound.
pub struct BoundServer {
    pub(super) door: Arc<Door>,
    pub(super) keeping: Keeping,
    pub(super) listeners: Vec<(Listener, Kind)>,
    pub(super) reconfigure: Option<Reconfigure>,
    pub(super) connections: ConnectionLimits,
    pub(super) transport: Transport,
    /// Those it was configured by.
    pub(super) settings: Option<Box<Settings>>,
    pub(super) delay: Duration,
    pub(super) grace: Duration,
}

impl BoundServer {
    /// Makes this a server whose settings can change while it serves.
    pub fn reconfigurable(&mut self) -> Reconfigure {
        let reconfigure = self
            .reconfigure
            .get_or_insert_with(|| Reconfigure::of(&self.door, self.keeping.reopener()));
        reconfigure.clone()
    }

    fn address(&self, wanted: Kind) -> Option<SocketAddr> {
        self.listeners
            .iter()
            .find(|(_, kind)| kind.meets(wanted))
            .and_then(|(listener, _)| listener.address())
    }

    fn socket(&self, wanted: Kind) -> Option<PathBuf> {
        let mut there = self.listeners.iter();
        let there = there.find(|(_, kind)| kind.meets(wanted));
        there.and_then(|(listener, _)| listener.socket())
    }

    /// The Unix socket of the REST door, where it has one.
    #[must_use]
    pub fn rest_socket(&self) -> Option<PathBuf> {
        self.socket(Kind::Rest)
    }

    /// The Unix socket of the gRPC door, where it has one.
    #[must_use]
    pub fn grpc_socket(&self) -> Option<PathBuf> {
        self.socket(Kind::Grpc)
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

    /// Where `/metrics` is served, when that is not the REST door.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.address(Kind::Metrics)
    }

    /// What of this server can be reached from beyond this machine, by the addresses that are
    /// listened at, inherited ones included.
    #[must_use]
    pub fn reach(&self) -> Reach {
        let at = |metrics: bool| {
            let listeners = self.listeners.iter();
            let those = listeners.filter(move |(_, kind)| (*kind == Kind::Metrics) == metrics);
            those.filter_map(|(listener, _)| listener.address())
        };
        Reach::of(at(false), at(true))
    }

    /// Logs what the settings open ([`Settings::concerns`]), where the server was configured by any.
    fn warn(&self) {
        let Some(settings) = &self.settings else {
            return;
        };
        for concern in settings.concerns(self.reach()) {
            tracing::warn!("{concern}");
        }
    }

    /// The pipeline behind the doors.
    #[must_use]
    pub fn dataplane(&self) -> &Arc<Dataplane> {
        &self.door.dataplane
    }

    /// Serves until `stop` is done, then drains: readiness turns false, new connections are
    /// taken for the delay and then refused, what is in flight is answered within the grace,
    /// what the audit and the logs hold is written, and the models are unloaded.
    /// Models are loaded meanwhile; the server is ready when they are.
    ///
    /// Returns how many connections had to be cut when the grace ran out.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> usize {
        self.warn();
        let own: Vec<SocketAddr> = [self.rest_address(), self.grpc_address()]
            .into_iter()
            .flatten()
            .collect();
        let options = &self.door.options;
        let log = AccessLog::start(options.access_log, &options.trusted_proxies);
        let frame = Frame {
            own,
            scheme: self.transport.scheme(),
            log,
        };
        let metrics = rest::metrics_door(Arc::clone(&self.door));
        let mut doors = frame.doors(&self.door);
        if let Some(reconfigure) = self.reconfigure {
            doors = reconfigure.around(frame, doors);
        }
        self.keeping.start();
        let runtime = tokio::runtime::Handle::current();
        self.door.telemetry.start(&runtime);
        let (drain, last) = (drain::Drain::new(), drain::Drain::new());
        self.transport.start(&drain);
        let mut connections = self.connections;
        connections.connections = files::make_room_for(connections.connections);
        let accepting = accept::Accepting::new(
            connections,
            self.transport,
            drain.clone(),
            last.clone(),
            Arc::clone(&self.door.telemetry.connections),
            self.door.dataplane.memory().clone(),
        );
        for (listener, kind) in self.listeners {
            let mut doors = doors.clone();
            if kind == Kind::Metrics {
                doors.rest = metrics.clone();
            }
            accepting.spawn(listener, kind, doors);
        }
        let dataplane = Arc::clone(&self.door.dataplane);
        let starting = tokio::spawn({
            let dataplane = Arc::clone(&dataplane);
            async move { dataplane.start().await }
        });
        stop.await;
        dataplane.drain();
        tracing::info!("stopping: not ready any more");
        tokio::time::sleep(self.delay).await;
        starting.abort();
        dataplane.close();
        let cut = drain.finish(self.grace).await;
        match cut {
            0 => tracing::info!("stopped: everything in flight was answered"),
            cut => tracing::warn!(connections = cut, "stopped: the grace ran out"),
        }
        tokio::join!(
            flush(Arc::clone(&self.door.telemetry), self.keeping),
            last.finish(LAST_LOOK),
        );
        if tokio::time::timeout(UNLOAD, dataplane.stop())
            .await
            .is_err()
        {
            tracing::warn!("models were still being unloaded at the end");
        }
        // Whoever reads the log may hold it up. A panic in it is logged by its own thread.
        let _ = tokio::task::spawn_blocking(crate::logging::flush).await;
        cut
    }
}

/// Has everything written and sent that waits, side by side: what holds one of them up takes no
/// time of the others, and none takes longer than [`FLUSHED`].
async fn flush(telemetry: Arc<Telemetry>, keeping: Keeping) {
    let audit = async {
        if tokio::time::timeout(FLUSHED, keeping.close())
            .await
            .is_err()
        {
            tracing::error!("the audit was not written to its end: its last lines may be missing");
        }
    };
    // It blocks, for no longer than that, and tells nobody: there is nowhere to say so.
    let log = tokio::task::spawn_blocking(crate::logging::flush);
    let _ = tokio::join!(audit, log, telemetry.close(FLUSHED));
}
