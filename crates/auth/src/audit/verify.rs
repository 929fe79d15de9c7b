//! Whether a chain is whole: what `oip audit verify` finds.

use std::fmt;
use std::io::{self, BufRead, Read as _};

use super::chain::{AuditKey, Chain, Code, Head, Sealed};

mod log;

pub use log::verify_log;

/// The longest line that is read as one; more is no line of an audit.
const LONGEST: u64 = 64 << 10;

/// The most findings that are kept; more are only counted.
const MOST: usize = 1000;

/// One thing that is wrong. Lines of the file count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Not a line of an audit, or one that was torn by a crash.
    NotALine {
        /// Which line of the file.
        line: u64,
    },
    /// The line, or the one before it, is not what was written; or the key is another.
    Changed {
        /// Which line of the file.
        line: u64,
        /// Its number in the chain.
        seq: u64,
    },
    /// Lines are missing before this one.
    Missing {
        /// Which line of the file.
        line: u64,
        /// The first number that is missing.
        from: u64,
        /// The last number that is missing.
        to: u64,
    },
    /// A line whose number has been before: moved, or written twice.
    OutOfOrder {
        /// Which line of the file.
        line: u64,
        /// Its number in the chain.
        seq: u64,
    },
    /// The line was sealed another way: without a key where there is one, or the other way round.
    OtherSeal {
        /// Which line of the file.
        line: u64,
        /// Its number in the chain.
        seq: u64,
    },
    /// The file ends before the head that the log knows.
    CutOff {
        /// The last number in the file.
        last: u64,
        /// The number that the head gives.
        head: u64,
    },
    /// The line that the head names has another code: the chain was written anew.
    OtherHead {
        /// The number that the head gives.
        head: u64,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotALine { line } => {
                write!(f, "line {line} is no line of an audit, or a torn one")
            }
            Self::Changed { line, seq } => {
                write!(f, "line {line} (number {seq}) is not what was written")
            }
            Self::Missing { line, from, to } if from == to => {
                write!(f, "number {from} is missing before line {line}")
            }
            Self::Missing { line, from, to } => {
                write!(f, "numbers {from} to {to} are missing before line {line}")
            }
            Self::OutOfOrder { line, seq } => {
                write!(f, "line {line} (number {seq}) is out of order")
            }
            Self::OtherSeal { line, seq } => {
                write!(
                    f,
                    "line {line} (number {seq}) is sealed another way: with a key where none was given, or without"
                )
            }
            Self::CutOff { last, head } => {
                write!(f, "the file ends at number {last}; the head says {head}")
            }
            Self::OtherHead { head } => {
                write!(
                    f,
                    "number {head} is not the line that the head names: the chain was written anew"
                )
            }
        }
    }
}

/// What a chain is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many lines of an audit were read.
    pub lines: u64,
    /// How far the chain goes.
    pub head: Head,
    /// Whether a key was given. Without one the chain shows accidents only: whoever can write the
    /// file can compute it anew.
    pub keyed: bool,
    /// Whether the lines are sealed with a key that was not given. Then no code was compared but
    /// the head's: only the lines' numbers and form were.
    pub sealed: bool,
    /// How many heads it was held against.
    pub heads: u64,
    /// What is wrong, in the order of the file; the first thousand.
    pub findings: Vec<Finding>,
    /// How many things are wrong.
    pub found: u64,
}

impl Report {
    /// Nothing read yet.
    fn new(head: Head, keyed: bool) -> Self {
        Self {
            lines: 0,
            head,
            keyed,
            sealed: false,
            heads: 0,
            findings: Vec::new(),
            found: 0,
        }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.found == 0
    }

    /// What there is to say of an audit in which nothing is wrong, no more than was looked at.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        match (self.lines, self.sealed) {
            (0, _) => "no lines",
            (_, true) => "no line is missing, out of order or torn",
            (_, false) => "the audit is whole",
        }
    }

    /// What could not be found for want of a key, if one was wanting.
    #[must_use]
    pub fn without_key(&self) -> Option<&'static str> {
        match (self.keyed, self.sealed) {
            (true, _) => None,
            (_, true) => Some(
                "the lines are sealed with a key that was not given (--key-file): only their \
                 numbers and form were checked",
            ),
            (_, false) => Some("without a key (--key-file) accidents alone can be found"),
        }
    }

    fn add(&mut self, finding: Finding) {
        self.found += 1;
        if self.findings.len() < MOST {
            self.findings.push(finding);
        }
    }
}

/// Reads an audit from its beginning and holds every line against the chain.
///
/// Without a head from the server's log, lines that were cut off at the end cannot be seen; after a
/// restart the newest head says nothing of lines that were cut off before it, so give those of
/// every run. Without the key of lines that are sealed with one, a changed line cannot be seen ([`Report::sealed`]).
///
/// # Errors
/// The file cannot be read.
pub fn verify(
    mut audit: impl BufRead,
    key: Option<AuditKey>,
    heads: &[Head],
) -> io::Result<Report> {
    let keyed = key.is_some();
    let chain = Chain::new(key);
    let mut report = Report::new(chain.start(), keyed);
    let start = report.head.code;
    let mut named: Vec<(Head, Option<Code>)> = heads.iter().map(|head| (*head, None)).collect();
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        if audit.by_ref().take(LONGEST).read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        let whole = bytes.strip_suffix(b"\n");
        let parsed = whole.and_then(|text| std::str::from_utf8(text).ok());
        let Some(sealed) = parsed.and_then(Sealed::parse) else {
            report.add(Finding::NotALine { line });
            continue;
        };
        hold(&mut report, &chain, line, &sealed);
        let these = named.iter_mut();
        for (_, code) in these.filter(|(head, _)| head.count == sealed.seq) {
            *code = Some(sealed.code);
        }
    }
    for (head, code) in named {
        report.heads += 1;
        // What stands before the first line is made with the key, too.
        let before = if report.sealed { head.code } else { start };
        match code.or((head.count == 0).then_some(before)) {
            Some(code) if code == head.code => {}
            Some(_) => report.add(Finding::OtherHead { head: head.count }),
            None => {
                let last = report.head.count;
                report.add(Finding::CutOff {
                    last,
                    head: head.count,
                });
            }
        }
    }
    Ok(report)
}

/// Holds one line against the chain so far.
fn hold(report: &mut Report, chain: &Chain, line: u64, sealed: &Sealed<'_>) {
    let seq = sealed.seq;
    if report.lines == 0 {
        report.sealed = !report.keyed && sealed.member == Chain::KEYED;
    }
    report.lines += 1;
    let member = match report.sealed {
        true => Chain::KEYED,
        false => chain.member(),
    };
    if sealed.member != member {
        report.add(Finding::OtherSeal { line, seq });
    }
    let next = report.head.count.saturating_add(1);
    if seq < next {
        // The chain goes on after the line that was in its place.
        report.add(Finding::OutOfOrder { line, seq });
        return;
    }
    if seq > next {
        report.add(Finding::Missing {
            line,
            from: next,
            to: seq - 1,
        });
    } else if !report.sealed && chain.code(&report.head.code, sealed.body) != sealed.code {
        report.add(Finding::Changed { line, seq });
    }
    report.head = Head {
        count: seq,
        code: sealed.code,
    };
}

#[cfg(test)]
mod tests;
