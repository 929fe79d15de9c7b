//! The limits of the pipeline. The doors and the runtime have their own.

use std::time::Duration;

/// Limits of the pipeline, for all models together.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Most inferences that are past authorization at once, running or waiting; 4,096. One more
    /// is refused with 429 / `RESOURCE_EXHAUSTED`.
    pub in_flight: usize,
    /// Longest that one request may take, a load or unload excepted; 5 minutes. `None` leaves it
    /// to the caller.
    pub request_timeout: Option<Duration>,
    /// Most bytes of requests' bodies at once, from their first byte until their answer, and of
    /// answers until they are sent; 1 GiB. More are refused with 429 / `RESOURCE_EXHAUSTED`.
    pub body_memory: usize,
    /// Most inferences a second that one caller may ask of one model; 0, the default, for no
    /// limit. All anonymous callers count as one.
    pub rate_limit: usize,
    /// Most of them at once, after a rest; 0 for as many as in one second.
    pub rate_burst: usize,
    /// Most model versions that statistics are kept for beside those that the server lists, where
    /// a handler answers for any name or version: 1,024.
    pub statistics: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: 4096,
            request_timeout: Some(Duration::from_secs(300)),
            body_memory: 1 << 30,
            rate_limit: 0,
            rate_burst: 0,
            statistics: 1024,
        }
    }
}
