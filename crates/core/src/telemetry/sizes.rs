//! How many runs had how many rows.

/// The upper bounds of the buckets. What is larger is in the last bucket, which has no bound.
const BOUNDS: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// Buckets, the one without a bound included.
const BUCKETS: usize = BOUNDS.len() + 1;

/// Sizes of batches, counted in buckets. Callers choose sizes: unlike the rows of Triton's
/// statistics, which are one for each size up to a bound, these count every run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sizes {
    buckets: [u64; BUCKETS],
    sum: u64,
}

impl Sizes {
    /// Counts a run of so many rows.
    pub fn add(&mut self, rows: u64) {
        let bucket = BOUNDS.partition_point(|bound| *bound < rows);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(rows);
    }

    /// For each bound of a bucket, how many runs had at most so many rows.
    pub fn up_to(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut so_far = 0;
        BOUNDS.iter().zip(&self.buckets).map(move |(bound, count)| {
            so_far += count;
            (*bound, so_far)
        })
    }

    /// How many runs there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// How many rows they had together.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }
}
