//! How the requests of a model come to its instances: at once where one is idle, else by a
//! bounded queue, from which an instance takes one request or several that are alike.
//!
//! | file | what is there |
//! |---|---|
//! | `queue` | what waits, and what runs next |
//! | `direct`, `batched` | running one request alone, several as one |
//! | `merge`, `split` | several requests as one and back, along dimension 0 |
//! | `pace` | how long a run takes, and so how long one waits |
//! | `check` | whether a model answers a batch as it answers requests alone |
//!
//! An instance is a compute thread that runs what waits until nothing does. All versions of a
//! model share its instances and its queue, across reloads.

mod batched;
pub(crate) mod check;
mod direct;
#[cfg(test)]
mod fake;
mod job;
mod merge;
mod pace;
mod queue;
mod split;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oip_core::Call;
use oip_core::telemetry::Queued;
use oip_protocol::{Error, InferRequest, Limit, Result};
use tokio::sync::oneshot;
use tokio::time::Instant;

pub(crate) use job::{Ran, Runnable, telling};

use job::{Job, Kind, in_order, rows};
use pace::{Pace, retry_seconds};
use queue::{Ahead, Next, Queue};

/// How much later than its moment an alarm may ring: timers count whole milliseconds.
const ALARM: Duration = Duration::from_millis(2);

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

/// The instances of one model and the queue before them.
#[derive(Clone)]
pub(crate) struct Schedule(Arc<Inner>);

struct Inner {
    /// Whose schedule this is, as a refusal says it.
    owner: String,
    state: Mutex<State>,
}

struct State {
    limits: Limits,
    queue: Queue,
    /// Instances that run.
    busy: usize,
    /// Requests that run.
    running: usize,
    /// When the instances are looked at next because something waits for others to join it.
    alarm: Option<Instant>,
    pace: Pace,
    last_id: u64,
}

impl Schedule {
    /// `owner` stands in refusals, for instance `model 'iris'`.
    pub(crate) fn new(owner: impl Into<String>, limits: Limits) -> Self {
        Self(Arc::new(Inner {
            owner: owner.into(),
            state: Mutex::new(State {
                limits,
                queue: Queue::default(),
                busy: 0,
                running: 0,
                alarm: None,
                pace: Pace::default(),
                last_id: 0,
            }),
        }))
    }

    /// From now on these limits hold; what waits stays.
    pub(crate) fn limit(&self, limits: Limits) {
        self.0.state().limits = limits;
        self.0.dispatch();
    }

    /// Runs a request on a version, as soon as an instance has come to it. Dropping the future
    /// takes it out of the queue.
    ///
    /// # Errors
    /// `TooManyRequests` at once when the queue is full or the wait is expected to outlast the
    /// caller's deadline, `TimedOut` when that has passed, or the model's own.
    pub(crate) async fn run(
        &self,
        runnable: &Arc<Runnable>,
        request: InferRequest,
        call: &Call,
    ) -> Result<Ran> {
        let (id, answered) = self.enqueue(runnable, request, call)?;
        let mut place = Place(Some((&self.0, id)));
        self.0.dispatch();
        let ran = answered.await;
        place.0 = None;
        ran.unwrap_or_else(|_| Err(Error::handler_failed("the run was lost")))
    }

    fn enqueue(
        &self,
        runnable: &Arc<Runnable>,
        request: InferRequest,
        call: &Call,
    ) -> Result<(u64, oneshot::Receiver<Result<Ran>>)> {
        let (answer, answered) = oneshot::channel();
        let note = runnable.note(&request, call);
        let inputs = in_order(&*runnable.model, request.inputs);
        let priority = request.parameters.get("priority").cloned();
        let parameters = telling(request.parameters);
        let mut state = self.0.state();
        let level = state.limits.level(priority.as_ref())?;
        let rows = rows(runnable, &inputs).filter(|_| state.gathers(runnable));
        state.last_id += 1;
        let id = state.last_id;
        let mut job = Job {
            id,
            runnable: Arc::clone(runnable),
            rows,
            inputs,
            parameters,
            note,
            level,
            queued: Instant::now(),
            deadline: call.deadline(),
            latest: None,
            answer,
        };
        job.latest = state.latest(&job);
        let kind = job.kind();
        match self.0.admit(&state, &job, kind.as_ref()) {
            Ok(begins) => state.queue.push(job, kind, begins),
            Err(error) => {
                // Before the tensors are dropped.
                drop(state);
                return Err(error);
            }
        }
        Ok((id, answered))
    }

