//! What the load generator saw.

use std::time::Duration;

use hdrhistogram::Histogram;

/// What came of it.
#[derive(Debug)]
pub(in crate::bench) struct Measured {
    /// Good answers within the measured time.
    pub(in crate::bench) answers: u64,
    pub(in crate::bench) elapsed: Duration,
    /// In nanoseconds, to the last byte read: in a closed loop from the first byte written, in
    /// an open one from the moment at which the request was due.
    pub(in crate::bench) latency: Histogram<u64>,
    /// Requests of an open loop that were due within the measured time.
    pub(in crate::bench) due: u64,
    /// Those of them that were not sent before its end, as every connection was busy. They are
    /// in `latency` with the time that they had waited then.
    pub(in crate::bench) unsent: u64,
    /// Answers 429 within the measured time.
    pub(in crate::bench) refused: u64,
    /// Good answers that came too late to count, within the measured time.
    pub(in crate::bench) late: u64,
    /// Requests without an answer, or with a bad one, warm-up included.
    pub(in crate::bench) failures: u64,
    pub(in crate::bench) first_failure: Option<String>,
    /// CPU time that the server used within the measured time.
    pub(in crate::bench) cpu: Option<Duration>,
}

impl Measured {
    pub(in crate::bench) fn new(elapsed: Duration) -> Self {
        // Three digits, 1 ns to an hour; it grows as it is needed.
        let latency = Histogram::new(3).unwrap_or_else(|_| unreachable!("three digits are legal"));
        Self {
            answers: 0,
            elapsed,
            latency,
            due: 0,
            unsent: 0,
            refused: 0,
            late: 0,
            failures: 0,
            first_failure: None,
            cpu: None,
        }
    }

    pub(super) fn took(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let _ = self.latency.record(nanos.max(1));
    }

    pub(super) fn fail(&mut self, why: impl FnOnce() -> String) {
        self.failures += 1;
        if self.first_failure.is_none() {
            self.first_failure = Some(why());
        }
    }

    /// Adds what another thread saw.
    pub(super) fn add(&mut self, other: Self) {
        // Both have the same digits and grow: it cannot fail.
        let _ = self.latency.add(other.latency);
        self.answers += other.answers;
        self.due += other.due;
        self.unsent += other.unsent;
        self.refused += other.refused;
        self.late += other.late;
        self.failures += other.failures;
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }
}
