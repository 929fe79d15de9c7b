//! How fast what is large has to go, once others find no memory because of it.
//!
//! A large body that stops just before its end, or an answer of which a little is taken now and
//! then, holds memory for as long as its time-outs let it, and a few of them hold all that there
//! is. As long as there is room for everybody, nobody minds. As soon as somebody was refused for
//! want of memory, whoever is slow for the size of what it holds gives way: one after another,
//! until there is room for what was refused.

use std::time::Duration;

use oip_core::execute::Held;
use oip_protocol::{Error, Limit};
use tokio::time::Instant;

/// Who holds less than this is in nobody's way, in bytes.
pub(crate) const LARGE: usize = 64 << 10;
/// How long it may be slower than it has to be.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// How often it is looked whether somebody was refused.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Bytes a second that are enough, whatever is held.
const ENOUGH: usize = 64 << 10;
/// Seconds in which all that is held should have come, or be taken.
const WHOLE: usize = 32;

/// How many bytes a second have to come, or be taken, of whoever holds so many.
pub(crate) fn least_rate(holds: usize) -> usize {
    (holds / WHOLE).max(ENOUGH)
}

/// How fast a body comes.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Until when it may go on without another byte. What comes puts this off, but never by more
    /// than the grace: whoever sends much at once may not rest for long on that.
    due: Option<Instant>,
    counted: usize,
    refusals: u64,
}

impl Pace {
    /// All that has come is held, and more is waited for. Refuses it where that is too slow, and
    /// somebody was refused since this was last asked for whom there is still no room.
    ///
    /// # Errors
    /// `TooManyRequests`.
    pub(crate) fn keep(&mut self, held: &Held, now: Instant) -> Result<(), Error> {
        let (holds, refusals) = (held.bytes(), held.memory().refusals());
        let Some(due) = self.due else {
            // Nothing that was before counts.
            *self = Self {
                due: Some(now + GRACE),
                counted: holds,
                refusals,
            };
            return Ok(());
        };
        let came = holds.saturating_sub(self.counted);
        let worth = came as f64 / least_rate(holds) as f64;
        let due = due + Duration::from_secs_f64(worth);
        let is_slow = due <= now;
        let is_wanted = refusals != self.refusals && held.memory().is_short();
        *self = Self {
            due: Some(due.clamp(now, now + GRACE)),
            counted: holds,
            refusals,
        };
        if !is_wanted || !is_slow {
            return Ok(());
        }
        let message = "it came too slowly while others found no memory";
        let error = Error::too_many_requests(message).retry_after(1);
        Err(error.at_limit(Limit::BodyMemory))
    }

    /// The next body begins, for which all this counts nothing.
    pub(crate) fn begins(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use oip_core::execute::Memory;

    use super::*;

    const MIB: usize = 1 << 20;

    #[tokio::test(start_paused = true)]
    async fn who_sent_much_and_then_hardly_anything_gives_way_once_somebody_was_refused() {
        let memory = Memory::new(64 * MIB);
        let mut held = memory.nothing();
        let mut pace = Pace::default();
        held.grow(60 * MIB).unwrap();
        for _ in 0..60 {
            pace.keep(&held, Instant::now()).expect("nobody minds");
            tokio::time::advance(LOOK_EVERY).await;
            held.grow(1).unwrap();
        }
        assert!(memory.nothing().grow(10 * MIB).is_err());
        tokio::time::advance(LOOK_EVERY / 4).await;
        let error = pace.keep(&held, Instant::now()).unwrap_err();
        assert_eq!(error.limit(), Some(Limit::BodyMemory));
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_fast_enough_for_its_size_stays_also_when_it_never_waits() {
        let memory = Memory::new(64 * MIB);
        let mut held = memory.nothing();
        let mut pace = Pace::default();
        held.grow(10 * MIB).unwrap();
        pace.keep(&held, Instant::now()).unwrap();
        for (seconds, came) in [(1, 1), (1, 2), (20, 25), (1, 2), (4, 1)] {
            tokio::time::advance(LOOK_EVERY * seconds).await;
            held.grow(came * MIB).unwrap();
            assert!(memory.nothing().grow(64 * MIB).is_err());
            assert!(memory.is_short());
            pace.keep(&held, Instant::now()).expect("it is fast");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_from_before_is_nobodys_fault() {
        let memory = Memory::new(64 * MIB);
        let [mut other, mut held] = [memory.nothing(), memory.nothing()];
        other.grow(60 * MIB).unwrap();
        assert!(memory.nothing().grow(10 * MIB).is_err());
        held.grow(MIB).unwrap();
        let mut pace = Pace::default();
        pace.keep(&held, Instant::now()).unwrap();
        tokio::time::advance(GRACE * 2).await;
        pace.keep(&held, Instant::now()).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn when_one_has_given_way_and_there_is_room_again_the_other_stays() {
        let memory = Memory::new(64 * MIB);
        let mut slow = [(); 2].map(|()| (memory.nothing(), Pace::default()));
        for (held, pace) in &mut slow {
            held.grow(30 * MIB).unwrap();
            pace.keep(held, Instant::now()).unwrap();
        }
        let [(first, mut its_pace), (second, mut pace)] = slow;
        tokio::time::advance(GRACE).await;
        // There is never room for this.
        assert!(memory.nothing().grow(65 * MIB).is_err());
        its_pace.keep(&first, Instant::now()).unwrap();
        assert!(memory.nothing().grow(10 * MIB).is_err());
        its_pace.keep(&first, Instant::now()).unwrap_err();
        drop(first);
        pace.keep(&second, Instant::now()).unwrap();
    }
}
