//! How much memory the bodies of requests, and answers that were not taken yet, may take, all
//! together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use oip_protocol::{Bytes, Error, Limit, Result};

/// Answers up to this are not counted, in bytes: what counting takes is for those that matter.
pub const UNCOUNTED: usize = 4 << 10;

/// The memory that bodies may take, from their first byte until their requests are answered, and
/// answers until they are sent.
#[derive(Debug, Clone)]
pub struct Memory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    held: AtomicUsize,
    most: usize,
    /// Microseconds that large bodies were held of late; 0 where none was measured.
    lasted: AtomicU64,
    /// How many were refused for want of it that would fit, were others not there, and for how
    /// many bytes the last of them asked.
    refusals: AtomicU64,
    refused: AtomicUsize,
}

/// Bodies of which is measured how long they are held, in bytes: those that fill the memory. Small
/// ones need no clock.
const LARGE: usize = 64 << 10;

/// A request with no more parameters than this is counted by its body alone.
const PLAIN_PARAMETERS: usize = 64;
/// What each parameter beyond them is counted as, in bytes: decoded, a short one takes more than
/// five times what it takes in its body.
const PARAMETER: usize = 32;

/// What one request holds of it; given back when it is dropped.
#[derive(Debug)]
pub struct Held {
    memory: Memory,
    bytes: usize,
    /// Since when, of a large body.
    since: Option<Instant>,
}

impl Memory {
    /// So many bytes at most.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Inner {
            held: AtomicUsize::new(0),
            most,
            lasted: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
            refused: AtomicUsize::new(0),
        }))
    }

    /// How many bytes are held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.load(Relaxed)
    }

    /// How many may be.
    #[must_use]
    pub fn most(&self) -> usize {
        self.0.most
    }

    /// How many were refused for want of it, since it began: whoever holds much and is slow may
    /// see by this that others need it. Who asked for more than there is at all does not count, as
    /// nobody can make room for that.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.0.refusals.load(Relaxed)
    }

    /// Whether it is still too full for the last of them.
    #[must_use]
    pub fn is_short(&self) -> bool {
        let refused = self.0.refused.load(Relaxed);
        refused > self.0.most.saturating_sub(self.held())
    }

    /// For a request of which nothing has been read yet.
    #[must_use]
    pub fn nothing(&self) -> Held {
        Held {
            memory: self.clone(),
            bytes: 0,
            since: None,
        }
    }

    /// Whether a body of so many bytes would fit now. Nothing is set aside for it: a caller may
    /// say more than it sends.
    ///
    /// # Errors
    /// `TooManyRequests`.
    pub fn refuse_announced(&self, bytes: usize) -> Result<()> {
        match bytes > self.0.most.saturating_sub(self.held()) {
            true => Err(self.0.full(bytes)),
            false => Ok(()),
        }
    }
}

impl Held {
    /// Takes more.
    ///
    /// # Errors
    /// `TooManyRequests` where it does not fit; what is held stays so.
    pub fn grow(&mut self, bytes: usize) -> Result<()> {
        let Inner { held, most, .. } = &*self.memory.0;
        let before = held.fetch_add(bytes, Relaxed);
        if bytes > most.saturating_sub(before) {
            held.fetch_sub(bytes, Relaxed);
            return Err(self.memory.0.full(self.bytes.saturating_add(bytes)));
        }
        self.bytes += bytes;
        if self.bytes >= LARGE && self.since.is_none() {
            self.since = Some(Instant::now());
        }
        Ok(())
    }

    /// Takes what so many parameters of a request need, now that it is decoded; nothing for a few.
    ///
    /// # Errors
    /// As [`grow`](Self::grow).
    pub fn take_parameters(&mut self, count: usize) -> Result<()> {
        match count.checked_sub(PLAIN_PARAMETERS) {
            None | Some(0) => Ok(()),
            Some(many) => self.grow(many.saturating_mul(PARAMETER)),
        }
    }

