//! What is counted of requests, beyond Triton's statistics: latencies as histograms, outcomes by
//! the way a request came in, decisions on access, loads of models.
//!
//! Figures of a model are written by [`Dataplane::ended`](crate::Dataplane::ended), once for each
//! inference, by whoever has answered it: a door, or [`Dataplane::infer`](crate::Dataplane::infer)
//! for a caller without one. Their names and units are in `docs/metrics.md`.

mod alignment;
mod decisions;
mod histogram;
mod loads;
mod seen;
mod sizes;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use oip_protocol::{ErrorKind, ModelStatistics};

pub use alignment::{alignment_copies, count_alignment_copy};
pub use decisions::{AuditFigures, Decided, DecisionFigures, Decisions};
pub use histogram::{BOUNDS_NS, Histogram, SharedHistogram};
pub use loads::{LoadFigures, Loads, ModelLoads, Queued};
pub use seen::{Lap, Parts, Room, Seen};
pub use sizes::Sizes;

/// The way a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By the REST door.
    Rest,
    /// By the gRPC door.
    Grpc,
    /// By a call of the pipeline, without a door.
    InProcess,
}

impl Way {
    /// Every way, in the order of their declaration.
    pub const ALL: [Self; 3] = [Self::Rest, Self::Grpc, Self::InProcess];

    /// Its name, such as `"rest"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Grpc => "grpc",
            Self::InProcess => "in_process",
        }
    }
}

/// Kinds of failure.
const KINDS: usize = ErrorKind::ALL.len();

/// What became of the inferences of one model version that came in by one way.
#[derive(Debug, Clone, Copy, Default)]
pub struct WayFigures {
    /// Requests that were answered.
    pub answered: u64,
    failed: [u64; KINDS],
    /// Requests whose caller left before there was an answer.
    pub cancelled: u64,
    /// Bytes of the requests' bodies or messages.
    pub received: u64,
    /// Bytes of the answers' bodies or messages.
    pub sent: u64,
}

impl WayFigures {
    /// Requests that failed in this way.
    #[must_use]
    pub fn failed(&self, kind: ErrorKind) -> u64 {
        self.failed.get(kind as usize).copied().unwrap_or(0)
    }

    fn fail(&mut self, kind: ErrorKind) {
        if let Some(count) = self.failed.get_mut(kind as usize) {
            *count += 1;
        }
    }
}

/// The figures of one model version.
#[derive(Debug, Clone, Default)]
pub struct ModelFigures {
    /// As the statistics extension has them.
    pub statistics: ModelStatistics,
    pub(crate) ways: [WayFigures; Way::ALL.len()],
    /// When it was last asked, whatever became of that.
    pub(crate) asked: Option<Instant>,
    /// When it last answered.
    pub(crate) succeeded: Option<Instant>,
    /// From the arrival of the request's head to the encoded answer, of those that were answered.
    pub request: Histogram,
    /// Waiting for an instance or a batch.
    pub queue: Histogram,
    /// From the engine's inputs to its outputs.
    pub compute: Histogram,
    /// Writing the answer.
    pub encode: Histogram,
    /// Rows of each run of the model.
    pub batch_sizes: Sizes,
}

impl ModelFigures {
    /// What came in by one way.
    #[must_use]
    pub fn way(&self, way: Way) -> WayFigures {
        self.ways.get(way as usize).copied().unwrap_or_default()
    }

    /// Writes down what became of a request.
    pub fn ended(&mut self, seen: &Seen, failure: Option<ErrorKind>) {
        let parts = seen.parts();
        if let Some(way) = self.ways.get_mut(seen.way() as usize) {
            way.received += seen.received_bytes();
            way.sent += seen.sent_bytes();
            match failure {
                None => way.answered += 1,
                Some(kind) => way.fail(kind),
            }
        }
        if failure.is_some() {
            return;
        }
        self.request.add(seen.took());
        self.encode.add(seen.encoding());
        if !parts.from_cache {
            self.queue.add(parts.queue);
            self.compute.add(parts.input + parts.infer + parts.output);
        }
    }

    pub(crate) fn cancelled(&mut self, seen: &Seen) {
        if let Some(way) = self.ways.get_mut(seen.way() as usize) {
            way.received += seen.received_bytes();
            way.cancelled += 1;
        }
    }
}

/// What is counted of a server as a whole.
#[derive(Debug, Default)]
pub struct Telemetry {
    in_flight: [AtomicU64; Way::ALL.len()],
    cancelled: [AtomicU64; Way::ALL.len()],
}

impl Telemetry {
    /// An inference has begun. How many were under way before it.
    pub fn enter(&self, way: Way) -> u64 {
        let counts = self.in_flight.iter().enumerate();
        let before = counts.map(|(place, count)| match place == way as usize {
            true => count.fetch_add(1, Relaxed),
            false => count.load(Relaxed),
        });
        before.sum()
    }

    /// An inference has ended, however.
    pub fn leave(&self, way: Way) {
        if let Some(count) = self.in_flight.get(way as usize) {
            count.fetch_sub(1, Relaxed);
        }
    }

    /// Inferences that came in by this way and have no answer yet, from the arrival of their head.
    #[must_use]
    pub fn in_flight(&self, way: Way) -> u64 {
        let count = self.in_flight.get(way as usize);
        count.map_or(0, |count| count.load(Relaxed))
    }

    /// The same, whatever way they came in by.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        self.in_flight.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Inferences whose caller left before it was known which model they ask.
    #[must_use]
    pub fn cancelled(&self, way: Way) -> u64 {
        let count = self.cancelled.get(way as usize);
        count.map_or(0, |count| count.load(Relaxed))
    }

    pub(crate) fn cancel(&self, way: Way) {
        if let Some(count) = self.cancelled.get(way as usize) {
            count.fetch_add(1, Relaxed);
        }
    }
}
