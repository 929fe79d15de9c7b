//! What became of lines.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use oip_core::telemetry::AuditFigures;

/// Counts lines by what became of them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    written: AtomicU64,
    lost: AtomicU64,
    refused: AtomicU64,
    /// Of those that were lost, how many no line has told of as yet.
    untold: AtomicU64,
}

impl Tally {
    pub(super) fn wrote(&self, lines: u64) {
        self.written.fetch_add(lines, Relaxed);
    }

    /// Lines were not written, and nobody was refused for that: a line is to tell of them.
    pub(super) fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Relaxed);
        self.untold.fetch_add(lines, Relaxed);
    }

    /// A line was not written, and whoever waited for it was told.
    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// How many lost lines are to be told of now. They count as told from here on.
    pub(super) fn take_untold(&self) -> u64 {
        match self.untold.load(Relaxed) {
            0 => 0,
            _ => self.untold.swap(0, Relaxed),
        }
    }

    /// They could not be told of.
    pub(super) fn give_back(&self, lines: u64) {
        self.untold.fetch_add(lines, Relaxed);
    }

    pub(super) fn read(&self) -> AuditFigures {
        AuditFigures {
            written: self.written.load(Relaxed),
            lost: self.lost.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }
}
