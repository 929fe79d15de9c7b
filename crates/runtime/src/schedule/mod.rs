//! How the requests of a model come to its instances: at once where one is idle, else by a
//! bounded queue, from which an instance takes one request or several that are alike.
//!
//! | file | what is there |
//! |---|---|
//! | `limits`, `admit` | what a schedule is held to; who is let in |
//! | `queue` | what waits, and what runs next |
//! | `direct`, `batched` | running one request alone, several as one |
//! | `threads` | the threads on which they run |
//! | `merge`, `split` | several requests as one and back, along dimension 0 |
//! | `sessions` | how many runs of a version go on at once, where its engine has such a bound |
//! | `pace` | how long a run takes, and so how long one waits |
//! | `check` | whether a model answers a batch as it answers requests alone |
//!
//! An instance is a thread that runs what waits until nothing does. All versions of a
//! model share its instances and its queue, across reloads; how fast it runs is each version's own.

mod admit;
mod batched;
pub(crate) mod check;
mod direct;
#[cfg(test)]
pub(crate) mod fake;
mod job;
mod limits;
mod merge;
mod pace;
mod queue;
mod sessions;
mod split;
mod threads;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oip_core::Call;
use oip_core::telemetry::Queued;
use oip_protocol::{Error, InferRequest, Result};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub(crate) use job::{Ran, Runnable, telling};
pub(crate) use limits::{Limits, priority};
pub(crate) use threads::Threads;

use job::{Job, in_order, rows};
use pace::{Pace, Paced, Work};
use queue::{Asking, Next, Queue};

/// How much later than its moment an alarm may ring: timers count whole milliseconds.
const ALARM: Duration = Duration::from_millis(2);

/// The instances of one model and the queue before them.
#[derive(Clone)]
pub(crate) struct Schedule(Arc<Inner>);

struct Inner {
    /// Whose schedule this is, as a refusal says it.
    owner: String,
    /// Shared with the other models.
    threads: Arc<Threads>,
    state: Mutex<State>,
}

struct State {
    limits: Limits,
    queue: Queue,
    /// Instances that run.
    busy: usize,
    /// What they run.
    under_way: Vec<UnderWay>,
    /// When the instances are looked at next because something waits for others to join it.
    alarm: Option<Instant>,
    last_id: u64,
}

/// A run of one request or several.
#[derive(Clone)]
struct UnderWay {
    paced: Arc<Paced>,
    requests: usize,
    rows: u64,
}

/// What an instance is to run.
struct Due {
    jobs: Vec<Job>,
    run: UnderWay,
}

