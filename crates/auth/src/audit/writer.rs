//! The thread that writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::chain::{Chain, Head};
use super::file::AuditFile;
use super::{AuditError, AuditOptions, AuditTarget, Entry};

/// A line to be written, and who waits for it.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) entry: Entry,
    pub(super) done: Option<oneshot::Sender<Result<(), String>>>,
}

pub(super) struct Writer {
    chain: Chain,
    head: Head,
    /// `None` writes to the log.
    file: Option<AuditFile>,
    interval: Duration,
    lost: Arc<AtomicU64>,
    failing: bool,
}

impl Writer {
    pub(super) fn open(options: AuditOptions, lost: Arc<AtomicU64>) -> Result<Self, AuditError> {
        let chain = Chain::new(options.key);
        let (file, head) = match &options.target {
            AuditTarget::Log => (None, chain.start()),
            AuditTarget::File(path) => {
                let (file, head) = AuditFile::open(path, &chain)?;
                (Some(file), head)
            }
        };
        if matches!(chain, Chain::Plain) && file.is_some() {
            warn!("the audit has no key (audit_key_file): its chain finds accidents only");
        }
        Ok(Self {
            chain,
            head,
            file,
            interval: options.head_interval.max(Duration::from_millis(1)),
            lost,
            failing: false,
        })
    }

    /// Writes until every sender is gone.
    pub(super) fn run(mut self, messages: &Receiver<Message>) -> Head {
        let mut logged = self.head;
        let mut due = Instant::now() + self.interval;
        loop {
            let wait = due.saturating_duration_since(Instant::now());
            match messages.recv_timeout(wait) {
                Ok(message) => self.handle(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if Instant::now() >= due {
                due = Instant::now() + self.interval;
                if logged != self.head {
                    self.log_head();
                    logged = self.head;
                }
            }
        }
        self.write_lost();
        self.log_head();
        self.head
    }

    fn handle(&mut self, message: Message) {
        self.write_lost();
        let written = self.write(&message.entry);
        self.note(&written);
        match message.done {
            // Whoever waited may have left; its line stands.
            Some(done) => drop(done.send(written)),
            None if written.is_err() => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
            None => {}
        }
    }

    /// Says in the log when writing begins to fail and when it works again, not for each line.
    fn note(&mut self, written: &Result<(), String>) {
        let path = self.file.as_ref().map(AuditFile::path);
        match written {
            Err(fault) if !self.failing => error!(?path, fault, "the audit cannot be written"),
            Ok(()) if self.failing => info!(?path, "the audit is written again"),
            _ => {}
        }
        self.failing = written.is_err();
    }

    /// Writes how many lines were lost, if any were.
    fn write_lost(&mut self) {
        let count = self.lost.swap(0, Ordering::Relaxed);
        if count > 0 && self.write(&Entry::lost(count)).is_err() {
            self.lost.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Writes one line; the chain goes on only when it stands.
    fn write(&mut self, entry: &Entry) -> Result<(), String> {
        let seq = self
            .head
            .count
            .checked_add(1)
            .ok_or("the numbers have run out")?;
        let body = entry.body(seq).map_err(|error| error.to_string())?;
        let code = self.chain.code(&self.head.code, &body);
        let line = self.chain.seal(&body, &code);
        match &mut self.file {
            Some(file) => file.append(&line).map_err(|error| error.to_string())?,
            None => info!(target: "oip::audit", "{line}"),
        }
        self.head = Head { count: seq, code };
        Ok(())
    }

    fn log_head(&self) {
        let path = self.file.as_ref().map(AuditFile::path);
        let keyed = matches!(self.chain, Chain::Keyed(_));
        info!(target: "oip::audit", head = %self.head, ?path, keyed, "audit head");
    }
}
