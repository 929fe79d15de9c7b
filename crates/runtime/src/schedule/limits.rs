//! What a model's schedule is held to, and the priorities of requests.

use std::time::Duration;

use oip_protocol::{Error, Parameters, Result};

/// How many requests of a model run and wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Runs side by side.
    pub(crate) instances: usize,
    /// Requests that may wait.
    pub(crate) queue: usize,
    /// Longest expected wait that a request is let in for.
    pub(crate) max_time: Option<Duration>,
    /// How many priorities there are, and that of a request which names none, counted from 1.
    pub(crate) levels: u64,
    pub(crate) default_level: u64,
}

impl Limits {
    /// The place among the levels, from 0, of a request of this [`priority`]. One that is beyond
    /// the lowest counts as the lowest.
    pub(super) fn level(&self, priority: u64) -> usize {
        let level = match priority {
            0 => self.default_level,
            asked => asked.min(self.levels),
        };
        usize::try_from(level.saturating_sub(1)).unwrap_or(usize::MAX)
    }
}

/// The priority that a request names; 0 where it names none.
///
/// # Errors
/// A parameter that is no whole number.
pub(crate) fn priority(parameters: &Parameters) -> Result<u64> {
    let Some(value) = parameters.get("priority") else {
        return Ok(0);
    };
    value.as_u64().ok_or_else(|| {
        Error::malformed(format!(
            "parameter 'priority' is {value}, but it is a whole number, 1 the highest"
        ))
    })
}
