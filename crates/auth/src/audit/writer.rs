//! Lines as they are written: numbered, chained, and said in the log where that fails.

use std::sync::Arc;
use std::time::Instant;

use tracing::{error, info, warn};

use super::chain::{Chain, Head};
use super::file::AuditFile;
use super::gather::{Round, Written};
use super::tally::Tally;
use super::{AuditError, AuditOptions, AuditTarget, Entry};

/// How much room for lines is kept, in bytes.
const KEPT: usize = 64 << 10;

pub(super) struct Writer {
    chain: Chain,
    head: Head,
    /// `None` writes to the log.
    file: Option<AuditFile>,
    /// Where lines are put together, kept for its room.
    text: String,
    tally: Arc<Tally>,
    failing: bool,
}

impl Writer {
    pub(super) fn open(options: AuditOptions, tally: Arc<Tally>) -> Result<Self, AuditError> {
        let chain = Chain::new(options.key);
        let (file, head) = match &options.target {
            AuditTarget::Log => (None, chain.start()),
            AuditTarget::File(path) => {
                let (file, head) = AuditFile::open(path, &chain)?;
                (Some(file), head)
            }
        };
        if let Some(file) = file.as_ref().filter(|file| file.is_torn()) {
            let path = file.path().display();
            warn!(%path, "the audit's last line is torn: a start before this one ended within it; it stays, and 'oip audit verify' finds it");
        }
        if matches!(chain, Chain::Plain) && file.is_some() {
            warn!("the audit has no key (audit_key_file): its chain finds accidents only");
        }
        let writer = Self {
            chain,
            head,
            file,
            text: String::new(),
            tally,
            failing: false,
        };
        // What it goes on after: lines that were cut off before the start are not found by the
        // heads that follow.
        if head.count > 0 {
            writer.log_head();
        }
        Ok(writer)
    }

    /// Begins a new file where the one it writes to was moved away. Whether it did.
    pub(super) fn reopen(&mut self) -> Result<bool, AuditError> {
        let Some(file) = self.file.as_ref().filter(|file| !file.is_in_place()) else {
            return Ok(false);
        };
        let (file, head) = AuditFile::open(file.path(), &self.chain)?;
        // The last word on the file that was moved.
        self.log_head();
        info!(path = self.path(), "the audit begins a new file");
        (self.file, self.head) = (Some(file), head);
        Ok(true)
    }

    /// Writes one line.
    pub(super) fn write_one(&mut self, line: &str, now: Instant) -> Written {
        self.write_lost(now);
        let written = self.write([line], now);
        self.note(&written);
        written
    }

    /// Writes what was gathered.
    pub(super) fn write_rounds(&mut self, rounds: &[Round], now: Instant) -> Written {
        self.write_lost(now);
        let lines = rounds.iter().flat_map(|round| &round.lines);
        let written = self.write(lines.map(String::as_str), now);
        self.note(&written);
        written
    }

    /// Lines that nobody waits for were not written: that is said by a line of its own later.
    pub(super) fn lose(&self, lines: usize) {
        self.tally.lose(lines as u64);
    }

    /// Writes what is left to say; the last head.
    pub(super) fn end(mut self) -> Head {
        self.write_lost(Instant::now());
        self.log_head();
        self.head
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
    fn write_lost(&mut self, now: Instant) {
        let count = self.tally.take_untold();
        if count == 0 {
            return;
        }
        let members = Entry::lost(count).members().unwrap_or_default();
        if self.write([members.as_str()], now).is_err() {
            self.tally.give_back(count);
        }
    }

    /// Writes lines, all of them or none; the chain goes on only when they stand.
    fn write<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>, now: Instant) -> Written {
        let mut head = self.head;
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        for members in lines {
            let seq = head.count.checked_add(1);
            let seq = seq.ok_or("the numbers have run out")?;
            let begin = text.len();
            text.push_str("{\"seq\":");
            push_number(&mut text, seq);
            text.extend([",", members]);
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
            let appended = file.append(&text, now);
            appended.map_err(|error| error.to_string())?;
        }
        self.tally.wrote(head.count - self.head.count);
        self.head = head;
        // A burst is no reason to hold its room for ever.
        if text.capacity() <= KEPT {
            self.text = text;
        }
        Ok(())
    }

    /// How far the chain has come.
    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// As a plain value of a line of the log; none where there is no file.
    fn path(&self) -> Option<String> {
        let file = self.file.as_ref()?;
        Some(file.path().display().to_string())
    }

    pub(super) fn log_head(&self) {
        let path = self.path();
        let keyed = matches!(self.chain, Chain::Keyed(_));
        info!(target: "oip::audit", head = %self.head, path, keyed, "audit head");
    }
}

/// Adds a number as its digits.
pub(super) fn push_number(text: &mut String, mut number: u64) {
    let mut digits = [0; 20];
    let mut count = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        count += 1;
        if number == 0 {
            break;
        }
    }
    let digits = digits.iter().skip(digits.len() - count);
    text.extend(digits.map(|digit| char::from(*digit)));
}

#[cfg(test)]
mod tests;
