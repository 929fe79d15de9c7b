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

use job::{Job, in_order, rows};
use pace::{Pace, retry_seconds};
use queue::{Next, Queue};

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
        let inputs = in_order(&*runnable.model, request.inputs);
        let priority = request.parameters.get("priority").cloned();
        let parameters = telling(request.parameters);
        let mut state = self.0.state();
        let level = state.limits.level(priority.as_ref())?;
        let queued = Instant::now();
        self.0.admit(&state, level, call.deadline(), queued)?;
        state.last_id += 1;
        let id = state.last_id;
        state.queue.push(Job {
            id,
            runnable: Arc::clone(runnable),
            rows: rows(runnable, &inputs),
            inputs,
            parameters,
            level,
            queued,
            deadline: call.deadline(),
            answer,
        });
        Ok((id, answered))
    }

    /// Refuses where one more request would find the queue full now.
    pub(crate) fn refuse_full(&self) -> Result<()> {
        let state = self.0.state();
        match state.queue.len() >= state.limits.queue {
            true => self.0.admit(&state, 0, None, Instant::now()),
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

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request is let in: refused where it would only wait in vain.
    fn admit(
        &self,
        state: &State,
        level: usize,
        deadline: Option<Instant>,
        now: Instant,
    ) -> Result<()> {
        let limits = &state.limits;
        let waiting = state.queue.len();
        if waiting == 0 && state.busy < limits.instances {
            return Ok(());
        }
        let wait = |level| {
            let ahead = state.queue.runs_ahead(level);
            state.pace.wait(ahead, limits.instances)
        };
        if waiting >= limits.queue {
            let owner = &self.owner;
            return Err(Error::too_many_requests(format!(
                "the queue of {owner} is full: {waiting} requests wait already"
            ))
            .retry_after(retry_seconds(wait(usize::MAX)))
            .at_limit(Limit::ModelQueue));
        }
        if deadline.is_none() && limits.max_time.is_none() {
            return Ok(());
        }
        let wait = wait(level);
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
        let (allowed, whose) = match (left, limits.max_time) {
            (_, Some(most)) if wait > most => (most, "the wait that is allowed"),
            (Some(left), _) if state.pace.surely_done(wait) > left => {
                (left, "the time that is left")
            }
            _ => return Ok(()),
        };
        let owner = &self.owner;
        Err(Error::too_many_requests(format!(
            "{owner} is overloaded: the wait is expected to take {} ms and a run {} ms, beyond \
             {whose} ({} ms)",
            wait.as_millis(),
            state.pace.run().as_millis(),
            allowed.as_millis()
        ))
        .retry_after(retry_seconds(wait))
        .at_limit(Limit::ModelQueue))
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
            if batched::run(jobs) {
                instance.took = Some(began.elapsed());
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
    took: Option<Duration>,
    /// Whether the thread ends with it: it panicked.
    leaves: bool,
}

impl Drop for Instance<'_> {
    fn drop(&mut self) {
        let mut state = self.inner.state();
        state.running -= self.requests;
        if let Some(took) = self.took {
            state.pace.record(took);
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
