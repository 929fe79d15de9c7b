//! The limits of the pipeline. The doors and the runtime have their own.

use std::time::Duration;

/// Limits of the pipeline, for all models together.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Most inferences that are past authorization at once, running or waiting; 4,096. One more
    /// is refused with 429 / `RESOURCE_EXHAUSTED`.
    pub in_flight: usize,
    /// Longest that one inference may take; `None`, the default, leaves it to the caller.
    pub request_timeout: Option<Duration>,
    /// Most models that statistics are kept for, where a handler answers for any name: 1,024.
    pub statistics: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: 4096,
            request_timeout: None,
            statistics: 1024,
        }
    }
}
