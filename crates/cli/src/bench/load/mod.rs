//! The load generator: a thread for each of its CPUs, a share of the connections in each, and
//! on each connection one request after the other. In a closed loop a connection sends the next
//! request when it has the answer; in an open one at moments that were laid down beforehand.

mod lane;
mod seen;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use super::arrivals::{Arrivals, Rate};
use super::stream::Way;
use super::{affinity, http2};
use lane::{Lane, Pace, Source};

pub(super) use seen::Measured;

/// How long after the end the last answers are waited for.
const PATIENCE: Duration = Duration::from_secs(30);
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
    /// How many requests a second, whatever the server does; `None` is a closed loop.
    pub(super) rate: Option<Rate>,
    pub(super) bounds: Bounds,
    pub(super) warm_up: Duration,
    pub(super) measure: Duration,
    /// Empty: one thread, on any CPU.
    pub(super) cpus: Vec<usize>,
}

/// What counts as a good answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bounds {
    /// One that comes within this time.
    pub(super) within: Option<Duration>,
    /// Whether 429 and 504 are counted by themselves and are no failures.
    pub(super) refusals: bool,
}

impl Load {
    /// How long it takes.
    pub(super) fn takes(&self) -> Duration {
        self.warm_up + self.measure
    }
}

/// Puts a server under load. `beat` hears, about ten times a second, how much of the time has
/// gone and how many answers came so far, warm-up included.
pub(super) fn run(
    load: &Load,
    way: &Way,
    ask: &Ask,
    server: Option<u32>,
    mut beat: impl FnMut(Duration, u64),
) -> std::io::Result<Measured> {
    let began = Instant::now();
    let from = began + load.warm_up;
    let to = from + load.measure;
    let answered = Arc::new(AtomicU64::new(0));
    let mut threads = Vec::new();
    for (seed, (cpu, connections)) in shares(&load.cpus, load.connections).into_iter().enumerate() {
        let (ask, answered) = (ask.clone(), Arc::clone(&answered));
        let rate = load
            .rate
            .map(|rate| rate.part(connections as f64 / load.connections as f64));
        let share = Share {
            way: way.clone(),
            connections,
            arrivals: rate.map(|rate| Arrivals::new(began, to, rate, seed as u64)),
            bounds: load.bounds,
            measured: from..to,
        };
        let thread = thread::Builder::new().name("load".to_owned());
        threads.push(thread.spawn(move || {
            affinity::keep_to(&cpu)?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let work = share.drive(ask, answered);
            Ok::<Measured, std::io::Error>(runtime.block_on(LocalSet::new().run_until(work)))
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
    let mut seen = Measured::new(load.measure);
    for thread in threads {
        let its = thread
            .join()
            .map_err(|_| std::io::Error::other("a thread of the load generator panicked"))??;
        seen.add(its);
    }
    let both = before.zip(after);
    seen.cpu = both.map(|(before, after)| after.saturating_sub(before));
    Ok(seen)
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

/// What one thread does.
struct Share {
    way: Way,
    connections: usize,
    arrivals: Option<Arrivals>,
    bounds: Bounds,
    measured: std::ops::Range<Instant>,
}

impl Share {
    async fn drive(self, ask: Ask, answered: Arc<AtomicU64>) -> Measured {
        let seen = Rc::new(RefCell::new(Measured::new(Duration::ZERO)));
        let (way, ask) = (Rc::new(self.way), Rc::new(Source::new(ask)));
        let pace = match self.arrivals {
            None => Pace::Closed,
            Some(arrivals) => Pace::Open(Rc::new(tokio::sync::Mutex::new(arrivals))),
        };
        let end = self.measured.end;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..self.connections {
            let lane = Lane {
                way: Rc::clone(&way),
                ask: Rc::clone(&ask),
                measured: self.measured.clone(),
                bounds: self.bounds,
                pace: pace.clone(),
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
        let mut seen = seen.replace(Measured::new(Duration::ZERO));
        for _ in 0..silent {
            seen.fail(|| format!("no answer within {} s of the end", PATIENCE.as_secs()));
        }
        if let Pace::Open(arrivals) = &pace {
            let mut arrivals = arrivals.lock().await;
            for moment in arrivals.by_ref().filter(|at| *at >= self.measured.start) {
                seen.due += 1;
                seen.unsent += 1;
                seen.took(end.duration_since(moment));
            }
        }
        seen
    }
}
