//! The pieces of a body as they come, and the one piece that decoders read.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::Body as _;
use http_body_util::BodyExt;
use oip_core::execute::Held;
use oip_protocol::{Error, Limit, Result};
use tokio::time::Instant;

use crate::door::awaited::{self, Awaited, awaited};
use crate::door::pace::{self, Pace};
use crate::door::{Body, Door};
use crate::pieces::Pieces;

static CUT_SHORT: AtomicU64 = AtomicU64::new(0);

/// How many bodies, since the process began, ended before they were whole.
#[must_use]
pub fn bodies_cut_short() -> u64 {
    CUT_SHORT.load(Relaxed)
}

/// The length that a body says of itself before any of it is read; `None` where it says none.
pub(in crate::rest) fn declared(headers: &HeaderMap, body: &Body) -> Option<usize> {
    let length = match body {
        // The connection has read the header.
        Body::Incoming(body) => body.size_hint().exact()?,
        Body::Whole(_) | Body::Other(_) => {
            let declared = headers.get(CONTENT_LENGTH)?.to_str().ok()?;
            declared.trim().parse().ok()?
        }
    };
    Some(usize::try_from(length).unwrap_or(usize::MAX))
}

/// Refuses a body that says of itself that it is over the limit, before any of it is read.
///
/// # Errors
/// `TooLarge`.
pub(super) fn refuse_declared(declared: Option<usize>, limit: usize) -> Result<()> {
    match declared {
        Some(length) if length > limit => Err(too_large(limit)),
        _ => Ok(()),
    }
}

/// How long a body may take.
#[derive(Clone, Copy)]
pub(super) struct Patience<'a> {
    /// Longest that nothing comes.
    pub(super) pause: Duration,
    /// Longest in all.
    pub(super) total: Duration,
    /// The door of a call that is no inference: it counts among those that wait.
    pub(super) of_call: Option<&'a Door>,
}

impl<'a> Patience<'a> {
    /// With the body of an inference, or of another call.
    pub(super) fn of(door: &'a Door, inference: bool) -> Self {
        let (pause, total) = (door.options.body_timeout, door.options.body_time);
        match inference {
            true => Self {
                pause,
                total,
                of_call: None,
            },
            false => Self {
                pause,
                total: total.min(awaited::LONGEST),
                of_call: Some(door),
            },
        }
    }
}

/// The error of a body over the limit.
pub(super) fn too_large(limit: usize) -> Error {
    let refusal = Error::too_large(format!("the body is over the limit of {limit} bytes"));
    refusal.at_limit(Limit::BodyLimit)
}

/// Reads a body until its end or until it is over the limit.
///
/// # Errors
/// `TooLarge`; `Malformed` when it is cut short; `TimedOut` when nothing comes for too long, or
/// all of it takes too long; `TooManyRequests` when it does not fit into the memory for bodies, or
/// is too slow for one that keeps others out of it.
pub(super) async fn gather(
    body: &mut Body,
    limit: usize,
    patience: Patience<'_>,
    held: &mut Held,
) -> Result<Pieces> {
    let mut gathered = Pieces::default();
    let mut clock = Clock {
        patience,
        end: None,
        refusal: None,
        pace: Pace::default(),
    };
    while let Some(frame) = clock.patiently(body.frame(), held).await? {
        let frame = frame.map_err(|error| {
            CUT_SHORT.fetch_add(1, Relaxed);
            Error::malformed("the body is cut short or not well formed").caused_by(error)
        })?;
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        if piece.len() > limit.saturating_sub(gathered.length()) {
            return Err(too_large(limit));
        }
        held.grow(piece.len())?;
        gathered.push(piece);
        if body.is_end_stream() {
            // Most say so of their only piece, and need not be asked for another.
            break;
        }
    }
    Ok(gathered)
}

