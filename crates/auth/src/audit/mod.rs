//! The audit: one line of JSON for every decision, numbered and chained.
//!
//! An entry is made by the thread that decides. A request that has to wait for its line writes it
//! there and then, where nobody else writes and the disk is quick ([`pen`]); everything else is
//! written by a thread of the log's own, what has come meanwhile in one go ([`gather`]). A line
//! is handed to the operating system before its request goes on, and is not forced to the disk
//! (no `fsync`): it outlives a crash of this process, not one of the machine. Each line ends in a code over itself and the code before it
//! ([`verify()`]): with a key nobody who lacks it can change, drop or reorder a line unseen;
//! without one the chain finds accidents only, as anyone can compute it anew.
//!
//! What no chain can show is that its end was cut off. For that the [`Head`], the number and the
//! code of the last line, goes to the server's log at intervals and at the end.

mod chain;
mod entry;
mod file;
mod gather;
mod pen;
mod tally;
mod thread;
mod verify;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use chain::{AuditKey, Head};
pub use entry::Entry;
use gather::Gathering;
use oip_core::telemetry::AuditFigures;
use pen::Pen;
use tally::Tally;
use thiserror::Error;
pub use verify::{Finding, Report, verify, verify_log};
use writer::Writer;

/// What becomes of a request whose line cannot be written (`audit_failure`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuditFailure {
    /// It waits for its line in the file, and is refused when that fails. The server's log is
    /// not waited for: it cannot say whether it was written.
    #[default]
    Refuse,
    /// It goes on at once. Lines that were lost are counted, and the count is written as a line
    /// of its own as soon as one can be.
    Continue,
}

/// Longest that a line waits for room among those that are to be written.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long until it is tried again.
const SOON: Duration = Duration::from_millis(1);

/// Where the lines go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AuditTarget {
    /// To the server's log, target `oip::audit`; the chain begins anew with each start.
    #[default]
    Log,
    /// To the end of a file; the chain goes on from its last line.
    File(PathBuf),
}

/// How to keep an audit.
#[derive(Debug)]
pub struct AuditOptions {
    /// Where the lines go.
    pub target: AuditTarget,
    /// The key of the chain (`audit_key_file`).
    pub key: Option<AuditKey>,
    /// What becomes of a request whose line cannot be written.
    pub failure: AuditFailure,
    /// How often the head is logged, where there are new lines.
    pub head_interval: Duration,
    /// How many lines may wait to be written.
    pub queue: usize,
}

impl Default for AuditOptions {
    /// To the log, without a key, refuse, the head each minute, 4,096 lines waiting.
    fn default() -> Self {
        Self {
            target: AuditTarget::default(),
            key: None,
            failure: AuditFailure::default(),
            head_interval: Duration::from_secs(60),
            queue: 4096,
        }
    }
}

/// Why there is no audit, or no line.
#[derive(Debug, Error)]
pub enum AuditError {
    /// The file cannot be used.
    #[error("audit file {path}: {fault}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        fault: String,
    },
    /// The key cannot be used.
    #[error("audit key file {path}: {fault}")]
    Key {
        /// The key's file.
        path: PathBuf,
        /// Why not.
        fault: String,
    },
    /// A line could not be written.
    #[error("writing failed: {0}")]
    Write(String),
    /// Too many lines are waiting, and have been for a second.
    #[error("more than {0} lines are waiting to be written")]
    QueueFull(usize),
    /// The log was closed, or its thread has died.
    #[error("the audit log is closed")]
    Closed,
}

/// An audit that is being kept. Clones write to the same.
#[derive(Clone)]
pub struct AuditLog(Arc<Inner>);

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditLog").finish_non_exhaustive()
    }
}

struct Inner {
    gathering: Arc<Gathering>,
    pen: Arc<Pen>,
    thread: Mutex<Option<JoinHandle<Option<Head>>>>,
    failure: AuditFailure,
    /// Whether a line can fail once it is sent.
    waits: bool,
    tally: Arc<Tally>,
}

