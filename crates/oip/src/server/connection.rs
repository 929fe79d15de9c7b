//! One connection, from its first byte of HTTP to its last.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use oip_protocol::{Error, Limit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::ConnectionLimits;
use super::alarm::Alarm;
use super::answer::Answer;
use super::drain::{Drain, Stages};
use super::life::{Life, Verdict};
use super::listen::Kind;
use super::noticed::Noticed;
use super::parting::{LINGER, Parting, Step};
use super::places::Spare;
use super::reconfigure::Pair;
use crate::door::{Answering, Body, Remote};
use crate::{grpc, rest};

/// How long a connection for which there was no place may take for its answer, and to send what
/// nobody reads.
const FAREWELL: Duration = Duration::from_secs(3);

/// Most fields in the head of a request. It is hyper's number for HTTP/1; HTTP/2 has none, and a
/// field that costs a byte there, as one of the table, takes a hundred in memory.
const MOST_FIELDS: usize = 100;

/// One connection that was accepted.
pub(super) struct Connection {
    pub(super) builder: Arc<auto::Builder<TokioExecutor>>,
    pub(super) doors: Doors,
    pub(super) drain: Drain,
}

/// The doors as one connection sees them.
pub(super) struct Doors {
    pub(super) kind: Kind,
    pub(super) pair: Pair,
    pub(super) remote: Arc<Remote>,
    pub(super) limits: Arc<ConnectionLimits>,
    pub(super) life: Arc<Life>,
    /// Where it found no place when it came.
    pub(super) spare: Option<Spare>,
}

impl Connection {
    /// Serves it to its end.
    pub(super) async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let (doors, drain) = (self.doors, self.drain);
        let life = Arc::clone(&doors.life);
        let stream = TokioIo::new(Noticed::new(stream, Arc::clone(&life)));
        let service = service_fn(move |request| doors.answer(request));
        let mut connection = pin!(self.builder.serve_connection(stream, service));
        let mut look = Alarm::new();
        let mut linger = pin!(tokio::time::sleep(Duration::ZERO));
        let mut stages = Stages::new(&drain);
        let (mut parting, mut leaving) = (Parting::Stays, false);
        let mut known = false;
        let ended = poll_fn(|context| {
            if !known {
                known = true;
                life.wakes(context.waker());
            }
            loop {
                if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                    return Poll::Ready(Some(ended));
                }
                if life.holds_back() && !life.is_released() {
                    // Nothing more is written now. It goes out by the next call of any kind.
                    life.releases();
                    continue;
                }
                let stage = stages.look(context);
                match parting.look(stage, &life, linger.as_mut(), context) {
                    Step::Wait => {}
                    Step::Tell => {
                        connection.as_mut().graceful_shutdown();
                        continue;
                    }
                    Step::Cut => return Poll::Ready(None),
                }
                if life.is_wanted() && !leaving {
                    let rests = life.rests_since();
                    match rests {
                        // It has asked for nothing yet: nothing is lost with it.
                        Some(_) if !life.has_asked() => return Poll::Ready(None),
                        // It has asked and was answered since it was chosen.
                        Some(_) if !life.owes_nothing() => life.stays(),
                        Some(_) => {
                            leaving = true;
                            life.close();
                            connection.as_mut().graceful_shutdown();
                            // It is told, and its answer not waited for: who needs its place
                            // must not depend on it.
                            if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                                return Poll::Ready(Some(ended));
                            }
                            if life.rests_since() == rests {
                                return Poll::Ready(None);
                            }
                            // A request has come in the last moment.
                            look.set(Instant::now() + LINGER);
                            continue;
                        }
                        None => life.stays(),
                    }
                }
                if life.is_dismissed() && !leaving {
                    leaving = true;
                    // HTTP/1 ends by its answer's `Connection: close`, and not before the rest of
                    // the request has come.
                    if life.is_multiplexed() {
                        connection.as_mut().graceful_shutdown();
                    }
                    look.set(Instant::now() + FAREWELL);
                    continue;
                }
                if !look.has_rung(context.waker()) {
                    return Poll::Pending;
                }
                if leaving && life.rests_since().is_some() {
                    return Poll::Ready(None);
                }
                match life.look() {
                    Verdict::Stay(until) => look.set(until),
                    Verdict::End(limit) => {
                        limit.reached();
                        life.close();
                        // At its age, HTTP/1 ends with the next answer, so that no request is lost.
                        if limit != Limit::ConnectionAge || life.is_multiplexed() {
                            connection.as_mut().graceful_shutdown();
                        }
                        look.set(Instant::now() + LINGER);
                    }
                    Verdict::Cut(limit) => {
                        limit.reached();
                        return Poll::Ready(None);
                    }
                }
            }
        });
        if let Some(Err(error)) = ended.await {
            report(error.as_ref());
        }
    }
}

