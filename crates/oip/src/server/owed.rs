//! Pieces of answers that wait for the other end, where it takes each stream by itself.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// How many pieces wait, by the spell in which they began to. A spell is a quarter of the time
/// that they may take. So there is no clock to be read for each, and no list of them.
#[derive(Default)]
pub(super) struct Owed {
    spell: AtomicUsize,
    /// When it began, in milliseconds.
    begun: AtomicU64,
    waiting: [AtomicUsize; SPELLS],
}

/// Spells that are told apart.
const SPELLS: usize = 8;
/// What has waited for so many spells has waited too long.
const PATIENT: usize = 5;

/// The spell in which a piece began to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spell(u8);

impl Owed {
    /// One more piece, which must be [`taken`](Self::taken).
    pub(super) fn owes(&self) -> Spell {
        let spell = self.spell.load(Relaxed) % SPELLS;
        self.waiting[spell].fetch_add(1, Relaxed);
        Spell(spell as u8)
    }

    /// It was taken, or never will be.
    pub(super) fn taken(&self, spell: Spell) {
        self.waiting[usize::from(spell.0) % SPELLS].fetch_sub(1, Relaxed);
    }

    /// Whether every piece was.
    pub(super) fn is_nothing(&self) -> bool {
        let mut waiting = self.waiting.iter();
        waiting.all(|waiting| waiting.load(Relaxed) == 0)
    }

    /// Until when nobody need look again; `None` where a piece has waited for too long. Times are
    /// milliseconds from 1, and `length` is that of a spell.
    pub(super) fn look(&self, now: u64, length: u64) -> Option<u64> {
        let end = self.begun.load(Relaxed).max(1).saturating_add(length);
        if now < end {
            return Some(end);
        }
        self.begun.store(now, Relaxed);
        let spell = self.spell.fetch_add(1, Relaxed).wrapping_add(1);
        let late = (PATIENT..SPELLS).map(|spells| spell.wrapping_sub(spells) % SPELLS);
        let mut late = late.map(|spell| self.waiting[spell].load(Relaxed));
        match late.any(|waiting| waiting > 0) {
            true => None,
            false => Some(now.saturating_add(length)),
        }
    }
}
