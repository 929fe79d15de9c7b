//! The statistics extension: how often and how long.
//!
//! Source: Triton's `extension_statistics.md`. All durations are nanoseconds, all figures
//! cumulative since the model was first asked for.

/// A count and the time those took together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DurationStatistic {
    /// How often.
    pub count: u64,
    /// Total time in nanoseconds.
    pub ns: u64,
}

impl DurationStatistic {
    /// Adds one occurrence that took `ns` nanoseconds.
    pub fn add(&mut self, ns: u64) {
        self.count += 1;
        self.ns = self.ns.saturating_add(ns);
    }
}

/// The statistics of one model version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelStatistics {
    /// The model's name.
    pub name: String,
    /// The version; empty where the model has none.
    pub version: String,
    /// Time of the last request, milliseconds since the Unix epoch; 0 when there was none.
    pub last_inference: u64,
    /// Inferences made: a request of batch size 8 counts 8.
    pub inference_count: u64,
    /// Executions of the model: a batch counts 1.
    pub execution_count: u64,
    /// Requests that were answered.
    pub success: DurationStatistic,
    /// Requests that failed.
    pub fail: DurationStatistic,
    /// Time spent waiting for a slot or a batch.
    pub queue: DurationStatistic,
    /// Time spent making the engine's inputs.
    pub compute_input: DurationStatistic,
    /// Time spent running the model.
    pub compute_infer: DurationStatistic,
    /// Time spent taking the engine's outputs.
    pub compute_output: DurationStatistic,
    /// Requests that a response cache answered.
    pub cache_hit: DurationStatistic,
    /// Requests that a response cache was asked for and that ran.
    pub cache_miss: DurationStatistic,
    /// The same per batch size that was run.
    pub batches: Vec<BatchStatistics>,
}

/// The statistics of one batch size of one model version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BatchStatistics {
    /// The batch size.
    pub batch_size: u64,
    /// Time spent making the engine's inputs.
    pub compute_input: DurationStatistic,
    /// Time spent running the model.
    pub compute_infer: DurationStatistic,
    /// Time spent taking the engine's outputs.
    pub compute_output: DurationStatistic,
}
