//! The threads on which models run.
//!
//! They are not the runtime's own for what blocks: those are 512 at most, whatever they are used
//! for, and as many runs that wait rather than compute (of an `async` handler, say) would have
//! JSON, unpacking, the cache and loads wait until one of them ends. More of those would be no
//! way out, as nothing else bounds that work. Runs are bounded already, by the instances of each
//! model: here are as many threads as there are runs at once, and for a while those that rest.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The threads of one repository.
pub(crate) struct Threads(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// A run has come, or the end.
    come: Condvar,
    /// How long a thread rests before it ends.
    rest: Duration,
}

#[derive(Default)]
struct State {
    /// Runs that no thread has come to yet.
    runs: VecDeque<Run>,
    /// Threads that have no run: they rest, or have just been made.
    free: usize,
    all: usize,
    /// None rests any more.
    ended: bool,
}

type Run = Box<dyn FnOnce() + Send>;

/// As long as threads of tokio's rest.
const REST: Duration = Duration::from_secs(10);

impl Default for Threads {
    fn default() -> Self {
        Self::resting(REST)
    }
}

impl Threads {
    fn resting(rest: Duration) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            come: Condvar::new(),
            rest,
        }))
    }

    /// Runs this on a thread that rests, or on a new one. A panic ends the run and not the thread.
    ///
    /// # Errors
    /// The system's, where there is no thread at all and it makes none. Where it makes no further
    /// one, the run waits for those that there are.
    pub(super) fn run(&self, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut state = self.0.state();
        state.runs.push_back(Box::new(run));
        if state.runs.len() <= state.free {
            drop(state);
            self.0.come.notify_one();
            return Ok(());
        }
        let shared = Arc::clone(&self.0);
        let named = thread::Builder::new().name("oip-run".to_owned());
        match named.spawn(move || shared.work()) {
            Ok(_) => {
                state.free += 1;
                state.all += 1;
                Ok(())
            }
            Err(_) if state.all > 0 => Ok(()),
            Err(error) => {
                let run = state.runs.pop_back();
                // What it holds is let go of when the lock is free.
                drop(state);
                drop(run);
                Err(error)
            }
        }
    }

    /// Those that rest end now, and the others when their runs have ended. Runs are taken all the
    /// same.
    pub(crate) fn end(&self) {
        self.0.state().ended = true;
        self.0.come.notify_all();
    }

    #[cfg(test)]
    fn counts(&self) -> (usize, usize) {
        let state = self.0.state();
        (state.free, state.all)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // In a child of `fork` nobody is there who would give the lock back. Where it is held
        // otherwise, they end when they have rested.
        if let Ok(mut state) = self.0.state.try_lock() {
            state.ended = true;
        }
        self.0.come.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does.
    fn work(&self) {
        let mut state = self.state();
        loop {
            if let Some(run) = state.runs.pop_front() {
                state.free -= 1;
                drop(state);
                finish(run);
                state = self.state();
                state.free += 1;
                continue;
            }
            if state.ended {
                break;
            }
            let rested = self.come.wait_timeout(state, self.rest);
            let (woken, time) = rested.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if time.timed_out() && state.runs.is_empty() {
                break;
            }
        }
        state.free -= 1;
        state.all -= 1;
    }
}

/// Runs it to its end, of whatever kind: a panic was told by its hook, and whoever waits for the
/// run learns that it is lost.
fn finish(run: Run) {
    let ended: Result<(), Box<dyn Any + Send>> = catch_unwind(AssertUnwindSafe(run));
    drop(ended);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Instant;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Waits until so many are free, of so many.
    fn until(threads: &Threads, counts: (usize, usize)) {
        let begun = Instant::now();
        while threads.counts() != counts {
            assert!(begun.elapsed() < Duration::from_secs(30), "{counts:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Runs something that ends when it is let go.
    fn held(threads: &Threads) -> mpsc::Sender<()> {
        let (let_go, held) = mpsc::channel::<()>();
        let run = move || {
            let _ = held.recv();
        };
        threads.run(run).unwrap();
        let_go
    }

    #[test]
    fn there_are_as_many_as_runs_at_once_and_those_that_rest_take_the_next() {
        let threads = Threads::resting(HOUR);
        let runs: Vec<_> = (0..3).map(|_| held(&threads)).collect();
        until(&threads, (0, 3));
        drop(runs);
        until(&threads, (3, 3));
        let runs: Vec<_> = (0..2).map(|_| held(&threads)).collect();
        until(&threads, (1, 3));
        drop(runs);
        until(&threads, (3, 3));
    }

    #[test]
    fn one_that_has_rested_long_ends() {
        let threads = Threads::resting(Duration::from_millis(1));
        drop(held(&threads));
        until(&threads, (0, 0));
        drop(held(&threads));
        until(&threads, (0, 0));
    }

    #[test]
    fn at_the_end_those_that_rest_end_at_once_and_the_others_with_their_runs() {
        let threads = Threads::resting(HOUR);
        let (first, second) = (held(&threads), held(&threads));
        drop(first);
        until(&threads, (1, 2));
        threads.end();
        until(&threads, (0, 1));
        // A run is taken all the same.
        drop(held(&threads));
        until(&threads, (0, 1));
        let shared = Arc::downgrade(&threads.0);
        drop(threads);
        assert!(shared.upgrade().is_some(), "it runs");
        drop(second);
        let begun = Instant::now();
        while shared.strong_count() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(30), "it rests");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_panic_ends_its_run_only() {
        let threads = Threads::resting(HOUR);
        let (panics, panicked) = mpsc::channel::<()>();
        let run = move || {
            let _panics = panics;
            panic!("of a run in a test");
        };
        threads.run(run).unwrap();
        assert!(panicked.recv().is_err());
        until(&threads, (1, 1));
        drop(held(&threads));
        until(&threads, (1, 1));
    }
}
