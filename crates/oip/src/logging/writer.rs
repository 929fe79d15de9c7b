//! The thread that writes to standard error, so that nobody waits for whoever reads it.
//!
//! Standard error may be a pipe that nobody reads, and a write to a full pipe does not end. So no
//! thread that serves writes there: it hands its lines over, and where too many wait already they
//! are lost and counted, which is said once the writing goes on.
//!
//! Waking a thread for each line would cost more than the line. Lines that come with every request
//! are written a moment later, with those that have come meanwhile; all others at once.

mod lines;

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lines::{Batch, Lines};

/// How long lines are gathered that come with every request.
const MOMENT: Duration = Duration::from_millis(5);
/// How long a reader is waited for at the end.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How long where the end is not to be waited for.
const IMPATIENCE: Duration = Duration::from_millis(100);
/// How long it takes until a device is asked again that takes nothing just now.
const BUSY: Duration = Duration::from_millis(5);

/// Whose line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    /// What the server says of itself.
    Server,
    /// The audit, where it has no file.
    Audit,
    /// The access log.
    Access,
}

impl Log {
    /// Each of them.
    pub(crate) const ALL: [Self; 3] = [Self::Server, Self::Audit, Self::Access];

    /// As a label names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Audit => "audit",
            Self::Access => "access",
        }
    }
}

/// When a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// As soon as the thread is awake.
    Now,
    /// With those that come within a moment.
    Soon,
}

/// Hands lines to the thread. Clones hand them to the same.
#[derive(Clone)]
pub(crate) struct Writer(Arc<Shared>);

#[derive(Default)]
struct Shared {
    lines: Mutex<Lines>,
    /// There is something to write.
    some: Condvar,
    /// Something was written, or given up.
    gone: Condvar,
    lost: [AtomicU64; Log::ALL.len()],
    impatient: AtomicBool,
}

impl Writer {
    /// Starts the thread. It ends with the process.
    pub(crate) fn start(to: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let its = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("oip-log".to_owned())
            .spawn(move || its.run(to))?;
        Ok(Self(shared))
    }

    /// Hands lines over, whole ones. Neither waits for the writing nor fails.
    pub(crate) fn write(&self, log: Log, when: When, text: &[u8]) {
        let mut lines = self.0.lock();
        let wakes = match lines.add(log, when, text) {
            Ok(wakes) => wakes,
            Err(lost) => {
                drop(lines);
                self.0.lose(log, lost);
                return;
            }
        };
        drop(lines);
        if wakes {
            self.0.some.notify_one();
        }
    }

    /// How many lines were lost.
    pub(crate) fn lost(&self, log: Log) -> u64 {
        self.0.lost(log).load(Relaxed)
    }

    /// Waits until what was handed over so far is written or lost. Gives up after the time that
    /// the end has, counted from when the write that is stuck began. Whether all is written.
    pub(crate) fn flush(&self) -> bool {
        let patience = match self.0.impatient.load(Relaxed) {
            true => IMPATIENCE,
            false => PATIENCE,
        };
        self.0.flush(patience)
    }

    /// From now on the end is hardly waited for.
    pub(super) fn be_impatient(&self) {
        self.0.impatient.store(true, Relaxed);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self, log: Log) -> &AtomicU64 {
        let [server, audit, access] = &self.lost;
        match log {
            Log::Server => server,
            Log::Audit => audit,
            Log::Access => access,
        }
    }

    fn lose(&self, log: Log, lines: u64) {
        self.lost(log).fetch_add(lines, Relaxed);
    }

    fn flush(&self, patience: Duration) -> bool {
        let mut lines = self.lock();
        let wanted = lines.taken();
        let end = Instant::now() + patience;
        if lines.hurry() {
            self.some.notify_one();
        }
        while lines.gone() < wanted {
            let stuck = lines.writing_since().map(|since| since + patience);
            let end = stuck.map_or(end, |stuck| stuck.min(end));
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.gone.wait_timeout(lines, left);
            (lines, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// Waits for lines, and gathers them for a moment where none of them is in a hurry.
    fn next(&self, spare: Batch) -> Batch {
        let lines = self.some.wait_while(self.lock(), |lines| lines.is_empty());
        let lines = lines.unwrap_or_else(PoisonError::into_inner);
        let gathered = self
            .some
            .wait_timeout_while(lines, MOMENT, |lines| !lines.are_urgent());
        let (mut lines, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        lines.take(spare)
    }

    fn run(&self, mut to: impl Write) {
        let mut said = Log::ALL.map(|_| 0);
        let mut batch = Batch::default();
        loop {
            batch = self.next(batch);
            let mut written = false;
            for (log, piece) in batch.pieces() {
                self.lock().begin();
                match write_all(&mut to, piece) {
                    Ok(()) => written = true,
                    // There is nowhere to say why.
                    Err(_) => self.lose(log, lines::count(piece)),
                }
                self.lock().end(piece.len());
                self.gone.notify_all();
            }
            if written {
                self.say_lost(&mut said);
            }
        }
    }

    /// Says what was lost since it was said last.
    fn say_lost(&self, said: &mut [u64; Log::ALL.len()]) {
        let lost = Log::ALL.map(|log| self.lost(log).load(Relaxed));
        if lost == *said {
            return;
        }
        let ([server, audit, access], before) = (lost, std::mem::replace(said, lost));
        tracing::warn!(
            server = server - before[0],
            audit = audit - before[1],
            access = access - before[2],
            "standard error is read too slowly, or cannot be written: lines were lost"
        );
    }
}

/// Writes it all, however often a device says that it takes nothing just now.
fn write_all(to: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(BUSY),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
