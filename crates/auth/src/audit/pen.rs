//! The pen: whoever holds it writes.
//!
//! A request that waits for its line writes it itself where the pen is free: handing a few hundred
//! bytes to the operating system takes about a microsecond, and waking a thread for it, and being
//! woken, several. Where somebody writes already, its line goes with others to the thread
//! ([`Gathering`](super::gather::Gathering)).
//!
//! A write can also take long: the disk is behind, the folder lies on a network. Requests leave the
//! writing to the thread then, so that no async thread waits for a disk more than once, until the
//! thread's own writes are quick again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, TryLockError};
use std::time::{Duration, Instant};

use super::chain::Head;
use super::gather::{Round, Written};
use super::writer::Writer;

/// A write that takes longer was slow.
const SLOW: Duration = Duration::from_millis(1);
/// How long after a slow write requests leave the writing to the thread.
const AFTER_SLOW: Duration = Duration::from_millis(100);
/// How often a request tries to get the pen. Who writes has it for about a microsecond.
const TRIES: u32 = 30;

pub(super) struct Pen {
    /// `None` once the audit has ended.
    writer: Mutex<Option<Writer>>,
    begun: Instant,
    /// Until when requests do not write, in microseconds after `begun`.
    slow_until: AtomicU64,
}

impl Pen {
    pub(super) fn new(writer: Writer) -> Self {
        Self {
            writer: Mutex::new(Some(writer)),
            begun: Instant::now(),
            slow_until: AtomicU64::new(0),
        }
    }

    /// Writes a line at once; `None` where that is better left to the thread.
    pub(super) fn write(&self, line: &str) -> Option<Written> {
        let begun = Instant::now();
        if self.since(begun) < self.slow_until.load(Ordering::Relaxed) {
            return None;
        }
        for _ in 0..TRIES {
            match self.writer.try_lock() {
                Ok(mut writer) => {
                    let written = writer.as_mut()?.write_one(line, begun);
                    self.look_at_the_time(begun);
                    return Some(written);
                }
                // The thread finds out as well, and ends.
                Err(TryLockError::Poisoned(_)) => return None,
                Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
            }
        }
        None
    }

    /// Writes what was gathered; `None` once the audit has ended.
    pub(super) fn write_all(&self, rounds: &[Round]) -> Option<Written> {
        self.with(|writer| {
            let begun = Instant::now();
            let written = writer.write_rounds(rounds, begun);
            self.look_at_the_time(begun);
            written
        })
    }

    /// Does something with the pen in hand; `None` once the audit has ended.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Writer) -> T) -> Option<T> {
        self.writer.lock().ok()?.as_mut().map(act)
    }

    /// Writes what is left to say, and nothing after it.
    pub(super) fn end(&self) -> Option<Head> {
        let writer = self.writer.lock().ok()?.take();
        writer.map(Writer::end)
    }

    /// From now on every line goes to the thread.
    #[cfg(test)]
    pub(super) fn leave_to_the_thread(&self) {
        self.slow_until.store(u64::MAX, Ordering::Relaxed);
    }

    fn look_at_the_time(&self, begun: Instant) {
        let now = Instant::now();
        if now.saturating_duration_since(begun) >= SLOW {
            let until = self.since(now + AFTER_SLOW);
            self.slow_until.store(until, Ordering::Relaxed);
        }
    }

    fn since(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.begun);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AuditOptions, AuditTarget};
    use super::*;

    fn pen(folder: &tempfile::TempDir) -> Pen {
        let options = AuditOptions {
            target: AuditTarget::File(folder.path().join("audit")),
            ..AuditOptions::default()
        };
        Pen::new(Writer::open(options, std::sync::Arc::default()).unwrap())
    }

    #[test]
    fn who_finds_the_pen_free_writes_and_who_does_not_leaves_it_to_the_thread() {
        let folder = tempfile::tempdir().unwrap();
        let pen = pen(&folder);
        assert_eq!(pen.write("\"n\":1"), Some(Ok(())));
        let held = pen.with(|_| pen.write("\"n\":2"));
        assert_eq!(held, Some(None));
        assert_eq!(pen.write("\"n\":3"), Some(Ok(())));
        assert_eq!(pen.end().unwrap().count, 2);
        assert_eq!(pen.write("\"n\":4"), None);
    }

    #[test]
    fn after_a_slow_write_requests_leave_writing_to_the_thread_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let pen = pen(&folder);
        let long_ago = Instant::now().checked_sub(SLOW).unwrap();
        pen.look_at_the_time(long_ago);
        assert_eq!(pen.write("\"n\":1"), None);
        std::thread::sleep(AFTER_SLOW + Duration::from_millis(5));
        assert_eq!(pen.write("\"n\":1"), Some(Ok(())));
    }
}
