//! Who is let into the queue: whoever will surely have an answer in time, as far as that can be
//! told from what waits and from how long runs took.

use std::time::Duration;

use oip_protocol::{Error, Limit, Result};
use tokio::time::Instant;

use super::job::{Job, Kind, too_late};
use super::pace::{Pace, retry_seconds};
use super::queue::Ahead;
use super::{Inner, State};

impl State {
    /// Instances that do not run. Something may wait all the same: for others to join it, or as
    /// it came so lately that no instance has been given it yet.
    fn idle(&self) -> usize {
        self.limits.instances.saturating_sub(self.busy)
    }

    /// Whether one more request would find no place: those that wait for an idle instance take
    /// none.
    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= self.limits.queue.saturating_add(self.idle())
    }

    /// Whether a request of this level would find no place: none is free, and nobody waits who
    /// would give way to it.
    pub(super) fn is_full_for(&self, level: usize) -> bool {
        self.is_full() && self.queue.last_level().is_none_or(|last| last <= level)
    }

    /// How long one waits who comes now with this priority and has a run of its own.
    fn wait(&self, level: usize) -> Duration {
        let ahead = self.queue.ahead(level).without(self.idle());
        self.pace.wait(ahead, self.limits.instances)
    }
}

impl Inner {
    /// Lets a request in, and says when the run is expected to begin that it opens; refuses it
    /// where it would only wait in vain.
    pub(super) fn admit(&self, state: &State, job: &Job, kind: Option<&Kind>) -> Result<Instant> {
        let now = job.queued;
        let left = job.deadline.map(|end| end.saturating_duration_since(now));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(too_late());
        }
        if state.is_full_for(job.level) {
            return Err(self.full(state));
        }
        let joins = kind.and_then(|kind| state.queue.joins(job, kind));
        let runs = state.queue.ahead(job.level).runs + u64::from(joins.is_none());
        // What waits for others to join it goes when its own deadline needs that.
        if runs <= state.idle() as u64 {
            return Ok(now);
        }
        let opens = state.wait(job.level);
        let wait = joins.map_or(opens, |begins| {
            // However late that one is, something runs before it.
            let least = state.pace.wait(Ahead::default(), state.limits.instances);
            opens.min(begins.saturating_duration_since(now).max(least))
        });
        let run = state.pace.run(job.size());
        match (left, state.limits.max_time) {
            (_, Some(most)) if wait > most => {
                Err(self.overloaded(wait, run, most, "the wait that is allowed"))
            }
            (Some(left), _) if Pace::surely_done(wait, run) > left => {
                Err(self.overloaded(wait, run, left, "the time that is left"))
            }
            _ => {
                // A tenth later than expected: whoever joins relies on it.
                let begins = opens.saturating_add(opens / 10);
                Ok(now.checked_add(begins).unwrap_or(now))
            }
        }
    }

    /// What one is told who would wait beyond what is allowed: `allowed`, which is `whose`.
    fn overloaded(&self, wait: Duration, run: Duration, allowed: Duration, whose: &str) -> Error {
        let owner = &self.owner;
        let (seconds, limit) = (retry_seconds(wait), Limit::ModelQueue);
        let (wait, run, allowed) = (told(wait), told(run), told(allowed));
        Error::too_many_requests(format!(
            "{owner} is overloaded: the wait is expected to take {wait} and a run {run}, beyond \
             {whose} ({allowed})"
        ))
        .retry_after(seconds)
        .at_limit(limit)
    }

    /// What one is told who finds the queue full.
    pub(super) fn full(&self, state: &State) -> Error {
        let (owner, waiting) = (&self.owner, state.queue.len());
        Error::too_many_requests(format!(
            "the queue of {owner} is full: {waiting} requests wait already"
        ))
        .retry_after(retry_seconds(state.wait(usize::MAX)))
        .at_limit(Limit::ModelQueue)
    }

    /// What the last one of a full queue is told who gives way to one of a higher priority.
    pub(super) fn gave_way(&self, state: &State) -> Error {
        let owner = &self.owner;
        Error::too_many_requests(format!(
            "the queue of {owner} is full, and a request of a higher priority has taken the last \
             place"
        ))
        .retry_after(retry_seconds(state.wait(usize::MAX)))
        .at_limit(Limit::ModelQueue)
    }
}

/// A duration as a refusal says it.
fn told(duration: Duration) -> String {
    match duration.as_millis() {
        0 => format!("{} µs", duration.as_micros()),
        milliseconds => format!("{milliseconds} ms"),
    }
}
