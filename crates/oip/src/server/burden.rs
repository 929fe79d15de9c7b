//! The answers of a connection that its other end has yet to take, and how fast it takes them, where
//! they are large together. Why that matters stands in `door/pace.rs`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use oip_core::execute::Memory;
use tokio::time::Instant;

use super::life::Life;
use crate::door::pace::{GRACE, LARGE, least_rate};

/// What a connection holds of answers that are not small.
#[derive(Default)]
pub(super) struct Burden {
    /// The memory that they are counted in, where others may want it.
    memory: Option<Memory>,
    bytes: AtomicUsize,
    /// How often that has become large: only time without an end of it counts.
    spells: AtomicU64,
    /// Bytes of anything that the system has taken.
    sent: AtomicU64,
    looked: Mutex<Option<Looked>>,
}

/// What was seen when it was looked at last.
struct Looked {
    at: Instant,
    spell: u64,
    sent: u64,
    refusals: u64,
}

impl Burden {
    /// It counts in this memory.
    pub(super) fn of(memory: Memory) -> Self {
        Self {
            memory: Some(memory),
            ..Self::default()
        }
    }

    /// So many bytes were taken. There is one who says so.
    pub(super) fn sent(&self, bytes: usize) {
        let sent = self.sent.load(Relaxed).wrapping_add(bytes as u64);
        self.sent.store(sent, Relaxed);
    }

    fn grow(&self, bytes: usize) {
        let before = self.bytes.fetch_add(bytes, Relaxed);
        if before < LARGE && bytes >= LARGE - before {
            self.spells.fetch_add(1, Relaxed);
        }
    }

    /// How many bytes of them wait for the other end.
    pub(super) fn holds(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Whether too little was taken since it was last asked, and somebody was refused meanwhile
    /// for whom there is still no memory.
    pub(super) fn is_in_the_way(&self, now: Instant) -> bool {
        let Some(memory) = &self.memory else {
            return false;
        };
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = self.holds();
        if bytes < LARGE {
            *looked = None;
            return false;
        }
        let sees = Looked {
            at: now,
            spell: self.spells.load(Relaxed),
            sent: self.sent.load(Relaxed),
            refusals: memory.refusals(),
        };
        let before = looked.as_ref();
        let Some(before) = before.filter(|before| before.spell == sees.spell) else {
            *looked = Some(sees);
            return false;
        };
        let passed = now.duration_since(before.at);
        if passed < GRACE {
            return false;
        }
        let enough = passed.as_secs_f64() * least_rate(bytes) as f64;
        let is_slow = (sees.sent.wrapping_sub(before.sent) as f64) < enough;
        let is_wanted = sees.refusals != before.refusals && memory.is_short();
        *looked = Some(sees);
        is_slow && is_wanted
    }
}

/// A piece of an answer, which is a burden until all of it is gone.
pub(super) fn burdening(bytes: Bytes, life: Arc<Life>) -> Bytes {
    life.burden().grow(bytes.len());
    Bytes::from_owner(Piece { bytes, life })
}

struct Piece {
    bytes: Bytes,
    life: Arc<Life>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let bytes = self.bytes.len();
        self.life.burden().bytes.fetch_sub(bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::server::ConnectionLimits;

    const MIB: usize = 1 << 20;

    fn life(memory: &Memory) -> Arc<Life> {
        let limits = Arc::new(ConnectionLimits::default());
        Arc::new(Life::beside(limits, Burden::of(memory.clone())))
    }

    fn answer(life: &Arc<Life>, bytes: usize) -> Bytes {
        burdening(Bytes::from(vec![0; bytes]), Arc::clone(life))
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_large_answer_too_slowly_is_in_the_way_of_those_who_are_refused() {
        let memory = Memory::new(MIB);
        let mut held = memory.nothing();
        held.grow(MIB).unwrap();
        let life = life(&memory);
        let refuse = || assert!(memory.nothing().grow(MIB).is_err());
        let looks = async |sent: usize| {
            tokio::time::advance(Duration::from_secs(7)).await;
            life.burden().sent(sent);
            life.burden().is_in_the_way(Instant::now())
        };
        refuse();
        assert!(!looks(0).await, "it holds nothing");
        let answer = answer(&life, 64 * MIB);
        let part = answer.slice(..10);
        drop(answer);
        assert!(!looks(0).await, "it has just begun");
        assert!(!looks(0).await, "nobody minds");
        refuse();
        assert!(!looks(15 * MIB).await, "it takes two a second");
        refuse();
        assert!(looks(13 * MIB).await);
        refuse();
        held.release();
        assert!(!looks(0).await, "there is room again");
        held.grow(MIB).unwrap();
        drop(part);
        refuse();
        assert!(!looks(0).await, "it holds nothing any more");
    }
    #[tokio::test(start_paused = true)]
    async fn what_was_seen_of_an_answer_that_is_gone_is_not_held_against_the_next() {
        let memory = Memory::new(MIB);
        let mut held = memory.nothing();
        held.grow(MIB).unwrap();
        let life = life(&memory);
        let refuse = || assert!(memory.nothing().grow(MIB).is_err());
        let is_in_the_way = || life.burden().is_in_the_way(Instant::now());
        let mut taken = answer(&life, MIB);
        for _ in 0..3 {
            assert!(!is_in_the_way());
            tokio::time::advance(GRACE * 2).await;
            refuse();
            drop(taken);
            taken = answer(&life, MIB);
        }
        assert!(!is_in_the_way(), "it has just begun");
        tokio::time::advance(GRACE * 2).await;
        refuse();
        assert!(is_in_the_way(), "it was there all the time");
    }
}
