//! How many took how long.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper bounds of the buckets, in nanoseconds: 100 us to 10 s. What takes longer is in the
/// last bucket, which has no bound.
pub const BOUNDS_NS: [u64; 16] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Buckets, the one without a bound included.
const BUCKETS: usize = BOUNDS_NS.len() + 1;

fn bucket(ns: u64) -> usize {
    BOUNDS_NS.partition_point(|bound| *bound < ns)
}

fn nanoseconds(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

/// Durations, counted in buckets.
#[derive(Debug, Clone, Copy, Default)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    sum_ns: u64,
}

impl Histogram {
    /// Counts one.
    pub fn add(&mut self, took: Duration) {
        let ns = nanoseconds(took);
        if let Some(count) = self.buckets.get_mut(bucket(ns)) {
            *count += 1;
        }
        self.sum_ns = self.sum_ns.saturating_add(ns);
    }

    /// For each of [`BOUNDS_NS`], how many took at most that long.
    pub fn up_to(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut so_far = 0;
        BOUNDS_NS
            .iter()
            .zip(&self.buckets)
            .map(move |(bound, count)| {
                so_far += count;
                (*bound, so_far)
            })
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// How long they took together, in nanoseconds.
    #[must_use]
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }
}

/// The same, counted by many threads without a lock.
#[derive(Debug, Default)]
pub struct SharedHistogram {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

impl SharedHistogram {
    /// Counts one.
    pub fn add(&self, took: Duration) {
        let ns = nanoseconds(took);
        if let Some(count) = self.buckets.get(bucket(ns)) {
            count.fetch_add(1, Relaxed);
        }
        self.sum_ns.fetch_add(ns, Relaxed);
    }

    /// What was counted until now.
    #[must_use]
    pub fn read(&self) -> Histogram {
        let mut read = Histogram {
            sum_ns: self.sum_ns.load(Relaxed),
            ..Histogram::default()
        };
        for (to, from) in read.buckets.iter_mut().zip(&self.buckets) {
            *to = from.load(Relaxed);
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_its_bucket_and_in_all_above() {
        let mut histogram = Histogram::default();
        for us in [100, 101, 250, 20_000_000] {
            histogram.add(Duration::from_micros(us));
        }
        let counts: Vec<_> = histogram.up_to().map(|(_, count)| count).collect();
        assert_eq!(counts[..3], [1, 3, 3]);
        assert_eq!((counts[15], histogram.count()), (3, 4));
        assert_eq!(histogram.sum_ns(), 20_000_451_000);
    }
}