impl AuditLog {
    /// Opens the target, finds the end of its chain and starts the writing thread.
    ///
    /// # Errors
    /// [`AuditError::File`] when the file cannot be written, is kept by another process, or was
    /// begun with a key where there is none now (or the other way round).
    pub fn open(options: AuditOptions) -> Result<Self, AuditError> {
        let gathering = Arc::new(Gathering::new(options.queue.max(1)));
        let failure = options.failure;
        let in_file = matches!(options.target, AuditTarget::File(_));
        let waits = in_file && failure == AuditFailure::Refuse;
        let tally = Arc::default();
        let interval = options.head_interval;
        let writer = Writer::open(options, Arc::clone(&tally))?;
        let head = writer.head();
        let pen = Arc::new(Pen::new(writer));
        let (lines, its) = (Arc::clone(&gathering), Arc::clone(&pen));
        let thread = std::thread::Builder::new()
            .name("oip-audit".to_owned())
            .spawn(move || thread::run(&its, &lines, head, interval, waits))
            .map_err(|error| AuditError::Write(error.to_string()))?;
        Ok(Self(Arc::new(Inner {
            gathering,
            pen,
            thread: Mutex::new(Some(thread)),
            failure,
            waits,
            tally,
        })))
    }

    /// Writes a line. With [`AuditFailure::Continue`] it neither waits nor fails.
    ///
    /// # Errors
    /// [`AuditError`] with [`AuditFailure::Refuse`]; the request must be refused then.
    pub async fn write(&self, entry: Entry<'_>) -> Result<(), AuditError> {
        let written = match self.0.waits {
            true => self.write_now(&entry).await,
            false => self.hand_over(&entry).await,
        };
        if written.is_err() {
            self.0.tally.refuse();
        }
        written
    }

    /// Writes a line and waits until it stands.
    async fn write_now(&self, entry: &Entry<'_>) -> Result<(), AuditError> {
        let line = members(entry)?;
        match self.0.pen.write(&line) {
            Some(written) => written.map_err(AuditError::Write),
            None => self.0.gathering.write(line).await,
        }
    }

    /// What became of lines since the log was opened.
    #[must_use]
    pub fn figures(&self) -> AuditFigures {
        self.0.tally.read()
    }

    /// Whether a request waits until its line is written.
    pub(crate) fn waits(&self) -> bool {
        self.0.waits
    }

    /// Hands a line to the thread that writes, and waits for room where too many lie there: a
    /// busy server is slowed down by its audit, and refuses nobody for it.
    async fn hand_over(&self, entry: &Entry<'_>) -> Result<(), AuditError> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.put(entry) {
                Err(AuditError::QueueFull(_)) if Instant::now() < end => {
                    tokio::time::sleep(SOON).await;
                }
                sent => return sent,
            }
        }
    }

    /// Hands a line to the thread that writes, where nobody [waits](Self::waits) for that.
    ///
    /// # Errors
    /// As [`write`](Self::write); [`AuditError::QueueFull`] is for [`write`](Self::write) to wait
    /// out.
    pub(crate) fn send(&self, entry: &Entry<'_>) -> Result<(), AuditError> {
        let sent = self.put(entry);
        if !matches!(sent, Ok(()) | Err(AuditError::QueueFull(_))) {
            self.0.tally.refuse();
        }
        sent
    }

    fn put(&self, entry: &Entry<'_>) -> Result<(), AuditError> {
        let sent = members(entry).and_then(|line| self.0.gathering.push(line));
        match self.0.failure {
            AuditFailure::Refuse => sent,
            AuditFailure::Continue => {
                if sent.is_err() {
                    self.0.tally.lose(1);
                }
                Ok(())
            }
        }
    }

    /// Begins a new file, with a chain of its own, where the one it is kept in was moved away (by
    /// logrotate, say); the head of that one goes to the log. Whether it did. Blocks: call it off
    /// the async threads.
    ///
    /// # Errors
    /// [`AuditError::File`] when the new file cannot be written; then nothing has changed.
    pub fn reopen(&self) -> Result<bool, AuditError> {
        let reopened = self.0.pen.with(Writer::reopen);
        reopened.unwrap_or(Err(AuditError::Closed))
    }

    /// Writes what is waiting, logs the head and ends the thread; `None` when that was done
    /// before. Blocks until then: call it at the end, off the async threads.
    pub fn close(&self) -> Option<Head> {
        self.0.close()
    }
}

/// What a line says. Made by whoever decides, so that the writer is left with the chain: it is the
/// one that everybody waits for.
fn members(entry: &Entry<'_>) -> Result<String, AuditError> {
    let line = entry.members();
    line.map_err(|error| AuditError::Write(error.to_string()))
}

impl Inner {
    fn close(&self) -> Option<Head> {
        self.gathering.close();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        thread?.join().ok().flatten()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod head_tests;
#[cfg(test)]
mod tests;