    /// Refuses where one more request would find the queue full now.
    pub(crate) fn refuse_full(&self) -> Result<()> {
        let state = self.0.state();
        let waiting = state.queue.len();
        let idle = waiting == 0 && state.busy < state.limits.instances;
        match !idle && waiting >= state.limits.queue {
            true => Err(self.0.full(&state)),
            false => Ok(()),
        }
    }

    /// The limits that hold now.
    pub(crate) fn limits(&self) -> Limits {
        self.0.state().limits.clone()
    }

    /// What runs and waits now.
    pub(crate) fn queued(&self, name: &str) -> Queued {
        let state = self.0.state();
        Queued {
            name: name.to_owned(),
            waiting: state.queue.len(),
            running: state.running,
            most_waiting: state.limits.queue,
            instances: state.limits.instances,
        }
    }

    /// How many requests wait now.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.0.state().queue.len()
    }
}

impl Limits {
    /// The place of a priority among the levels, from 0. One that is beyond the lowest counts as
    /// the lowest.
    fn level(&self, asked: Option<&oip_protocol::ParameterValue>) -> Result<usize> {
        let asked = match asked {
            None => 0,
            Some(value) => value.as_u64().ok_or_else(|| {
                Error::malformed(format!(
                    "parameter 'priority' is {value}, but it is a whole number, 1 the highest"
                ))
            })?,
        };
        let level = match asked {
            0 => self.default_level,
            asked => asked.min(self.levels),
        };
        Ok(usize::try_from(level.saturating_sub(1)).unwrap_or(usize::MAX))
    }
}

impl State {
    /// Whether requests are gathered now: what takes microseconds is not worth it.
    fn gathers(&self, runnable: &Runnable) -> bool {
        let batching = runnable.gathers.as_ref();
        batching.is_some_and(|batching| !batching.adaptive || self.pace.is_worth_gathering())
    }

    /// Until when a request with a deadline may wait for others, so that its answer is surely there
    /// in time; for half of what is left where no run was measured.
    fn latest(&self, job: &Job) -> Option<Instant> {
        let left = job.deadline?.saturating_duration_since(job.queued);
        let run = self.pace.run(job.size());
        let needed = Pace::surely_done(ALARM, run);
        let spare = match run.is_zero() {
            true => left / 2,
            false => left.saturating_sub(needed),
        };
        job.queued.checked_add(spare)
    }

