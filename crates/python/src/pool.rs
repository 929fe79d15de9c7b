//! The threads on which blocking handlers run. They are Python's threads; each stays known to
//! the interpreter and takes as many jobs as there are while it holds the GIL.
//!
//! A job is taken from the queue only by a thread that holds the GIL already: a thread that was
//! woken and waits for the GIL keeps no job from the one that is running.
//!
//! What only lets go of memory goes first and is no request: it takes next to no time, and nobody is
//! refused for it. Next come questions about a model, lest probes wait for all inferences that do,
//! in turn with inferences, lest those wait for all probes.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

/// Something to do while holding the GIL.
pub(crate) type Job = Box<dyn FnOnce(Python<'_>) + Send>;

/// Jobs, and the threads that wait for them.
#[pyclass(name = "Pool", module = "oip._oip", frozen)]
pub(crate) struct Pool {
    queue: Arc<Queue>,
    /// What a thread of its own does, lest it wait behind inferences.
    control: Arc<Queue>,
    attended: bool,
}

/// The side of a pool that hands out work.
#[derive(Clone)]
pub(crate) struct Jobs(Arc<Queue>);

/// What a job is to those who wait for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An inference, or what takes as long.
    Work,
    /// What a model declares, or whether it is ready.
    Question,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    /// Work waits, and every thread is busy.
    short: Condvar,
}

#[derive(Default)]
struct State {
    /// In the order of their numbers, as the next.
    jobs: VecDeque<(u64, Job)>,
    questions: VecDeque<(u64, Job)>,
    /// A question was taken last, so it is the turn of a job where one waits.
    asked: bool,
    /// The number of the next one.
    next: u64,
    /// What lets go of memory.
    releases: Vec<Job>,
    sleeping: usize,
    /// A thread has been woken and has taken nothing yet.
    waking: bool,
    closed: bool,
    /// How many threads there are.
    threads: u32,
    /// How long work took of late; the later ones count more.
    lasted: Duration,
}

impl State {
    fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.questions.is_empty() && self.releases.is_empty()
    }

    /// A job and its kind; what lets go of memory has none.
    fn take(&mut self) -> Option<(Job, Option<Kind>)> {
        if let Some(release) = self.releases.pop() {
            return Some((release, None));
        }
        self.asked = !self.questions.is_empty() && (self.jobs.is_empty() || !self.asked);
        let (jobs, kind) = match self.asked {
            true => (&mut self.questions, Kind::Question),
            false => (&mut self.jobs, Kind::Work),
        };
        jobs.pop_front().map(|(_, job)| (job, Some(kind)))
    }

    fn of(&mut self, kind: Kind) -> &mut VecDeque<(u64, Job)> {
        match kind {
            Kind::Work => &mut self.jobs,
            Kind::Question => &mut self.questions,
        }
    }

    /// Whether work waits that nobody is on the way to.
    fn is_short(&self) -> bool {
        let waits = !self.jobs.is_empty() || !self.questions.is_empty();
        self.sleeping == 0 && !self.waking && waits
    }
}

/// A job that waits, for whoever may want it back.
pub(crate) struct Ticket {
    queue: Arc<Queue>,
    kind: Kind,
    number: u64,
}

impl Ticket {
    /// Takes the job out of the queue and drops it; nothing where it has begun.
    pub(crate) fn give_up(self) {
        let mut state = self.queue.lock();
        let jobs = state.of(self.kind);
        let place = jobs.binary_search_by_key(&self.number, |(number, _)| *number);
        let job = place.ok().and_then(|place| jobs.remove(place));
        // What it holds is let go of when the lock is free.
        drop(state);
        drop(job);
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes one more thread where there is work and nobody on the way to it. It is woken when the
    /// lock is free, lest it wait for that at once.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        if state.sleeping > 0 && !state.waking && !state.is_empty() {
            state.waking = true;
            drop(state);
            self.wake.notify_one();
        } else if state.is_short() {
            drop(state);
            self.short.notify_one();
        }
    }

    /// Waits until there is something to do; `false` when there never will be again.
    fn wait(&self) -> bool {
        let mut state = self.lock();
        while state.is_empty() && !state.closed {
            state.sleeping += 1;
            state = self
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.sleeping -= 1;
            if state.is_empty() {
                state.waking = false;
            }
        }
        !state.is_empty()
    }

    /// Waits until every thread has been busy for a moment while work waits; `false` when the pool
    /// is closed. A thread that has just been made takes what waits within that moment.
    fn wait_until_short(&self) -> bool {
        const MOMENT: Duration = Duration::from_millis(2);
        loop {
            let mut state = self.lock();
            while !state.is_short() && !state.closed {
                state = self
                    .short
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            drop(state);
            std::thread::sleep(MOMENT);
            let state = self.lock();
            if state.closed || state.is_short() {
                return !state.closed;
            }
        }
    }

    /// Takes a job: after another, or when woken. `lasted` is how long that one took.
    fn take(&self, woken: bool, lasted: Option<Duration>) -> Option<(Job, Option<Kind>)> {
        let mut state = self.lock();
        if woken {
            state.waking = false;
        }
        match lasted {
            None => {}
            Some(lasted) if state.lasted.is_zero() => state.lasted = lasted,
            Some(lasted) => state.lasted = (state.lasted * 4 + lasted) / 5,
        }
        let job = state.take();
        self.wake(state);
        job
    }
}

