//! The thread that writes: whatever has been gathered, in one go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::chain::{Chain, Head};
use super::file::AuditFile;
use super::gather::{Found, Gathering, Round, Written};
use super::{AuditError, AuditOptions, AuditTarget, Entry};

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

    /// Writes until the end. `waited` says whether requests wait for their lines.
    pub(super) fn run(mut self, gathering: &Gathering, waited: bool) -> Head {
        let _end = Abandon(gathering);
        let mut logged = self.head;
        let mut due = Instant::now() + self.interval;
        loop {
            let rounds = match gathering.next(due, waited) {
                Found::Rounds(rounds) => rounds,
                Found::Nothing => Vec::new(),
                Found::End(rounds) => {
                    self.handle(rounds, gathering);
                    break;
                }
            };
            self.handle(rounds, gathering);
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

    /// Writes what was gathered, and tells whoever waits for it.
    fn handle(&mut self, rounds: Vec<Round>, gathering: &Gathering) {
        if rounds.is_empty() {
            return;
        }
        self.write_lost();
        let written = self.write(rounds.iter().flat_map(|round| &round.lines));
        self.note(&written);
        for round in rounds {
            let lines = round.lines.len();
            gathering.gone(lines);
            if written.is_err() && !round.is_waited_for() {
                self.lost.fetch_add(lines as u64, Ordering::Relaxed);
            }
            round.done(written.clone());
        }
    }

    /// Says in the log when writing begins to fail and when it works again, not for each line.
    fn note(&mut self, written: &Written) {
        match written {
            Err(fault) if !self.failing => {
                error!(path = self.path(), fault, "the audit cannot be written");
            }
            Ok(()) if self.failing => info!(path = self.path(), "the audit is written again"),
            _ => {}
        }
        self.failing = written.is_err();
    }

    /// Writes how many lines were lost, if any were.
    fn write_lost(&mut self) {
        let count = self.lost.swap(0, Ordering::Relaxed);
        if count == 0 {
            return;
        }
        let members = Entry::lost(count).members().unwrap_or_default();
        if self.write([&members]).is_err() {
            self.lost.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Writes lines, all of them or none; the chain goes on only when they stand.
    fn write<'a>(&mut self, lines: impl IntoIterator<Item = &'a String>) -> Written {
        let mut head = self.head;
        let mut text = String::new();
        for members in lines {
            let seq = head.count.checked_add(1);
            let seq = seq.ok_or("the numbers have run out")?;
            let begin = text.len();
            text.extend(["{\"seq\":", &seq.to_string(), ",", members]);
            let code = self
                .chain
                .code(&head.code, text.get(begin..).unwrap_or_default());
            self.chain.seal(&mut text, &code);
            match self.file {
                Some(_) => text.push('\n'),
                None => {
                    info!(target: "oip::audit", "{text}");
                    text.clear();
                }
            }
            head = Head { count: seq, code };
        }
        if let Some(file) = &mut self.file {
            file.append(&text).map_err(|error| error.to_string())?;
        }
        self.head = head;
        Ok(())
    }

    /// As a plain value of a line of the log; none where there is no file.
    fn path(&self) -> Option<String> {
        let file = self.file.as_ref()?;
        Some(file.path().display().to_string())
    }

    fn log_head(&self) {
        let path = self.path();
        let keyed = matches!(self.chain, Chain::Keyed(_));
        info!(target: "oip::audit", head = %self.head, path, keyed, "audit head");
    }
}

/// Lets nobody wait for a thread that is gone.
struct Abandon<'a>(&'a Gathering);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

#[cfg(test)]
mod tests;
