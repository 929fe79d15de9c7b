//! How many runs of a version go on at once, where its engine has such a bound.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The sessions of a version. There is one for each instance, but for the moments in which the
/// instances of a model are more than this version of it has: after a reload that made them more,
/// or beside a newer version of another engine.
pub(super) struct Sessions {
    free: Mutex<usize>,
    freed: Condvar,
}

/// A session that is held.
pub(super) struct Session<'a>(&'a Sessions);

impl Sessions {
    pub(super) fn new(count: usize) -> Self {
        Self {
            free: Mutex::new(count.max(1)),
            freed: Condvar::new(),
        }
    }

    /// Waits for a session.
    pub(super) fn take(&self) -> Session<'_> {
        let mut free = self.free();
        while *free == 0 {
            let woken = self.freed.wait(free);
            free = woken.unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Session(self)
    }

    fn free(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        *self.0.free() += 1;
        self.0.freed.notify_one();
    }
}
