//! Who is let into the queue: whoever will surely have an answer in time, as far as that can be
//! told from what waits and from how long runs took.
//!
//! It is asked twice where a request is large: before its body is read, by what its head says, and
//! again when all of it is known. The first refuses nobody whom the second would let in.

use std::time::Duration;

use oip_protocol::{Error, Limit, Result};
use tokio::time::Instant;

use super::job::{Job, Kind, Runnable, too_late};
use super::pace::{self, Pace, Work, retry_seconds};
use super::{Inner, State, UnderWay};

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
        self.wait_for(self.queue.work(level), self.idle())
    }

    /// How long one waits before whom this is to run.
    fn wait_for(&self, ahead: Work, idle: usize) -> Duration {
        let under_way = self.under_way.iter().map(UnderWay::work).sum();
        pace::wait(under_way, ahead, idle, self.limits.instances)
    }

    /// How long one waits who comes now and joins a run that is expected to begin then.
    fn wait_to_join(&self, begins: Instant, now: Instant) -> Duration {
        // However late that one is, something runs before it.
        let least = self.wait_for(Work::default(), 0);
        begins.saturating_duration_since(now).max(least)
    }

    /// How long anybody waits at least who comes now, whatever the priority and whatever runs
    /// there are to join; `None` where an idle instance may be left.
    fn least_wait(&self, now: Instant) -> Option<Duration> {
        let joins = self.queue.soonest();
        if self.runs_to_begin(0, joins.is_some()) <= self.idle() as u64 {
            return None;
        }
        // Not always that of the highest priority: more runs of fewer rows may take less.
        let opens = (0..self.queue.levels()).map(|level| self.wait(level));
        let joins = joins.map(|begins| self.wait_to_join(begins, now));
        opens.chain(joins).min()
    }

    /// How many runs are to begin for one of this priority to be in one of them.
    fn runs_to_begin(&self, level: usize, joins: bool) -> u64 {
        self.queue.runs(level) + u64::from(!joins)
    }
}

impl Inner {
    /// Lets a request in, and says when the run is expected to begin that it opens; refuses it
    /// where it would only wait in vain.
    pub(super) fn admit(&self, state: &State, job: &Job, kind: Option<&Kind>) -> Result<Instant> {
        let now = job.queued;
        let left = left(job.deadline, now)?;
        if state.is_full_for(job.level) {
            return Err(self.full(state));
        }
        let joins = kind.and_then(|kind| state.queue.joins(job, kind));
        // What waits for others to join it goes when its own deadline needs that.
        if state.runs_to_begin(job.level, joins.is_some()) <= state.idle() as u64 {
            return Ok(now);
        }
        let opens = state.wait(job.level);
        let wait = joins.map_or(opens, |begins| opens.min(state.wait_to_join(begins, now)));
        let run = job.runnable.pace().run(job.size());
        self.in_time(state, wait, run, left)?;
        // A tenth later than expected: whoever joins relies on it.
        let begins = opens.saturating_add(opens / 10);
        Ok(now.checked_add(begins).unwrap_or(now))
    }

    /// Refuses a request of this version whose priority and tensors nobody knows yet where
    /// [`admit`](Self::admit) would refuse it now, whatever they are.
    pub(super) fn admit_unread(
        &self,
        state: &State,
        runnable: &Runnable,
        now: Instant,
        deadline: Option<Instant>,
    ) -> Result<()> {
        let left = left(deadline, now)?;
        if state.is_full_for(0) {
            return Err(self.full(state));
        }
        let run = runnable.pace().shortest();
        match state.least_wait(now) {
            Some(wait) => self.in_time(state, wait, run, left),
            None => Ok(()),
        }
    }

    /// Refuses who would wait longer than is allowed, or may not have the answer of a run in the
    /// time that is left.
    fn in_time(
        &self,
        state: &State,
        wait: Duration,
        run: Duration,
        left: Option<Duration>,
    ) -> Result<()> {
        match (left, state.limits.max_time) {
            (_, Some(most)) if wait > most => {
                Err(self.overloaded(wait, run, most, "the wait that is allowed"))
            }
            (Some(left), _) if Pace::surely_done(wait, run) > left => {
                Err(self.overloaded(wait, run, left, "the time that is left"))
            }
            _ => Ok(()),
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

/// The time that is left until a deadline, which must not be over.
fn left(deadline: Option<Instant>, now: Instant) -> Result<Option<Duration>> {
    let left = deadline.map(|end| end.saturating_duration_since(now));
    match left {
        Some(left) if left.is_zero() => Err(too_late()),
        _ => Ok(left),
    }
}

/// A duration as a refusal says it.
fn told(duration: Duration) -> String {
    match duration.as_millis() {
        0 => format!("{} µs", duration.as_micros()),
        milliseconds => format!("{milliseconds} ms"),
    }
}