impl Schedule {
    /// `owner` stands in refusals, for instance `model 'iris'`.
    pub(crate) fn new(owner: impl Into<String>, limits: Limits, threads: Arc<Threads>) -> Self {
        Self(Arc::new(Inner {
            owner: owner.into(),
            threads,
            state: Mutex::new(State {
                limits,
                queue: Queue::default(),
                busy: 0,
                under_way: Vec::new(),
                alarm: None,
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
    /// caller's deadline, `TimedOut` when that has passed, `Malformed` for a priority that is no
    /// number, or the model's own.
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
        let priority = priority(&request.parameters)?;
        let parameters = telling(request.parameters);
        let mut state = self.0.state();
        let level = state.limits.level(priority);
        let rows = rows(runnable, &inputs).filter(|_| runnable.gathers_now());
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
        job.latest = latest(&job);
        let kind = job.kind();
        let begins = match self.0.admit(&state, &job, kind.as_ref()) {
            Ok(begins) => begins,
            Err(error) => {
                // Before the tensors are dropped.
                drop(state);
                return Err(error);
            }
        };
        let last = match state.is_full() {
            true => state.queue.take_last(),
            false => None,
        };
        state.queue.push(job, kind, begins);
        if let Some(last) = last {
            let error = self.0.gave_way(&state);
            drop(state);
            let _ = last.answer.send(Err(error));
        }
        Ok((id, answered))
    }

    /// Refuses where a request of this version of which only the deadline is known would be refused
    /// now, whatever else it says: the queue is full, or nobody who comes now has an answer in time.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub(crate) fn refuse_unread(
        &self,
        runnable: &Runnable,
        deadline: Option<Instant>,
    ) -> Result<()> {
        let state = self.0.state();
        self.0
            .admit_unread(&state, runnable, Instant::now(), deadline)
    }

    /// The place among the levels, from 0, of a request of this [`priority`].
    pub(crate) fn level(&self, priority: u64) -> usize {
        self.0.state().limits.level(priority)
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
            running: state.running(),
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

/// Until when a request with a deadline may wait for others, so that its answer is surely there
/// in time; for half of what is left where no run was measured.
fn latest(job: &Job) -> Option<Instant> {
    let left = job.deadline?.saturating_duration_since(job.queued);
    let run = job.runnable.pace().run(job.size());
    let needed = Pace::surely_done(ALARM, run);
    let spare = match run.is_zero() {
        true => left / 2,
        false => left.saturating_sub(needed),
    };
    job.queued.checked_add(spare)
}

impl UnderWay {
    /// `None` where there is nothing to run.
    fn of(jobs: &[Job]) -> Option<Self> {
        Some(Self {
            paced: Arc::clone(&jobs.first()?.runnable.paced),
            requests: jobs.len(),
            rows: jobs.iter().map(Job::size).sum(),
        })
    }

    fn is_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.paced, &other.paced)
            && (self.requests, self.rows) == (other.requests, other.rows)
    }

    /// How long it takes.
    fn work(&self) -> Work {
        self.paced.pace().one(self.rows)
    }
}

impl State {
    /// Requests that run.
    fn running(&self) -> usize {
        self.under_way.iter().map(|run| run.requests).sum()
    }

    /// A run has ended, or has not begun.
    fn ends(&mut self, run: &UnderWay) {
        // One that is like it will do.
        let place = self.under_way.iter().position(|other| other.is_like(run));
        if let Some(place) = place {
            self.under_way.swap_remove(place);
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives idle instances what is to run.
    fn dispatch(self: &Arc<Self>) {
        // Outside a runtime only callers leave, at the end of one; an alarm needs a runtime too.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        while let Some(due) = self.start_one() {
            let (this, runtime) = (Arc::clone(self), runtime.clone());
            let run = due.run.clone();
            let begun = self.threads.run(move || {
                // Models may ask for it, and so do alarms.
                let _entered = runtime.enter();
                this.work(due);
            });
            if let Err(error) = begun {
                self.without_thread(&run, &error);
            }
        }
    }

    /// A run has not begun. Its requests are dropped by now, which tells their callers.
    fn without_thread(&self, run: &UnderWay, error: &io::Error) {
        let mut state = self.state();
        state.busy -= 1;
        state.ends(run);
        drop(state);
        let owner = &self.owner;
        tracing::error!(owner, %error, "no thread can be made for a run");
    }

    fn start_one(self: &Arc<Self>) -> Option<Due> {
        let mut state = self.state();
        if state.busy >= state.limits.instances {
            return None;
        }
        let due = self.next(&mut state, false)?;
        state.busy += 1;
        Some(due)
    }

    /// Takes what is to run next, or has the instances looked at again when it is time.
    fn next(self: &Arc<Self>, state: &mut State, was_busy: bool) -> Option<Due> {
        let asking = Asking {
            running: state.running(),
            was_busy,
        };
        match state.queue.next(Instant::now(), asking) {
            Next::Run(jobs) => {
                let run = UnderWay::of(&jobs)?;
                state.under_way.push(run.clone());
                Some(Due { jobs, run })
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
    fn work(self: Arc<Self>, due: Due) {
        let mut next = Some(due);
        while let Some(Due {
            jobs,
            run: under_way,
        }) = next.take()
        {
            let mut instance = Instance {
                inner: &self,
                under_way,
                took: Vec::new(),
                leaves: true,
            };
            run(jobs, &mut instance.took);
            instance.leaves = false;
            drop(instance);
            next = self.go_on();
        }
        // Others may have become due by what this one finished.
        self.dispatch();
    }

    /// What an instance that has finished runs next; `None` when it is to stop.
    fn go_on(self: &Arc<Self>) -> Option<Due> {
        let mut state = self.state();
        let due = match state.busy > state.limits.instances {
            true => None,
            false => self.next(&mut state, true),
        };
        if due.is_none() {
            state.busy -= 1;
        }
        due
    }
}

/// Runs requests of one version as soon as it has a session for them. Whose deadline is over, or
/// whose caller has left, is looked at once it has.
fn run(jobs: Vec<Job>, took: &mut Vec<(u64, Duration)>) {
    let runnable = jobs.first().map(|job| Arc::clone(&job.runnable));
    let _session = runnable.as_deref().and_then(Runnable::session);
    batched::run(jobs, took);
}

/// An instance at work. What it holds is given back whatever happens.
struct Instance<'a> {
    inner: &'a Inner,
    under_way: UnderWay,
    /// Of each run that went well, its rows and how long it took.
    took: Vec<(u64, Duration)>,
    /// Whether the thread ends with it: it panicked.
    leaves: bool,
}

impl Drop for Instance<'_> {
    fn drop(&mut self) {
        let mut state = self.inner.state();
        state.ends(&self.under_way);
        for (rows, took) in self.took.drain(..) {
            self.under_way.paced.record(rows, took);
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
            if left.is_some() {
                // Who is alone now waits for others no longer.
                inner.dispatch();
            }
        }
    }
}

#[cfg(test)]
mod tests;
