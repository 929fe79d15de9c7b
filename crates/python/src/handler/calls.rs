//! Calls of a handler's methods, each made where it belongs: on the pool of threads or on the
//! loop.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use oip::call::{Part, Timings};
use oip::{Error, Limit, Result};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use tokio::sync::oneshot;

use super::PyHandler;
use super::ask::{Arguments, Ask, Method};
use crate::aio::{CancelOnDrop, Finish};
use crate::errors;
use crate::pool::{Kind, Ticket};

/// A method that is looked up already.
pub(super) struct Bound {
    callable: Py<PyAny>,
    is_async: bool,
}

impl Bound {
    /// The method of this name, or what stands in for it where the object has none.
    pub(super) fn of(object: &pyo3::Bound<'_, PyAny>, method: Method) -> PyResult<Self> {
        let inspect = object.py().import("inspect")?;
        let handler = object.py().import("oip.handler")?;
        let callable = handler.call_method1("method_of", (object, method.name()))?;
        let is_async = inspect.call_method1("iscoroutinefunction", (&callable,))?;
        Ok(Self {
            is_async: is_async.is_truthy()?,
            callable: callable.unbind(),
        })
    }
}

pub(super) fn stopping() -> Error {
    Error::unavailable("the server is stopping")
}

/// An answer on its way, and what ends the call where nobody waits for it any more.
struct Begun<T> {
    answer: oneshot::Receiver<Answered<T>>,
    left: Left,
}

/// Says of a call that nobody waits for it, once this is dropped: then it is not begun, its place
/// in the queue is another's, and what runs on the loop is cancelled.
struct Left {
    clock: Arc<Clock>,
    queued: Option<Ticket>,
}

impl Left {
    /// There is nothing left to cancel.
    fn ended(mut self) {
        self.queued = None;
        if let Some(guard) = self.clock.guard().take() {
            guard.ended();
        }
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        self.clock.left.store(true, Relaxed);
        // Not while the lock is held, which the one that begins the call may wait for.
        let guard = self.clock.guard().take();
        drop(guard);
        if let Some(ticket) = self.queued.take() {
            ticket.give_up();
        }
    }
}

/// What became of a call, and when.
type Answered<T> = (Result<T>, Option<Spent>);

/// Where the time of a call went.
struct Spent([(Part, Duration); 4]);

/// When the parts of a call began.
struct Clock {
    asked: Instant,
    /// A thread, or the loop, has taken it up.
    begun: OnceLock<Instant>,
    /// The arguments are made.
    called: OnceLock<Instant>,
    /// Nobody waits for the answer any more.
    left: AtomicBool,
    /// What cancels it, where it runs on the loop.
    guard: Mutex<Option<CancelOnDrop>>,
}

impl Clock {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            asked: Instant::now(),
            begun: OnceLock::new(),
            called: OnceLock::new(),
            left: AtomicBool::new(false),
            guard: Mutex::default(),
        })
    }

    fn guard(&self) -> MutexGuard<'_, Option<CancelOnDrop>> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has what runs on the loop be cancelled when nobody waits any more, which may be so already.
    fn runs(&self, call: CancelOnDrop) {
        let mut guard = self.guard();
        if !self.left.load(Relaxed) {
            *guard = Some(call);
        }
    }

    /// Makes the arguments.
    fn arguments<'py>(
        &self,
        py: Python<'py>,
        make: Arguments,
    ) -> PyResult<pyo3::Bound<'py, PyTuple>> {
        self.begun.get_or_init(Instant::now);
        let arguments = make(py);
        self.called.get_or_init(Instant::now);
        arguments
    }

    /// Where the time went of a call that returned then and was read just now.
    fn spent(&self, returned: Instant) -> Option<Spent> {
        let (begun, called) = (*self.begun.get()?, *self.called.get()?);
        Some(Spent([
            (Part::Queue, begun - self.asked),
            (Part::ComputeInput, called - begun),
            (Part::ComputeInfer, returned - called),
            (Part::ComputeOutput, returned.elapsed()),
        ]))
    }
}

