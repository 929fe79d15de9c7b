//! The one accept loop behind both doors.
//!
//! It is hyper's, not tonic's own server: that one enforces `grpc-timeout` by itself and answers
//! it with the wrong code.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Kind;
use super::drain::{Drain, Stage, Stages};
use super::reconfigure::Pair;
use super::transport::Transport;
use crate::door::{Answering, ClientCertificate, Peer};
use crate::rest;

/// Limits of connections, before any request is read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionLimits {
    /// Most connections at once, of both doors together; 10,000. Further ones wait in the
    /// system's backlog.
    pub connections: usize,
    /// Largest head of a request (names and values of its headers, and its path), in bytes;
    /// 64 KiB. A larger one is refused with 431.
    pub header_bytes: usize,
    /// Longest that a head may take to arrive; 30 s. Then the connection is closed.
    pub header_timeout: Duration,
    /// Most requests at once on one HTTP/2 connection; 256.
    pub streams: u32,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            header_bytes: 64 << 10,
            header_timeout: Duration::from_secs(30),
            streams: 256,
        }
    }
}

/// HTTP/2 flow control: what one stream, and one connection, may send ahead of being read. A
/// whole tensor of a few megabytes fits, so that its sender does not wait for updates.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
const FRAME: u32 = 1 << 20;

/// How long the loop rests after a failed accept (out of file descriptors, say).
const REST_AFTER_FAULT: Duration = Duration::from_millis(50);

/// What every accept loop of a server shares.
pub(super) struct Accepting {
    limits: Arc<ConnectionLimits>,
    connections: Arc<Semaphore>,
    transport: Transport,
    drain: Drain,
}

impl Accepting {
    pub(super) fn new(limits: ConnectionLimits, transport: Transport, drain: Drain) -> Self {
        let most = limits.connections.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            connections: Arc::new(Semaphore::new(most)),
            limits: Arc::new(limits),
            transport,
            drain,
        }
    }

    /// Accepts connections in a task of its own until the drain begins.
    pub(super) fn spawn(&self, listener: TcpListener, kind: Kind, pair: Pair) {
        let limits = Arc::clone(&self.limits);
        let connections = Arc::clone(&self.connections);
        let (transport, drain) = (self.transport.clone(), self.drain.clone());
        let builder = Arc::new(builder(&limits));
        tokio::spawn(async move {
            let accept = async {
                loop {
                    // A place first: a connection that has none is not taken from the backlog.
                    let Ok(place) = Arc::clone(&connections).acquire_owned().await else {
                        return;
                    };
                    let (stream, peer) = match listener.accept().await {
                        Ok(accepted) => accepted,
                        Err(error) => {
                            tracing::warn!(%error, "accept failed");
                            tokio::time::sleep(REST_AFTER_FAULT).await;
                            continue;
                        }
                    };
                    let doors = Doors {
                        kind,
                        pair: pair.clone(),
                        peer,
                        certificate: None,
                        limits: Arc::clone(&limits),
                        asked: Arc::new(AtomicBool::new(false)),
                    };
                    let connection = Connection {
                        builder: Arc::clone(&builder),
                        doors,
                        drain: drain.clone(),
                    };
                    let (transport, counted) = (transport.clone(), drain.count());
                    // A handshake that takes its time holds nobody else up.
                    tokio::spawn(async move {
                        // Answers are written whole; waiting to fill a segment only delays them.
                        if let Err(error) = stream.set_nodelay(true) {
                            tracing::debug!(%error, "cannot set TCP_NODELAY");
                        }
                        transport.serve(stream, connection).await;
                        drop((place, counted));
                    });
                }
            };
            tokio::select! {
                () = accept => {}
                () = drain.begun() => {}
            }
        });
    }
}

fn builder(limits: &ConnectionLimits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Without pipeline_flush: with it an answer is held back while anything stands unread behind
    // its request, and is lost when that can never be read (a malformed chunk).
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout);
    // Not `pipeline_flush`: with it hyper copies every answer's body into its own buffer.
    let head = u32::try_from(limits.header_bytes).unwrap_or(u32::MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(head)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME);
    builder
}

/// One connection that was accepted.
pub(super) struct Connection {
    builder: Arc<auto::Builder<TokioExecutor>>,
    pub(super) doors: Doors,
    pub(super) drain: Drain,
}

impl Connection {
    /// Serves it from its first byte of HTTP to its last.
    pub(super) async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        serve(&self.builder, stream, self.doors, self.drain).await;
    }
}

async fn serve(
    builder: &auto::Builder<TokioExecutor>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    doors: Doors,
    drain: Drain,
) {
    let (asked, patience) = (Arc::clone(&doors.asked), doors.limits.header_timeout);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), doors));
    // hyper's own time-out begins when it knows the HTTP version; a caller that sends less than
    // that must not stay either.
    let mut silence = pin!(tokio::time::sleep(patience));
    let mut stages = Stages::new(&drain);
    let (mut draining, mut patient) = (false, false);
    let ended = poll_fn(|context| {
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                return Poll::Ready(Some(ended));
            }
            match stages.look(context) {
                Stage::Over => return Poll::Ready(None),
                Stage::Begun if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                    continue;
                }
                Stage::Begun | Stage::Serving => {}
            }
            patient = patient || asked.load(Relaxed);
            if !patient && silence.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            return Poll::Pending;
        }
    });
    if let Some(Err(error)) = ended.await {
        tracing::debug!(%error, "connection ended");
    }
}

/// The doors as one connection sees them.
pub(super) struct Doors {
    kind: Kind,
    pair: Pair,
    pub(super) peer: SocketAddr,
    /// What the caller showed in the handshake, verified.
    pub(super) certificate: Option<ClientCertificate>,
    pub(super) limits: Arc<ConnectionLimits>,
    /// Whether the connection has brought a whole head yet.
    asked: Arc<AtomicBool>,
}

impl Doors {
    fn is_grpc(&self, headers: &HeaderMap) -> bool {
        match self.kind {
            Kind::Rest => false,
            Kind::Grpc => true,
            Kind::Both => headers
                .get(http::header::CONTENT_TYPE)
                .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc")),
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Doors {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        if !self.asked.load(Relaxed) {
            self.asked.store(true, Relaxed);
        }
        if head_bytes(&request) > self.limits.header_bytes {
            let refusal = rest::head_too_large(self.limits.header_bytes);
            return Box::pin(std::future::ready(Ok(refusal)));
        }
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(self.peer));
        if let Some(certificate) = &self.certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        match self.is_grpc(request.headers()) {
            true => self.pair.grpc.answer(request),
            false => self.pair.rest.answer(request),
        }
    }
}

/// The size of a request's head: its path and the names and values of its headers.
fn head_bytes(request: &Request<Incoming>) -> usize {
    let headers = request.headers().iter();
    let headers: usize = headers
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    let path = request.uri().path_and_query();
    headers + path.map_or(0, |path| path.as_str().len())
}