/// The time that a body takes, from the first wait for it.
struct Clock<'a> {
    patience: Patience<'a>,
    end: Option<Instant>,
    /// From the first wait on, whatever comes meanwhile.
    refusal: Option<Awaited>,
    pace: Pace,
}

impl Clock<'_> {
    /// Waits no longer than allowed. What is there already is taken without looking at a clock.
    async fn patiently<T>(&mut self, next: impl Future<Output = T>, held: &Held) -> Result<T> {
        let mut next = pin!(next);
        let first = std::future::poll_fn(|context| Poll::Ready(next.as_mut().poll(context)));
        if let Poll::Ready(there) = first.await {
            return Ok(there);
        }
        let now = Instant::now();
        let Patience {
            pause,
            total,
            of_call,
        } = self.patience;
        let end = *self.end.get_or_insert(now + total);
        let patient = end.min(now + pause);
        let is_large = held.bytes() >= pace::LARGE;
        if is_large {
            self.pace.keep(held, now)?;
        }
        loop {
            let until = match is_large {
                true => patient.min(Instant::now() + pace::LOOK_EVERY),
                false => patient,
            };
            let waits = tokio::time::timeout_at(until, next.as_mut());
            let waited = match of_call {
                None => waits.await,
                Some(door) => tokio::select! {
                    biased;
                    waited = waits => waited,
                    error = self.refusal.get_or_insert_with(|| awaited(door)) => return Err(error),
                },
            };
            if let Ok(came) = waited {
                return Ok(came);
            }
            let now = Instant::now();
            if now >= end {
                let error = Error::timed_out("the body took too long to arrive");
                return Err(error.at_limit(Limit::BodyTime));
            }
            if now >= patient {
                let error = Error::timed_out("the body stopped arriving");
                return Err(error.at_limit(Limit::BodyTimeout));
            }
            self.pace.keep(held, now)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use oip_core::{Access, Dataplane, DefaultModelHandler};
    use oip_protocol::ErrorKind;

    use super::*;
    use crate::door::DoorOptions;

    const PATIENCE: Patience<'_> = Patience {
        pause: Duration::from_secs(1),
        total: Duration::from_secs(10),
        of_call: None,
    };

    fn nothing() -> Held {
        oip_core::execute::Memory::new(1000).nothing()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_timed_out_when_its_time_is_over() {
        let trickle = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(900)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
        });
        let mut body = Body::new(axum::body::Body::from_stream(trickle));
        let begun = Instant::now();
        let refused = gather(&mut body, 500, PATIENCE, &mut nothing()).await;
        assert_eq!(refused.err().unwrap().limit(), Some(Limit::BodyTime));
        assert!(begun.elapsed() <= Duration::from_secs(11));
    }

    #[tokio::test(start_paused = true)]
    async fn the_body_of_a_call_that_trickles_holds_no_stop_up() {
        let dataplane = Dataplane::of_handler(DefaultModelHandler, Access::open());
        let door = Door::new(Arc::new(dataplane), DoorOptions::default());
        let trickle = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
        });
        let mut body = Body::new(axum::body::Body::from_stream(trickle));
        let patience = Patience {
            of_call: Some(&door),
            ..PATIENCE
        };
        door.dataplane.close();
        let begun = Instant::now();
        let refused = gather(&mut body, 500, patience, &mut nothing()).await;
        assert_eq!(refused.err().unwrap().kind(), ErrorKind::Unavailable);
        assert!(begun.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn a_body_that_does_not_fit_into_the_memory_is_refused() {
        let mut body = Body::whole(vec![0; 1001]);
        let refused = gather(&mut body, 5000, PATIENCE, &mut nothing()).await;
        assert_eq!(refused.err().unwrap().limit(), Some(Limit::BodyMemory));
    }

    #[tokio::test]
    async fn a_body_that_says_that_it_has_ended_is_asked_for_nothing_more() {
        struct Once(Option<Bytes>);
        impl http_body::Body for Once {
            type Data = Bytes;
            type Error = std::io::Error;
            fn poll_frame(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> Poll<Option<std::io::Result<http_body::Frame<Bytes>>>> {
                let piece = self.0.take().expect("it is asked again");
                Poll::Ready(Some(Ok(http_body::Frame::data(piece))))
            }
            fn is_end_stream(&self) -> bool {
                self.0.is_none()
            }
        }
        let mut body = Body::new(Once(Some(Bytes::from_static(b"{}"))));
        let gathered = gather(&mut body, 5, PATIENCE, &mut nothing()).await;
        assert_eq!(gathered.unwrap().length(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_no_inference_has_a_short_time_for_its_body_and_less_at_a_stop() {
        use ErrorKind::{TimedOut, TooManyRequests, Unavailable};

        let dataplane = Dataplane::of_handler(DefaultModelHandler, Access::open());
        let door = Door::new(Arc::new(dataplane), DoorOptions::default());
        door.telemetry.connections.allow(1);
        let ends = async || {
            let silence = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
            let mut body = Body::new(axum::body::Body::from_stream(silence));
            let patience = Patience::of(&door, false);
            let refused = gather(&mut body, 5, patience, &mut nothing()).await;
            refused.err().unwrap().kind()
        };
        let begun = Instant::now();
        assert_eq!(ends().await, TimedOut);
        assert_eq!(begun.elapsed().as_secs(), awaited::LONGEST.as_secs());
        let mut further = None;
        let comes = async {
            tokio::task::yield_now().await;
            further = Some(awaited(&door));
        };
        let (displaced, ()) = tokio::join!(ends(), comes);
        assert_eq!(displaced, TooManyRequests);
        drop(further);
        door.dataplane.close();
        assert_eq!(ends().await, Unavailable);
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_body_that_stops_gives_way_once_another_is_refused_and_not_before() {
        let memory = oip_core::execute::Memory::new(1 << 20);
        let trickle = futures_util::stream::unfold(900 << 10, |length| async move {
            tokio::time::sleep(Duration::from_millis(700)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from(vec![0; length])), 1))
        });
        let mut body = Body::new(axum::body::Body::from_stream(trickle));
        let patience = Patience {
            total: Duration::from_secs(300),
            ..PATIENCE
        };
        let mut held = memory.nothing();
        let (begun, refused_at) = (Instant::now(), Duration::from_secs(60));
        let another = async {
            tokio::time::sleep(refused_at).await;
            memory.nothing().grow(900 << 10).unwrap_err()
        };
        let gathering = gather(&mut body, 1 << 20, patience, &mut held);
        let (gathered, _) = tokio::join!(gathering, another);
        assert_eq!(gathered.err().unwrap().limit(), Some(Limit::BodyMemory));
        let took = begun.elapsed();
        assert!(
            took >= refused_at && took < refused_at + Duration::from_secs(3),
            "{took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_arriving_is_timed_out() {
        let silence = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let mut body = Body::new(axum::body::Body::from_stream(silence));
        let error = gather(&mut body, 5, PATIENCE, &mut nothing())
            .await
            .err()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn what_comes_beyond_the_limit_is_refused() {
        let body = || Body::whole("12345");
        assert_eq!(
            gather(&mut body(), 5, PATIENCE, &mut nothing())
                .await
                .unwrap()
                .length(),
            5
        );
        let error = gather(&mut body(), 4, PATIENCE, &mut nothing())
            .await
            .err()
            .unwrap();
        assert_eq!(error.message(), "the body is over the limit of 4 bytes");
    }

    #[test]
    fn a_declared_length_over_the_limit_is_refused_before_reading() {
        let refused = |length: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_LENGTH, length.parse().unwrap());
            refuse_declared(declared(&headers, &Body::empty()), 10).is_err()
        };
        assert!(!refused("10") && refused("11") && refused("18446744073709551615"));
    }
}
