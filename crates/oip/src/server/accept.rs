//! The one accept loop behind both doors.
//!
//! It is hyper's, not tonic's own server: that one enforces `grpc-timeout` by itself and answers
//! it with the wrong code.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use oip_core::execute::Memory;
use oip_protocol::Limit;

use super::burden::Burden;
use super::connection::{Connection, Doors};
use super::drain::Drain;
use super::files;
use super::insistent::Insistent;
use super::life::Life;
use super::listen::{Accepted, Kind, Listener};
use super::places::{FOR_METRICS, Found, Places, SPARE, Seating};
use super::reconfigure::Pair;
use super::transport::Transport;
use crate::door::Remote;
use crate::telemetry::Connections;

/// Limits of connections, before any request is read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionLimits {
    /// Most connections at once, of both doors together; 10,000. For a further one, the one that
    /// has rested longest is closed; where none rests, 64 further ones are answered that there is
    /// no place, but for probes and `/metrics`, and those beyond them wait.
    pub connections: usize,
    /// Largest head of a request (names and values of its headers, and its path), in bytes;
    /// 64 KiB. A larger one is refused with 431, and so is one of more than 100 headers.
    pub header_bytes: usize,
    /// Longest that a head may take to arrive, the first one with the handshake of TLS before it;
    /// 30 s. Then the connection is closed.
    pub header_timeout: Duration,
    /// Longest that the other end may take nothing of what is written, with HTTP/2 of any one
    /// answer; 30 s. Then the connection is closed.
    pub write_timeout: Duration,
    /// Longest that a connection stays without a request; 75 s.
    pub idle: Duration,
    /// Age at which a connection is asked to end (`GOAWAY`, `Connection: close`), so that clients
    /// spread anew; one hour. What is in flight has as long again, then it is cut. `None`: never.
    pub age: Option<Duration>,
    /// How often a quiet HTTP/2 connection is asked whether its other end is still there; every
    /// 60 s. `None`: never. Without an answer in 20 s it is closed.
    pub keep_alive: Option<Duration>,
    /// Most requests at once on one HTTP/2 connection; 256.
    pub streams: u32,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            header_bytes: 64 << 10,
            header_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            idle: Duration::from_secs(75),
            age: Some(Duration::from_secs(3600)),
            keep_alive: Some(Duration::from_secs(60)),
            streams: 256,
        }
    }
}

impl ConnectionLimits {
    /// How often a connection is looked at, at least: what has begun meanwhile is noticed late by
    /// that much.
    pub(super) fn patience(&self) -> Duration {
        const LEAST: Duration = Duration::from_millis(20);
        let shortest = self.header_timeout.min(self.write_timeout).min(self.idle);
        (shortest / 4).max(LEAST)
    }
}

/// HTTP/2 flow control: what one stream, and one connection, may send ahead of being read. A
/// whole tensor of a few megabytes fits, so that its sender does not wait for updates.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Longest frame of HTTP/2. A connection keeps a buffer of the longest that has come, also while it
/// rests: what docs/reliability.md says of its memory follows from this.
const FRAME: u32 = 256 << 10;
/// Least that HTTP/1 may read ahead, which is what a connection keeps of it while it rests. With
/// 80 KiB large binary bodies take half more of CPU time, with 256 KiB a fifth.
const READ_AHEAD: usize = 400 << 10;

/// How much more of a head is read than what is allowed (with HTTP/2 than twice that), in bytes:
/// enough for what each header counts besides its name and value.
const HEAD_BEYOND: usize = 16 << 10;

/// How long the other end of a quiet HTTP/2 connection may take to answer, at most.
const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(20);

/// How long the loop rests after a failed accept (out of file descriptors, say).
const REST_AFTER_FAULT: Duration = Duration::from_millis(50);

/// What every accept loop of a server shares.
pub(super) struct Accepting {
    limits: Arc<ConnectionLimits>,
    seating: Seating,
    transport: Transport,
    drain: Drain,
    /// Of those who watch: they see the other one to its end.
    last: Drain,
    counted: Arc<Connections>,
    /// Of which answers hold a part until they are sent.
    memory: Memory,
}

impl Accepting {
    pub(super) fn new(
        limits: ConnectionLimits,
        transport: Transport,
        drain: Drain,
        last: Drain,
        counted: Arc<Connections>,
        memory: Memory,
    ) -> Self {
        counted.allow(limits.connections);
        let places = Places::new(limits.connections);
        let spare = Places::new(SPARE.min(limits.connections));
        Self {
            seating: Seating::new(places, Some(spare)),
            limits: Arc::new(limits),
            transport,
            drain,
            last,
            counted,
            memory,
        }
    }

