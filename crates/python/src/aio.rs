//! Handlers that are `async def` run on one asyncio loop. Jobs reach it through a queue and one
//! byte on a socket that the loop watches, so that nobody but the loop's thread needs the GIL.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;

/// Makes the coroutine, on the loop's thread.
pub(crate) type Begin = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;
/// Takes what became of a call.
pub(crate) type Finish = Box<dyn for<'py> FnOnce(Python<'py>, PyResult<Bound<'py, PyAny>>) + Send>;

/// A coroutine that is to run: its number, itself, and what to call with its outcome.
type Begun = (u64, Py<PyAny>, Done);

/// The loop's end: what it should begin and what it should cancel.
#[pyclass(name = "Bridge", module = "oip._oip", frozen)]
pub(crate) struct Bridge {
    shared: Arc<Shared>,
    reader: UnixStream,
}

/// The end that hands out work.
#[derive(Clone)]
pub(crate) struct Loop(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    writer: UnixStream,
    next: AtomicU64,
}

#[derive(Default)]
struct State {
    begin: VecDeque<(u64, Begin, Finish)>,
    cancel: Vec<u64>,
    signalled: bool,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, mut state: MutexGuard<'_, State>) {
        if !std::mem::replace(&mut state.signalled, true) {
            drop(state);
            // A full socket has a byte in it, which is all that is wanted.
            let _ = (&self.writer).write(&[1]);
        }
    }
}

/// Cancels what it stands for when it is dropped, unless that has ended.
pub(crate) struct CancelOnDrop {
    shared: Arc<Shared>,
    id: u64,
    ended: bool,
}

impl CancelOnDrop {
    /// There is nothing to cancel any more.
    pub(crate) fn ended(mut self) {
        self.ended = true;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut state = self.shared.lock();
        if !state.closed {
            state.cancel.push(self.id);
            self.shared.signal(state);
        }
    }
}

impl Loop {
    /// Has the loop begin something.
    pub(crate) fn begin(&self, begin: Begin, finish: Finish) -> CancelOnDrop {
        let id = self.0.next.fetch_add(1, Relaxed);
        let mut state = self.0.lock();
        if !state.closed {
            state.begin.push_back((id, begin, finish));
            self.0.signal(state);
        }
        CancelOnDrop {
            shared: Arc::clone(&self.0),
            id,
            ended: false,
        }
    }
}

impl Bridge {
    pub(crate) fn of_loop(&self) -> Loop {
        Loop(Arc::clone(&self.shared))
    }
}

#[pymethods]
impl Bridge {
    #[new]
    fn new() -> PyResult<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        Ok(Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                writer,
                next: AtomicU64::new(0),
            }),
            reader,
        })
    }

    /// What the loop should watch.
    fn fileno(&self) -> i32 {
        self.reader.as_raw_fd()
    }

    /// What there is to do: coroutines to run, each with its number and what to call with its
    /// outcome, and the numbers of those to cancel.
    fn take(&self, py: Python<'_>) -> (Vec<Begun>, Vec<u64>) {
        let mut bytes = [0; 16];
        let _ = (&self.reader).read(&mut bytes);
        let (begin, cancel) = {
            let mut state = self.shared.lock();
            state.signalled = false;
            (
                std::mem::take(&mut state.begin),
                std::mem::take(&mut state.cancel),
            )
        };
        let mut begun = Vec::with_capacity(begin.len());
        for (id, begin, finish) in begin {
            if cancel.contains(&id) {
                continue;
            }
            match begin(py) {
                Ok(coroutine) => begun.push((id, coroutine, Done(Mutex::new(Some(finish))))),
                Err(error) => finish(py, Err(error)),
            }
        }
        (begun, cancel)
    }

    /// Takes nothing more.
    fn close(&self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.begin.clear();
    }
}

/// Is called with what a coroutine returned, or with the exception that it raised.
#[pyclass(module = "oip._oip", frozen)]
pub(crate) struct Done(Mutex<Option<Finish>>);

#[pymethods]
impl Done {
    #[pyo3(signature = (result, error=None))]
    fn __call__<'py>(
        &self,
        py: Python<'py>,
        result: Bound<'py, PyAny>,
        error: Option<Bound<'py, PyAny>>,
    ) {
        let finish = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(finish) = finish else { return };
        match error {
            None => finish(py, Ok(result)),
            Some(error) => finish(py, Err(PyErr::from_value(error))),
        }
    }
}