/// Why a connection ended before its time.
fn report(error: &(dyn std::error::Error + Send + Sync + 'static)) {
    let silent = error.downcast_ref::<hyper::Error>();
    if silent.is_some_and(hyper::Error::is_timeout) {
        Limit::KeepAlive.reached();
    }
    // Of HTTP/1, answered by hyper itself: more than it reads of a head, or too many headers.
    if silent.is_some_and(hyper::Error::is_parse_too_large) {
        Limit::HeaderLimit.reached();
    }
    tracing::debug!(%error, "connection ended");
}

impl Doors {
    fn is_grpc(&self, headers: &HeaderMap) -> bool {
        match self.kind {
            Kind::Rest | Kind::Metrics => false,
            Kind::Grpc => true,
            Kind::Both => headers
                .get(http::header::CONTENT_TYPE)
                .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc")),
        }
    }

    /// Answers a request whose head has come.
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Answer>, Infallible>> + Send + use<> {
        let version = request.version();
        let in_flight = self.life.begin(version);
        let is_large = request.headers().len() > MOST_FIELDS
            || head_bytes(&request) > self.limits.header_bytes;
        let answer: Answering = if is_large {
            Box::pin(std::future::ready(Ok(self.refuse_head(&request))))
        } else if self.turns_away(&request) {
            Box::pin(std::future::ready(Ok(self.refuse_place(request))))
        } else {
            let request = request.map(Body::Incoming);
            let remote = Arc::clone(&self.remote);
            match self.is_grpc(request.headers()) {
                true => self.pair.grpc.answer(request, remote),
                false => self.pair.rest.answer(request, remote),
            }
        };
        async move {
            let Ok(mut response) = answer.await;
            if version != Version::HTTP_2 && in_flight.life().is_closing() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            Ok(response.map(|body| Answer::new(body, in_flight, version == Version::HTTP_2)))
        }
    }

    /// Whether there is no place for this connection, and no probe asks. In either case it is to
    /// end with the answer.
    fn turns_away(&self, request: &Request<Incoming>) -> bool {
        let Some(spare) = &self.spare else {
            return false;
        };
        if spare.moves(&self.life) {
            return false;
        }
        self.life.dismiss();
        !match self.is_grpc(request.headers()) {
            true => grpc::is_probe(request.uri().path()),
            false => rest::is_probe(request.uri().path()),
        }
    }

    /// The answer to a request for whose connection there is no place.
    #[cold]
    fn refuse_place(&self, request: Request<Incoming>) -> Response<Body> {
        let message = "as many connections as this server takes are busy";
        let error = Error::unavailable(message).retry_after(1);
        match self.is_grpc(request.headers()) {
            true => grpc::refused(&error),
            false => rest::refused(request.map(Body::Incoming), &error),
        }
    }

    /// The answer to a head over the limit.
    #[cold]
    fn refuse_head(&self, request: &Request<Incoming>) -> Response<Body> {
        let over = match request.headers().len() {
            0..=MOST_FIELDS => {
                let limit = self.limits.header_bytes;
                format!("the head of the request is over the limit of {limit} bytes")
            }
            fields => {
                format!("the head of the request has {fields} fields, but may have {MOST_FIELDS}")
            }
        };
        if self.is_grpc(request.headers()) {
            return grpc::head_too_large(over);
        }
        Limit::HeaderLimit.reached();
        rest::head_too_large(&over)
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::accept;
    use super::*;
    use crate::door::{Served, Serves};

    /// Answers with nothing.
    struct Nothing;

    impl Serves for Nothing {
        fn answer(&self, _: Request<Body>, _: Arc<Remote>) -> Answering {
            Box::pin(std::future::ready(Ok(Response::new(Body::empty()))))
        }
    }

    fn connection(life: &Arc<Life>) -> Connection {
        let limits = Arc::new(ConnectionLimits::default());
        let door = || Served::new(Nothing);
        Connection {
            builder: Arc::new(accept::builder(&limits)),
            doors: Doors {
                kind: Kind::Rest,
                pair: Pair {
                    rest: door(),
                    grpc: door(),
                },
                remote: Arc::default(),
                limits,
                life: Arc::clone(life),
                spare: None,
            },
            drain: Drain::new(),
        }
    }

    /// The preface, empty settings, and a GET of `/` in the words of HPACK's static table.
    const ASKS: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\
        \0\0\x06\x01\x05\0\0\0\x01\x82\x84\x86\x41\x01a";

    #[tokio::test(start_paused = true)]
    async fn whose_place_is_needed_is_told_and_gone_whatever_it_answers() {
        let life = Arc::new(Life::new(Arc::new(ConnectionLimits::default())));
        let (mut client, stream) = tokio::io::duplex(1 << 16);
        let served = tokio::spawn(connection(&life).serve(stream));
        client.write_all(ASKS).await.unwrap();
        let mut answer = [0; 4096];
        while !life.has_asked() || life.rests_since().is_none() {
            assert!(client.read(&mut answer).await.unwrap() > 0);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let begun = Instant::now();
        life.make_room();
        served.await.unwrap();
        assert_eq!(Instant::now(), begun, "it was waited for");
        let mut last = Vec::new();
        client.read_to_end(&mut last).await.unwrap();
        // The kind of a frame stands behind its length, and GOAWAY is the seventh of them.
        assert!(
            last.windows(5).any(|bytes| bytes == [0, 0, 8, 7, 0]),
            "{last:?}"
        );
    }
}