impl Jobs {
    /// Puts a job at the end of the queue. It is dropped when the pool is closed.
    pub(crate) fn push(&self, job: Job) {
        // Nobody waits for a job that was dropped.
        let _ = self.push_within(Kind::Work, job, usize::MAX);
    }

    /// Puts a job at the end of those of its kind, unless so many of them wait already. Those that
    /// a thread without work is about to take do not wait.
    ///
    /// The ticket is `None` where the job was dropped, as the pool is closed.
    ///
    /// # Errors
    /// How many wait.
    pub(crate) fn push_within(
        &self,
        kind: Kind,
        job: Job,
        most: usize,
    ) -> Result<Option<Ticket>, usize> {
        let mut state = self.0.lock();
        let taken = state.sleeping + usize::from(state.waking);
        let there = state.of(kind).len();
        if state.closed || there >= taken.saturating_add(most) {
            let (closed, waiting) = (state.closed, there - taken.min(there));
            drop(state);
            drop(job);
            return if closed { Ok(None) } else { Err(waiting) };
        }
        let number = state.next;
        state.next += 1;
        state.of(kind).push_back((number, job));
        self.0.wake(state);
        Ok(Some(Ticket {
            queue: Arc::clone(&self.0),
            kind,
            number,
        }))
    }

    /// Whole seconds, one at least, until a thread is free for one more than so many that wait, by
    /// how long work took of late.
    pub(crate) fn seconds_until_free(&self, waiting: usize) -> u32 {
        let state = self.0.lock();
        let before = u32::try_from(waiting).unwrap_or(u32::MAX).saturating_add(1);
        let wait = state.lasted.as_secs_f64() * f64::from(before) / f64::from(state.threads.max(1));
        (wait.ceil() as u32).max(1)
    }

    /// Puts what lets go of memory before every job, without being one of those that wait. It is
    /// dropped when the pool is closed.
    pub(crate) fn release(&self, job: Job) {
        let mut state = self.0.lock();
        if state.closed {
            drop(state);
            drop(job);
            return;
        }
        state.releases.push(job);
        self.0.wake(state);
    }
}

impl Pool {
    pub(crate) fn jobs(&self) -> Jobs {
        Jobs(Arc::clone(&self.queue))
    }

    /// For what should not wait behind inferences; the same as [`jobs`](Self::jobs) where no
    /// thread was set aside for it.
    pub(crate) fn control(&self) -> Jobs {
        match self.attended {
            true => Jobs(Arc::clone(&self.control)),
            false => self.jobs(),
        }
    }
}

#[pymethods]
impl Pool {
    /// `attended`: one of the threads will call `attend`.
    #[new]
    #[pyo3(signature = (attended=false))]
    fn new(attended: bool) -> Self {
        Self {
            queue: Arc::default(),
            control: Arc::default(),
            attended,
        }
    }

    /// Works until the pool is closed. Each thread of the pool calls it once.
    fn work(&self, py: Python<'_>) {
        work(py, &self.queue);
    }

    /// The same for what should not wait behind inferences.
    fn attend(&self, py: Python<'_>) {
        work(py, &self.control);
    }

    /// Waits until there are too few threads; `false` when the pool is closed.
    fn is_short(&self, py: Python<'_>) -> bool {
        py.detach(|| self.queue.wait_until_short())
    }

    /// Lets the threads go when the queue is empty.
    fn close(&self) {
        for queue in [&self.queue, &self.control] {
            queue.lock().closed = true;
            queue.wake.notify_all();
            queue.short.notify_all();
        }
    }
}

fn work(py: Python<'_>, queue: &Queue) {
    queue.lock().threads += 1;
    while py.detach(|| queue.wait()) {
        let (mut woken, mut lasted) = (true, None);
        while let Some((job, kind)) = queue.take(woken, lasted) {
            let begun = Instant::now();
            job(py);
            woken = false;
            lasted = (kind == Some(Kind::Work)).then(|| begun.elapsed());
        }
    }
    queue.lock().threads -= 1;
}
