//! How often a policy decision point was asked, what it said, and how long that took.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use super::{Histogram, SharedHistogram};
use crate::access::Decision;

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// It may.
    Permit,
    /// It may not.
    Deny,
    /// No decision could be had, so it may not.
    Fault,
}

impl Decided {
    /// Every outcome, in the order of their declaration.
    pub const ALL: [Self; 3] = [Self::Permit, Self::Deny, Self::Fault];

    /// Its name, such as `"permit"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Deny => "deny",
            Self::Fault => "fault",
        }
    }
}

/// Counts decisions.
#[derive(Debug, Default)]
pub struct Decisions {
    outcomes: [AtomicU64; Decided::ALL.len()],
    took: SharedHistogram,
}

impl Decisions {
    /// Counts a decision that was asked for at this moment.
    pub fn add(&self, decision: &Decision, asked: Instant) {
        let outcome = match decision {
            Decision::Permit { .. } => Decided::Permit,
            Decision::Deny { .. } => Decided::Deny,
            Decision::Fault { .. } => Decided::Fault,
        };
        if let Some(count) = self.outcomes.get(outcome as usize) {
            count.fetch_add(1, Relaxed);
        }
        self.took.add(asked.elapsed());
    }

    /// What was counted until now, under the name of the decision point.
    #[must_use]
    pub fn read(&self, pdp: &'static str) -> DecisionFigures {
        let count = |outcome: Decided| {
            let count = self.outcomes.get(outcome as usize);
            (outcome, count.map_or(0, |count| count.load(Relaxed)))
        };
        DecisionFigures {
            pdp,
            outcomes: Decided::ALL.map(count),
            took: self.took.read(),
            audit: None,
        }
    }
}

/// The decisions of one policy decision point.
#[derive(Debug, Clone)]
pub struct DecisionFigures {
    /// Its name, such as `"embedded"`.
    pub pdp: &'static str,
    /// How often it decided so.
    pub outcomes: [(Decided, u64); Decided::ALL.len()],
    /// How long a decision took, with its audit line where that is waited for.
    pub took: Histogram,
    /// What became of the lines of the audit; `None` where none is kept.
    pub audit: Option<AuditFigures>,
}

/// What became of the lines of an audit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuditFigures {
    /// Lines that stand in the file, or were handed to the server's log.
    pub written: u64,
    /// Lines that could not be written, and whose calls went on.
    pub lost: u64,
    /// Lines that could not be written, and whose calls were refused.
    pub refused: u64,
}
