//! The load generator: a thread for each of its CPUs, a share of the connections in each, and
//! on each connection one request after the other (a closed loop).

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::task::LocalSet;

use super::answer::{Answer, Fault};
use super::{affinity, http1, http2};

/// How long after the end the last answers are waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a connection rests after a failure.
const REST: Duration = Duration::from_millis(10);
/// How often the caller hears how far it is.
const BEAT: Duration = Duration::from_millis(100);

/// A request, ready to be sent.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    /// Head and body of an HTTP/1.1 request.
    Http1(Vec<u8>),
    /// A gRPC call.
    Grpc(http2::Call),
}

/// How much load, for how long, and from which CPUs.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) connections: usize,
    pub(super) warm_up: Duration,
    pub(super) measure: Duration,
    /// Empty: one thread, on any CPU.
    pub(super) cpus: Vec<usize>,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Measured {
    /// Good answers within the measured time.
    pub(super) answers: u64,
    pub(super) elapsed: Duration,
    /// From the first byte written to the last byte read, in nanoseconds.
    pub(super) latency: Histogram<u64>,
    /// Requests without an answer, or with a bad one, warm-up included.
    pub(super) failures: u64,
    pub(super) first_failure: Option<String>,
    /// CPU time that the server used within the measured time.
    pub(super) cpu: Option<Duration>,
}

/// What one thread saw.
#[derive(Debug)]
struct Seen {
    latency: Histogram<u64>,
    failures: u64,
    first_failure: Option<String>,
}

impl Seen {
    fn new() -> Self {
        // Three digits, 1 ns to an hour; it grows as it is needed.
        let latency = Histogram::new(3).unwrap_or_else(|_| unreachable!("three digits are legal"));
        Self {
            latency,
            failures: 0,
            first_failure: None,
        }
    }

    fn fail(&mut self, why: impl FnOnce() -> String) {
        self.failures += 1;
        if self.first_failure.is_none() {
            self.first_failure = Some(why());
        }
    }

    fn add(&mut self, other: Self) {
        // Both have the same digits and grow: it cannot fail.
        let _ = self.latency.add(other.latency);
        self.failures += other.failures;
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }
}

/// Puts a server under load. `beat` hears, about ten times a second, how much of the time has
/// gone and how many answers came so far, warm-up included.
pub(super) fn run(
    load: &Load,
    address: SocketAddr,
    ask: &Ask,
    server: Option<u32>,
    mut beat: impl FnMut(Duration, u64),
) -> std::io::Result<Measured> {
    let began = Instant::now();
    let from = began + load.warm_up;
    let to = from + load.measure;
    let answered = Arc::new(AtomicU64::new(0));
    let mut threads = Vec::new();
    for (cpu, connections) in shares(&load.cpus, load.connections) {
        let (ask, answered) = (ask.clone(), Arc::clone(&answered));
        let thread = thread::Builder::new().name("load".to_owned());
        threads.push(thread.spawn(move || {
            affinity::keep_to(&cpu)?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let work = drive(address, ask, connections, from..to, answered);
            Ok::<Seen, std::io::Error>(runtime.block_on(LocalSet::new().run_until(work)))
        })?);
    }
    let mut wait = |until: Instant| {
        while let Some(rest) = until.checked_duration_since(Instant::now()) {
            thread::sleep(rest.min(BEAT));
            beat(began.elapsed(), answered.load(Relaxed));
        }
        server.and_then(affinity::cpu_time)
    };
    let before = wait(from);
    let after = wait(to);
    let mut seen = Seen::new();
    for thread in threads {
        let its = thread
            .join()
            .map_err(|_| std::io::Error::other("a thread of the load generator panicked"))??;
        seen.add(its);
    }
    Ok(Measured {
        answers: seen.latency.len(),
        elapsed: load.measure,
        latency: seen.latency,
        failures: seen.failures,
        first_failure: seen.first_failure,
        cpu: before
            .zip(after)
            .map(|(before, after)| after.saturating_sub(before)),
    })
}

/// Which CPUs each thread is kept to, and how many connections it drives.
fn shares(cpus: &[usize], connections: usize) -> Vec<(Vec<usize>, usize)> {
    if cpus.is_empty() {
        return vec![(Vec::new(), connections)];
    }
    let threads = cpus.len().min(connections);
    let share = |thread: usize| {
        let more = usize::from(thread < connections % threads);
        connections / threads + more
    };
    let threads = cpus.iter().take(threads).enumerate();
    threads
        .map(|(thread, cpu)| (vec![*cpu], share(thread)))
        .collect()
}

