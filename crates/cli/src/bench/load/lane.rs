//! One connection of the load generator.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::super::answer::{Answer, Fault};
use super::super::arrivals::Arrivals;
use super::super::stream::Way;
use super::super::{http1, http2};
use super::{Ask, Bounds, Measured};

/// How long a connection rests after a failure.
const REST: Duration = Duration::from_millis(10);
/// How far before its moment a request is waited for by turns rather than by the clock, which
/// rings to the millisecond only.
const NEAR: Duration = Duration::from_millis(3);
/// The status of a refusal.
const TOO_MANY_REQUESTS: u16 = 429;

/// The request, shared by the connections of a thread.
pub(super) enum Source {
    Http1(Vec<u8>),
    Grpc(Rc<http2::Call>),
}

impl Source {
    pub(super) fn new(ask: Ask) -> Self {
        match ask {
            Ask::Http1(request) => Self::Http1(request),
            Ask::Grpc(call) => Self::Grpc(Rc::new(call)),
        }
    }

    async fn open(&self, way: &Way) -> Result<Connection, Fault> {
        Ok(match self {
            Self::Http1(_) => Connection::Http1(http1::Connection::open(way).await?),
            Self::Grpc(call) => {
                let connection = http2::Connection::open(way, Rc::clone(call)).await?;
                Connection::Grpc(Box::new(connection))
            }
        })
    }
}

enum Connection {
    Http1(http1::Connection),
    Grpc(Box<http2::Connection>),
}

/// When a lane sends its next request.
#[derive(Clone)]
pub(super) enum Pace {
    /// When the answer before it is there.
    Closed,
    /// At the next moment that no other lane of the thread has taken.
    Open(Rc<tokio::sync::Mutex<Arrivals>>),
}

/// One connection after another, one request after another.
pub(super) struct Lane {
    pub(super) way: Rc<Way>,
    pub(super) ask: Rc<Source>,
    pub(super) measured: Range<Instant>,
    pub(super) bounds: Bounds,
    pub(super) pace: Pace,
    pub(super) answered: Arc<AtomicU64>,
    pub(super) seen: Rc<RefCell<Measured>>,
}

impl Lane {
    pub(super) async fn run(self) {
        while Instant::now() < self.measured.end {
            if let Err(fault) = self.run_connection().await {
                self.seen.borrow_mut().fail(|| fault.to_string());
                tokio::time::sleep(REST).await;
            }
        }
    }

    async fn run_connection(&self) -> Result<(), Fault> {
        let mut connection = self.ask.open(&self.way).await?;
        while let Some(began) = self.turn().await {
            let answer = match (&mut connection, &*self.ask) {
                (Connection::Http1(connection), Source::Http1(request)) => {
                    connection.ask(request, false).await?
                }
                (Connection::Grpc(connection), _) => connection.ask().await?,
                (Connection::Http1(_), Source::Grpc(_)) => return Ok(()),
            };
            let good = self.take(&answer, began, Instant::now());
            if !good {
                tokio::time::sleep(REST).await;
            }
            if answer.last {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Waits until it is time for a request, and says from when on it is to be timed; `None` at
    /// the end.
    async fn turn(&self) -> Option<Instant> {
        match &self.pace {
            Pace::Closed => Some(Instant::now()).filter(|now| *now < self.measured.end),
            Pace::Open(arrivals) => {
                // Whoever waits for a moment holds the lock, so that one waits and not all.
                let mut arrivals = arrivals.lock().await;
                // What is due and was not sent is counted when all lanes have ended.
                if Instant::now() >= self.measured.end {
                    return None;
                }
                let moment = arrivals.next()?;
                until(moment).await;
                Some(moment)
            }
        }
    }

    /// Counts an answer; false when it is a bad one.
    fn take(&self, answer: &Answer, began: Instant, ended: Instant) -> bool {
        let mut seen = self.seen.borrow_mut();
        // An answer counts where it ends, so that as many come in at the beginning of the
        // measured time as go out at its end.
        let counts = self.measured.contains(&ended);
        let open = matches!(self.pace, Pace::Open(_));
        let due = open && self.measured.contains(&began);
        seen.due += u64::from(due);
        if answer.status == TOO_MANY_REQUESTS && self.bounds.refusals {
            seen.refused += u64::from(counts);
            return true;
        }
        if answer.status == 504 && self.bounds.refusals {
            seen.late += u64::from(counts);
            return true;
        }
        if answer.status != 200 {
            seen.fail(|| answer.complaint());
            return false;
        }
        self.answered.fetch_add(1, Relaxed);
        let took = ended.duration_since(began);
        let timed = if open { due } else { counts };
        if timed {
            seen.took(took);
        }
        let late = self.bounds.within.is_some_and(|within| took > within);
        match late {
            true => seen.late += u64::from(counts),
            false => seen.answers += u64::from(counts),
        }
        true
    }
}

/// Waits for a moment, and no longer.
async fn until(moment: Instant) {
    while let Some(rest) = moment.checked_duration_since(Instant::now()) {
        match rest.checked_sub(NEAR) {
            Some(rest) => tokio::time::sleep(rest).await,
            None if rest.is_zero() => return,
            None => tokio::task::yield_now().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_moment_is_met_closer_than_the_clock_rings() {
        let mut worst = Duration::ZERO;
        for _ in 0..5 {
            let moment = Instant::now() + Duration::from_micros(4700);
            until(moment).await;
            assert!(Instant::now() >= moment);
            worst = worst.max(moment.elapsed());
        }
        // A busy machine may hold a thread up for long; five times in a row it does not.
        assert!(worst < Duration::from_millis(500), "{worst:?}");
        until(Instant::now()).await;
    }
}