    /// The memory of which it holds a part.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Holds so many bytes from now on: those of an answer, in place of those of its request.
    ///
    /// An answer is there already when it is counted, and may be longer than all that is allowed.
    /// So it is taken as long as others have left anything: what is held goes beyond the limit by
    /// one answer at most.
    ///
    /// # Errors
    /// `TooManyRequests` where others hold everything; what is held stays so.
    pub fn exchange(&mut self, bytes: usize) -> Result<()> {
        let Inner { held, most, .. } = &*self.memory.0;
        let Some(more) = bytes.checked_sub(self.bytes) else {
            held.fetch_sub(self.bytes - bytes, Relaxed);
            self.bytes = bytes;
            return Ok(());
        };
        let others = held.fetch_add(more, Relaxed) - self.bytes;
        if more > 0 && others >= *most {
            held.fetch_sub(more, Relaxed);
            // When it is asked again, its request has to fit, and anything beside it.
            let again = self.bytes.clamp(1, (*most).max(1));
            return Err(self.memory.0.full(again));
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Gives it to the pieces of an answer: it is given back when the last of them was sent, or
    /// dropped.
    pub fn goes_with(self, pieces: &mut [Bytes]) {
        let held = Arc::new(self);
        for piece in pieces {
            let bytes = std::mem::take(piece);
            *piece = Bytes::from_owner(Counted {
                bytes,
                _held: Arc::clone(&held),
            });
        }
    }

    /// Gives everything back.
    pub fn release(&mut self) {
        self.memory.0.held.fetch_sub(self.bytes, Relaxed);
        self.bytes = 0;
        if let Some(since) = self.since.take() {
            self.memory.0.record(since.elapsed());
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

impl Inner {
    /// A large body was held for so long. The later ones count more.
    fn record(&self, lasted: Duration) {
        let lasted = u64::try_from(lasted.as_micros()).unwrap_or(u64::MAX).max(1);
        let before = match self.lasted.load(Relaxed) {
            0 => lasted,
            before => before,
        };
        let mean = (u128::from(before) * 4 + u128::from(lasted)) / 5;
        let mean = u64::try_from(mean).unwrap_or(u64::MAX);
        self.lasted.store(mean.max(1), Relaxed);
    }

    /// The memory is free again when what fills it now is answered: about as long as large bodies
    /// were held of late, a second at least. `bytes` is what would have to fit.
    #[cold]
    fn full(&self, bytes: usize) -> Error {
        if bytes <= self.most {
            self.refused.store(bytes, Relaxed);
            self.refusals.fetch_add(1, Relaxed);
        }
        let seconds = self.lasted.load(Relaxed).div_ceil(1_000_000).max(1);
        let message = "other requests and their answers take all the memory that they may";
        Error::too_many_requests(message)
            .retry_after(u32::try_from(seconds).unwrap_or(u32::MAX))
            .at_limit(Limit::BodyMemory)
    }
}

/// A piece of an answer, counted until it is gone.
struct Counted {
    bytes: Bytes,
    _held: Arc<Held>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_share_the_memory_and_give_it_back() {
        let memory = Memory::new(100);
        let mut one = memory.nothing();
        one.grow(60).unwrap();
        let mut other = memory.nothing();
        assert!(other.grow(41).is_err());
        other.grow(40).unwrap();
        assert!(memory.refuse_announced(1).is_err());
        drop(one);
        assert_eq!(memory.held(), 40);
        assert!(memory.refuse_announced(60).is_ok());
        other.release();
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn many_parameters_are_counted_beside_their_body_and_a_few_are_not() {
        let memory = Memory::new(5000);
        let mut held = memory.nothing();
        held.take_parameters(PLAIN_PARAMETERS).unwrap();
        assert_eq!(memory.held(), 0);
        held.take_parameters(PLAIN_PARAMETERS + 100).unwrap();
        assert_eq!(memory.held(), 100 * PARAMETER);
        assert!(held.take_parameters(PLAIN_PARAMETERS + 100).is_err());
    }

    #[test]
    fn a_refusal_says_how_long_large_bodies_are_held() {
        let memory = Memory::new(LARGE);
        let refused = |memory: &Memory| memory.refuse_announced(LARGE + 1).unwrap_err();
        assert_eq!(refused(&memory).retry_after_seconds(), Some(1));
        for _ in 0..100 {
            memory.0.record(Duration::from_millis(4200));
        }
        assert_eq!(refused(&memory).retry_after_seconds(), Some(5));
        let mut large = memory.nothing();
        large.grow(LARGE).unwrap();
        assert_eq!(
            memory.nothing().grow(1).unwrap_err().retry_after_seconds(),
            Some(5)
        );
        let before = memory.0.lasted.load(Relaxed);
        drop(large);
        assert!(
            memory.0.lasted.load(Relaxed) < before,
            "it was held for a moment"
        );
    }

    #[test]
    fn an_answer_is_counted_until_its_last_piece_is_gone() {
        let memory = Memory::new(100);
        let mut held = memory.nothing();
        held.grow(60).unwrap();
        held.exchange(20).unwrap();
        assert_eq!((memory.held(), held.bytes()), (20, 20));
        let mut pieces = [Bytes::from(vec![1; 15]), Bytes::from(vec![2; 5])];
        held.goes_with(&mut pieces);
        let [one, other] = pieces;
        assert_eq!((&one[..], &other[..]), (&[1; 15][..], &[2; 5][..]));
        let part = one.slice(3..5);
        drop((one, other));
        assert_eq!(memory.held(), 20);
        drop(part);
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn one_answer_may_go_beyond_the_limit_and_then_there_is_room_for_no_other() {
        let memory = Memory::new(100);
        let [mut one, mut other] = [memory.nothing(), memory.nothing()];
        other.grow(90).unwrap();
        one.exchange(500).unwrap();
        assert!(other.exchange(91).is_err());
        assert_eq!(memory.held(), 590);
        other.exchange(10).unwrap();
        assert!(memory.nothing().grow(1).is_err());
        drop((one, other));
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn it_is_short_until_there_is_room_for_all_that_was_refused_last() {
        let memory = Memory::new(100);
        let [mut one, mut two, mut refused] = [(); 3].map(|()| memory.nothing());
        one.grow(50).unwrap();
        two.grow(30).unwrap();
        assert!(!memory.is_short(), "nobody was refused");
        // It comes in parts, and gives back what has come.
        refused.grow(20).unwrap();
        assert!(refused.grow(40).is_err());
        drop(refused);
        assert!(memory.is_short());
        drop(two);
        assert!(memory.is_short(), "there are 50 for 60");
        drop(one);
        assert!(!memory.is_short());
        assert_eq!(memory.refusals(), 1);
    }

    #[test]
    fn who_asks_for_more_than_there_is_makes_it_short_for_nobody() {
        let memory = Memory::new(100);
        let mut held = memory.nothing();
        held.grow(90).unwrap();
        assert!(memory.refuse_announced(101).is_err());
        assert!(held.grow(11).is_err());
        assert!(memory.nothing().grow(101).is_err());
        assert_eq!((memory.refusals(), memory.is_short()), (0, false));
        // What is too large from now on hides nobody who is not.
        assert!(memory.refuse_announced(20).is_err());
        assert!(memory.refuse_announced(101).is_err());
        assert_eq!((memory.refusals(), memory.is_short()), (1, true));
    }

    #[test]
    fn an_answer_that_is_refused_needs_what_its_request_does() {
        let memory = Memory::new(100);
        let [mut one, mut other] = [memory.nothing(), memory.nothing()];
        other.grow(20).unwrap();
        one.exchange(500).unwrap();
        assert!(other.exchange(300).is_err());
        drop(other);
        assert_eq!((memory.refusals(), memory.is_short()), (1, true));
        drop(one);
        assert!(!memory.is_short());
    }
}