    /// Accepts connections in a task of its own until the drain begins, those that have come by
    /// then included.
    pub(super) fn spawn(&self, listener: Listener, kind: Kind, pair: Pair) {
        let (seating, drain) = match kind {
            // Who watches sees a server that is full.
            Kind::Metrics => (Seating::new(Places::new(FOR_METRICS), None), &self.last),
            Kind::Rest | Kind::Grpc | Kind::Both => (self.seating.clone(), &self.drain),
        };
        let entrance = Entrance {
            kind,
            pair,
            builder: Arc::new(builder(&self.limits)),
            limits: Arc::clone(&self.limits),
            seating,
            transport: self.transport.clone(),
            drain: drain.clone(),
            counted: Arc::clone(&self.counted),
            memory: self.memory.clone(),
        };
        let counted = drain.count_listener();
        tokio::spawn(async move {
            let mut waits = None;
            tokio::select! {
                () = entrance.accept(&listener, &mut waits) => {}
                () = entrance.drain.closed() => {}
            }
            // A client that has a connection thinks that it is served.
            for accepted in waits.into_iter().chain(listener.close()) {
                let Some(found) = entrance.seating.try_find() else {
                    break;
                };
                entrance.begin(accepted, found);
            }
            drop(counted);
        });
    }
}

/// Where connections to one listener come in.
struct Entrance {
    kind: Kind,
    pair: Pair,
    builder: Arc<auto::Builder<TokioExecutor>>,
    limits: Arc<ConnectionLimits>,
    seating: Seating,
    transport: Transport,
    drain: Drain,
    counted: Arc<Connections>,
    memory: Memory,
}

impl Entrance {
    /// Accepts connections. The one that has no place yet `waits`, and all behind it in the
    /// system's backlog.
    async fn accept(&self, listener: &Listener, waits: &mut Option<Accepted>) {
        loop {
            match listener.accept().await {
                Ok(accepted) => {
                    *waits = Some(accepted);
                    let Some(found) = self.seating.find().await else {
                        return;
                    };
                    if let Some(accepted) = waits.take() {
                        self.begin(accepted, found);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    if files::are_exhausted(&error) {
                        Limit::OpenFiles.reached();
                        self.seating.make_room();
                    }
                    tokio::time::sleep(REST_AFTER_FAULT).await;
                }
            }
        }
    }

    /// Serves a connection in a task of its own: a handshake that takes its time holds nobody
    /// else up.
    fn begin(&self, accepted: Accepted, found: Found) {
        let burden = Burden::of(self.memory.clone());
        let life = Arc::new(Life::beside(Arc::clone(&self.limits), burden));
        let (seat, spare) = self.seating.seat(found, &life);
        let doors = Doors {
            kind: self.kind,
            pair: self.pair.clone(),
            remote: Arc::new(Remote {
                peer: accepted.peer(),
                certificate: None,
            }),
            limits: Arc::clone(&self.limits),
            life,
            spare,
        };
        let connection = Connection {
            builder: Arc::clone(&self.builder),
            doors,
            drain: self.drain.clone(),
        };
        let (transport, counted) = (self.transport.clone(), self.drain.count());
        let open = self.counted.begin();
        tokio::spawn(async move {
            match accepted {
                Accepted::Tcp(stream, peer) => {
                    // Answers are written whole; waiting to fill a segment only delays them.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "cannot set TCP_NODELAY");
                    }
                    transport.serve(stream, peer, connection, &open).await;
                }
                Accepted::Unix(stream) => {
                    let life = Arc::clone(&connection.doors.life);
                    connection.serve(Insistent::new(stream, life)).await;
                }
            }
            drop((seat, open, counted));
        });
    }
}

/// How much HTTP/1 reads ahead at most: a whole head, and so much more that one over its limit
/// is refused in our words.
fn read_ahead(limits: &ConnectionLimits) -> usize {
    let head = limits.header_bytes.saturating_add(HEAD_BEYOND);
    head.max(READ_AHEAD)
}

pub(super) fn builder(limits: &ConnectionLimits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Not `pipeline_flush`: with it hyper copies every answer's body into its own buffer, and an
    // answer is held back while anything stands unread behind its request, and is lost when that
    // can never be read (a malformed chunk).
    builder
        .http1()
        .timer(TokioTimer::new())
        .max_buf_size(read_ahead(limits))
        // `Life` tells the time that a head takes from the time that a connection rests.
        .header_read_timeout(None);
    // Above our own limit, which has our words; beyond this h2 refuses by itself.
    let head = limits
        .header_bytes
        .saturating_mul(2)
        .saturating_add(HEAD_BEYOND);
    let head = u32::try_from(head).unwrap_or(u32::MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.keep_alive)
        .keep_alive_timeout(limits.keep_alive.unwrap_or_default().min(KEEP_ALIVE_ANSWER))
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(head)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME);
    builder
}