impl PyHandler {
    /// Calls a method and reads what it returns.
    pub(super) async fn call<T: Send + 'static>(&self, ask: Ask<T>) -> Result<T> {
        let begun = self.begin(ask)?;
        let outcome = begun.answer.await;
        ended(begun.left, outcome).0
    }

    /// The same, and writes down where the time went.
    pub(super) async fn call_timed<T: Send + 'static>(
        &self,
        ask: Ask<T>,
        timings: &Timings,
    ) -> Result<T> {
        let begun = self.begin(ask)?;
        let outcome = begun.answer.await;
        let (outcome, spent) = ended(begun.left, outcome);
        for (part, took) in spent.into_iter().flat_map(|spent| spent.0) {
            timings.add(part, took);
        }
        outcome
    }

    /// The same for a thread that may wait, and that does not hold the GIL.
    pub(super) fn call_blocking<T: Send + 'static>(&self, ask: Ask<T>) -> Result<T> {
        let begun = self.begin(ask)?;
        let outcome = begun.answer.blocking_recv();
        ended(begun.left, outcome).0
    }

    fn begin<T: Send + 'static>(&self, ask: Ask<T>) -> Result<Begun<T>> {
        let (sender, receiver) = oneshot::channel();
        let Ask {
            method,
            model,
            arguments,
            read,
        } = ask;
        let clock = Clock::new();
        let until = Arc::clone(&clock);
        let finish = move |py: Python<'_>, result: PyResult<pyo3::Bound<'_, PyAny>>| {
            let returned = Instant::now();
            let phrase = method.phrase();
            let outcome = match result {
                Ok(result) => {
                    read(&result).map_err(|error| errors::bad_answer(py, &error, phrase, &model))
                }
                Err(error) => Err(errors::raised(py, &error, phrase, &model)),
            };
            // Nobody waits any more where the caller has left.
            let _ = sender.send((outcome, until.spent(returned)));
        };
        let finish: Finish = Box::new(finish);
        let mut left = Left {
            clock: Arc::clone(&clock),
            queued: None,
        };
        match self.is_async(method) {
            true => self.on_loop(method, arguments, clock, finish),
            false => left.queued = self.on_pool(method, arguments, clock, finish)?,
        }
        Ok(Begun {
            answer: receiver,
            left,
        })
    }

    /// Whether a method is one for the loop.
    pub(super) fn is_async(&self, method: Method) -> bool {
        self.method(method).is_async
    }

    fn method(&self, method: Method) -> &Bound {
        let [infer, metadata, load, unload, ready] = &self.0.methods;
        match method {
            Method::Infer => infer,
            Method::Metadata => metadata,
            Method::Load => load,
            Method::Unload => unload,
            Method::Ready => ready,
        }
    }

    fn on_loop(&self, method: Method, make: Arguments, clock: Arc<Clock>, finish: Finish) {
        let (this, until) = (self.clone(), Arc::clone(&clock));
        let begin = Box::new(move |py: Python<'_>| {
            let callable = &this.method(method).callable;
            callable.call1(py, until.arguments(py, make)?)
        });
        clock.runs(self.0.asyncio.begin(begin, finish));
    }

    fn on_pool(
        &self,
        method: Method,
        make: Arguments,
        clock: Arc<Clock>,
        finish: Finish,
    ) -> Result<Option<Ticket>> {
        let this = self.clone();
        let job = Box::new(move |py: Python<'_>| {
            if clock.left.load(Relaxed) {
                return;
            }
            let callable = this.method(method).callable.bind(py);
            let arguments = clock.arguments(py, make);
            let result = arguments.and_then(|arguments| callable.call1(arguments));
            match result {
                Ok(result) if is_coroutine(&result) => {
                    // A plain method that returns a coroutine: a decorated one, say.
                    let coroutine = result.unbind();
                    let begin = Box::new(move |_: Python<'_>| Ok(coroutine));
                    clock.runs(this.0.asyncio.begin(begin, finish));
                }
                result => finish(py, result),
            }
        });
        let (jobs, kind, most) = match method {
            Method::Infer => (&self.0.jobs, Kind::Work, self.0.most_waiting),
            // There are as many as callers who wait for them: whoever leaves takes his along.
            Method::Load | Method::Unload => (&self.0.jobs, Kind::Work, usize::MAX),
            Method::Metadata | Method::Ready => (&self.0.control, Kind::Question, usize::MAX),
        };
        jobs.push_within(kind, job, most)
            .map_err(|waiting| self.queue_full(waiting, waiting))
    }

    /// So many requests wait for a thread already, which takes so many calls.
    pub(super) fn queue_full(&self, waiting: usize, calls: usize) -> Error {
        Error::too_many_requests(format!(
            "the queue of this handler is full: {waiting} requests wait already"
        ))
        .retry_after(self.0.jobs.seconds_until_free(calls))
        .at_limit(Limit::ModelQueue)
    }
}

/// What became of a call that has ended.
fn ended<T>(
    left: Left,
    outcome: std::result::Result<Answered<T>, oneshot::error::RecvError>,
) -> Answered<T> {
    left.ended();
    outcome.unwrap_or_else(|_| (Err(stopping()), None))
}

fn is_coroutine(value: &pyo3::Bound<'_, PyAny>) -> bool {
    let name = value.get_type().name();
    name.is_ok_and(|name| name.to_cow().is_ok_and(|name| name == "coroutine"))
}