    /// How long one waits who comes now with this priority.
    fn wait(&self, level: usize) -> Duration {
        let ahead = self.queue.ahead(level);
        self.pace.wait(ahead, self.limits.instances)
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a request in, and says when the run is expected to begin that it opens; refuses it
    /// where it would only wait in vain.
    fn admit(&self, state: &State, job: &Job, kind: Option<&Kind>) -> Result<Instant> {
        let limits = &state.limits;
        let (waiting, now) = (state.queue.len(), job.queued);
        if waiting == 0 && state.busy < limits.instances {
            return Ok(now);
        }
        if waiting >= limits.queue {
            return Err(self.full(state));
        }
        let opens = state.wait(job.level);
        let joins = kind.and_then(|kind| state.queue.joins(job, kind));
        let wait = joins.map_or(opens, |begins| {
            // However late that one is, something runs before it.
            let least = state.pace.wait(Ahead::default(), limits.instances);
            opens.min(begins.saturating_duration_since(now).max(least))
        });
        let run = state.pace.run(job.size());
        let left = job.deadline;
        let left = left.map(|deadline| deadline.saturating_duration_since(now));
        let (allowed, whose) = match (left, limits.max_time) {
            (_, Some(most)) if wait > most => (most, "the wait that is allowed"),
            (Some(left), _) if Pace::surely_done(wait, run) > left => {
                (left, "the time that is left")
            }
            // A tenth later than expected: whoever joins relies on it.
            _ => {
                let begins = opens.saturating_add(opens / 10);
                return Ok(now.checked_add(begins).unwrap_or(now));
            }
        };
        let owner = &self.owner;
        Err(Error::too_many_requests(format!(
            "{owner} is overloaded: the wait is expected to take {} ms and a run {} ms, beyond \
             {whose} ({} ms)",
            wait.as_millis(),
            run.as_millis(),
            allowed.as_millis()
        ))
        .retry_after(retry_seconds(wait))
        .at_limit(Limit::ModelQueue))
    }

    /// What one is told who finds the queue full.
    fn full(&self, state: &State) -> Error {
        let (owner, waiting) = (&self.owner, state.queue.len());
        Error::too_many_requests(format!(
            "the queue of {owner} is full: {waiting} requests wait already"
        ))
        .retry_after(retry_seconds(state.wait(usize::MAX)))
        .at_limit(Limit::ModelQueue)
    }

    /// Gives idle instances what is to run.
    fn dispatch(self: &Arc<Self>) {
        while let Some(jobs) = self.start_one() {
            let this = Arc::clone(self);
            tokio::task::spawn_blocking(move || this.work(jobs));
        }
    }

    fn start_one(self: &Arc<Self>) -> Option<Vec<Job>> {
        let mut state = self.state();
        if state.busy >= state.limits.instances {
            return None;
        }
        let jobs = self.next(&mut state)?;
        state.busy += 1;
        Some(jobs)
    }

    /// Takes what is to run next, or has the instances looked at again when it is time.
    fn next(self: &Arc<Self>, state: &mut State) -> Option<Vec<Job>> {
        match state.queue.next(
            Instant::now(),
            state.running,
            state.pace.is_worth_gathering(),
        ) {
            Next::Run(jobs) => {
                state.running += jobs.len();
                Some(jobs)
            }
            Next::Wait(at) => {
                if state.alarm.is_none_or(|alarm| at < alarm) {
                    state.alarm = Some(at);
                    tokio::spawn(Arc::clone(self).ring(at));
                }
                None
            }
            Next::Nothing => None,
        }
    }

    async fn ring(self: Arc<Self>, at: Instant) {
        tokio::time::sleep_until(at).await;
        let mut state = self.state();
        if state.alarm == Some(at) {
            state.alarm = None;
        }
        drop(state);
        self.dispatch();
    }

    /// What an instance does: runs, until nothing is to be run.
    fn work(self: Arc<Self>, jobs: Vec<Job>) {
        let mut next = Some(jobs);
        while let Some(jobs) = next.take() {
            let mut instance = Instance {
                inner: &self,
                requests: jobs.len(),
                took: None,
                leaves: true,
            };
            let began = std::time::Instant::now();
            let rows = batched::run(jobs);
            if rows > 0 {
                instance.took = Some((rows, began.elapsed()));
            }
            instance.leaves = false;
            drop(instance);
            next = self.go_on();
        }
        // Others may have become due by what this one finished.
        self.dispatch();
    }

    /// What an instance that has finished runs next; `None` when it is to stop.
    fn go_on(self: &Arc<Self>) -> Option<Vec<Job>> {
        let mut state = self.state();
        let jobs = match state.busy > state.limits.instances {
            true => None,
            false => self.next(&mut state),
        };
        if jobs.is_none() {
            state.busy -= 1;
        }
        jobs
    }
}

/// An instance at work. What it holds is given back whatever happens.
struct Instance<'a> {
    inner: &'a Inner,
    requests: usize,
    /// The rows that it ran on, and how long that took.
    took: Option<(u64, Duration)>,
    /// Whether the thread ends with it: it panicked.
    leaves: bool,
}

impl Drop for Instance<'_> {
    fn drop(&mut self) {
        let mut state = self.inner.state();
        state.running -= self.requests;
        if let Some((rows, took)) = self.took {
            state.pace.record(rows, took);
        }
        if self.leaves {
            state.busy -= 1;
        }
    }
}

/// A place in the queue; left when the caller leaves.
struct Place<'a>(Option<(&'a Arc<Inner>, u64)>);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some((inner, id)) = self.0 {
            // Dropped outside the lock, tensors and all.
            let left = inner.state().queue.remove(id);
            drop(left);
        }
    }
}

#[cfg(test)]
mod tests;