async fn drive(
    address: SocketAddr,
    ask: Ask,
    connections: usize,
    measured: std::ops::Range<Instant>,
    answered: Arc<AtomicU64>,
) -> Seen {
    let seen = Rc::new(RefCell::new(Seen::new()));
    let ask = Rc::new(Source::new(ask));
    let end = measured.end;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let lane = Lane {
            address,
            ask: Rc::clone(&ask),
            measured: measured.clone(),
            answered: Arc::clone(&answered),
            seen: Rc::clone(&seen),
        };
        tasks.spawn_local(lane.run());
    }
    let late = tokio::time::sleep_until((end + PATIENCE).into());
    tokio::select! {
        () = async { while tasks.join_next().await.is_some() {} } => {}
        () = late => {}
    }
    let silent = tasks.len();
    drop(tasks);
    let mut seen = seen.replace(Seen::new());
    for _ in 0..silent {
        seen.fail(|| format!("no answer within {} s of the end", PATIENCE.as_secs()));
    }
    seen
}

/// The request, shared by the connections of a thread.
enum Source {
    Http1(Vec<u8>),
    Grpc(Rc<http2::Call>),
}

impl Source {
    fn new(ask: Ask) -> Self {
        match ask {
            Ask::Http1(request) => Self::Http1(request),
            Ask::Grpc(call) => Self::Grpc(Rc::new(call)),
        }
    }

    async fn open(&self, address: SocketAddr) -> Result<Connection, Fault> {
        Ok(match self {
            Self::Http1(_) => Connection::Http1(http1::Connection::open(address).await?),
            Self::Grpc(call) => {
                let connection = http2::Connection::open(address, Rc::clone(call)).await?;
                Connection::Grpc(Box::new(connection))
            }
        })
    }
}

enum Connection {
    Http1(http1::Connection),
    Grpc(Box<http2::Connection>),
}

/// One connection after another, one request after another.
struct Lane {
    address: SocketAddr,
    ask: Rc<Source>,
    measured: std::ops::Range<Instant>,
    answered: Arc<AtomicU64>,
    seen: Rc<RefCell<Seen>>,
}

impl Lane {
    async fn run(self) {
        while Instant::now() < self.measured.end {
            if let Err(fault) = self.run_connection().await {
                self.seen.borrow_mut().fail(|| fault.to_string());
                tokio::time::sleep(REST).await;
            }
        }
    }

    async fn run_connection(&self) -> Result<(), Fault> {
        let mut connection = self.ask.open(self.address).await?;
        let mut began = Instant::now();
        while began < self.measured.end {
            let answer = match (&mut connection, &*self.ask) {
                (Connection::Http1(connection), Source::Http1(request)) => {
                    connection.ask(request, false).await?
                }
                (Connection::Grpc(connection), _) => connection.ask().await?,
                (Connection::Http1(_), Source::Grpc(_)) => return Ok(()),
            };
            let ended = Instant::now();
            let good = self.take(&answer, began, ended);
            if !good {
                tokio::time::sleep(REST).await;
            }
            if answer.last {
                return Ok(());
            }
            began = if good { ended } else { Instant::now() };
        }
        Ok(())
    }

    /// Counts an answer; false when it is a bad one.
    fn take(&self, answer: &Answer, began: Instant, ended: Instant) -> bool {
        let mut seen = self.seen.borrow_mut();
        if answer.status != 200 {
            seen.fail(|| answer.complaint());
            return false;
        }
        self.answered.fetch_add(1, Relaxed);
        // An answer counts where it ends, so that as many come in at the beginning of the
        // measured time as go out at its end.
        if ended >= self.measured.start && ended < self.measured.end {
            let took = ended.duration_since(began).as_nanos();
            let _ = seen
                .latency
                .record(u64::try_from(took).unwrap_or(u64::MAX).max(1));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_shared_out_evenly() {
        let shares = shares(&[4, 5, 6], 8);
        assert_eq!(shares, [(vec![4], 3), (vec![5], 3), (vec![6], 2)]);
    }

    #[test]
    fn a_thread_without_connections_is_not_started() {
        assert_eq!(shares(&[0, 1, 2, 3], 2), [(vec![0], 1), (vec![1], 1)]);
        assert_eq!(shares(&[], 5), [(vec![], 5)]);
    }
}
