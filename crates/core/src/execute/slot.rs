//! Slots: how many may run at once, and how many may wait for that.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::{Duration, Instant};

use oip_protocol::error::excerpt;
use oip_protocol::{Error, Limit, Result};
use tokio::sync::Semaphore;

/// A bounded number of places to run, and a bounded queue before them.
#[derive(Debug, Clone)]
pub struct Slots(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    free: Free,
    waiting: AtomicUsize,
    most_waiting: usize,
    /// How many places there are to run.
    places: usize,
    /// Microseconds that a place was held of late; 0 where none was measured.
    held: AtomicU64,
    /// Whose slots these are, as the refusal says it.
    owner: String,
    /// What is reached when all are taken.
    limit: Limit,
}

/// How many places are free.
#[derive(Debug)]
enum Free {
    /// Where nobody waits for one, counting them is all there is to it, and costs each request
    /// less.
    Counted(AtomicUsize),
    Queued(Semaphore),
}

impl Free {
    /// Takes one, and says how many were free; `None` where none was.
    fn take(&self) -> Option<usize> {
        match self {
            Self::Counted(free) => {
                let taken = free.fetch_update(Acquire, Relaxed, |free| free.checked_sub(1));
                taken.ok()
            }
            Self::Queued(places) => {
                places.try_acquire().ok()?.forget();
                Some(places.available_permits() + 1)
            }
        }
    }

    fn give_back(&self) {
        match self {
            Self::Counted(free) => _ = free.fetch_add(1, Release),
            Self::Queued(places) => places.add_permits(1),
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Counted(free) => free.load(Relaxed),
            Self::Queued(places) => places.available_permits(),
        }
    }
}

/// A place to run; given back when it is dropped.
#[derive(Debug)]
pub struct Slot {
    slots: Arc<Inner>,
    /// Since when it is held, of one that was among the last, or was waited for: only where places
    /// become few is it of use how long one is held.
    since: Option<Instant>,
    has_waited: bool,
}

impl Slot {
    /// Whether it was waited for.
    pub(crate) fn has_waited(&self) -> bool {
        self.has_waited
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(since) = self.since {
            self.slots.record(since.elapsed());
        }
        self.slots.free.give_back();
    }
}

impl Slots {
    /// `running` places (at least one), and a queue of `waiting` before them. `owner` stands in
    /// the refusal, for instance `model 'iris'`.
    pub fn new(owner: impl Into<String>, running: usize, waiting: usize) -> Self {
        Self::counted(owner.into(), running, waiting, Limit::InFlight)
    }

    /// The same for one model.
    pub fn of_model(name: &str, running: usize, waiting: usize) -> Self {
        let owner = format!("model '{}'", excerpt(name));
        Self::counted(owner, running, waiting, Limit::ModelQueue)
    }

    fn counted(owner: String, running: usize, waiting: usize, limit: Limit) -> Self {
        let running = running.clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Inner {
            free: match waiting {
                0 => Free::Counted(AtomicUsize::new(running)),
                _ => Free::Queued(Semaphore::new(running)),
            },
            waiting: AtomicUsize::new(0),
            most_waiting: waiting,
            places: running,
            held: AtomicU64::new(0),
            owner,
            limit,
        }))
    }

    /// Takes a place, waiting in the queue for it, first come first served. Dropping the future
    /// leaves the queue.
    ///
    /// # Errors
    /// [`TooManyRequests`](oip_protocol::ErrorKind::TooManyRequests) at once when the queue is full.
    pub async fn take(&self) -> Result<Slot> {
        if let Some(free) = self.0.free.take() {
            let is_scarce = free <= self.0.places / 2 + 1;
            return Ok(self.slot(is_scarce.then(Instant::now), false));
        }
        let Free::Queued(places) = &self.0.free else {
            return Err(self.0.full(0));
        };
        let _place = Place::take(&self.0)?;
        match places.acquire().await {
            Ok(permit) => {
                // The slot gives it back.
                permit.forget();
                Ok(self.slot(Some(Instant::now()), true))
            }
            Err(_) => Err(Error::unavailable(format!(
                "{} is shutting down",
                self.0.owner
            ))),
        }
    }

    /// A place that was taken.
    fn slot(&self, since: Option<Instant>, has_waited: bool) -> Slot {
        Slot {
            slots: Arc::clone(&self.0),
            since,
            has_waited,
        }
    }

    /// Refuses at once where one more would be refused now, and takes no place.
    ///
    /// # Errors
    /// `TooManyRequests`.
    pub fn refuse_full(&self) -> Result<()> {
        let waiting = self.waiting();
        match self.0.free.count() == 0 && waiting >= self.0.most_waiting {
            true => Err(self.0.full(waiting)),
            false => Ok(()),
        }
    }

    /// Refuses at once where so many others have come for a place, or may come for one.
    ///
    /// # Errors
    /// `TooManyRequests`.
    pub(crate) fn refuse_beyond(&self, others: u64) -> Result<()> {
        let most = self.0.places.saturating_add(self.0.most_waiting) as u64;
        match others >= most {
            true => Err(self.0.full(self.waiting())),
            false => Ok(()),
        }
    }

    /// Whether anyone has a place, or waits for one.
    pub(crate) fn is_in_use(&self) -> bool {
        self.0.free.count() < self.0.places || self.waiting() > 0
    }

    /// How many wait in the queue now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Relaxed)
    }
}

impl Inner {
    /// A place was held for so long. The later ones count more.
    fn record(&self, held: Duration) {
        let held = u64::try_from(held.as_micros()).unwrap_or(u64::MAX).max(1);
        let before = match self.held.load(Relaxed) {
            0 => held,
            before => before,
        };
        let mean = (u128::from(before) * 4 + u128::from(held)) / 5;
        let mean = u64::try_from(mean).unwrap_or(u64::MAX);
        self.held.store(mean.max(1), Relaxed);
    }

    /// Whole seconds, one at least, until there is a place for one more than wait now, by how long
    /// places were held of late: one becomes free the sooner the more there are.
    fn until_free(&self, waiting: usize) -> u32 {
        let waiting = (waiting as u64).saturating_add(1);
        let micros = self.held.load(Relaxed).saturating_mul(waiting) / self.places as u64;
        u32::try_from(micros.div_ceil(1_000_000))
            .unwrap_or(u32::MAX)
            .max(1)
    }

    #[cold]
    fn full(&self, waiting: usize) -> Error {
        let (owner, places) = (&self.owner, self.places);
        Error::too_many_requests(match self.most_waiting {
            0 => format!("{owner} has as many requests as it takes at once: {places}"),
            _ => format!("the queue of {owner} is full: {waiting} requests wait already"),
        })
        .retry_after(self.until_free(waiting))
        .at_limit(self.limit)
    }
}

/// A place in the queue; given back when it is dropped, also by a caller who leaves.
struct Place<'a>(&'a Inner);

impl<'a> Place<'a> {
    fn take(slots: &'a Inner) -> Result<Self> {
        let queued = slots.waiting.fetch_update(Relaxed, Relaxed, |waiting| {
            (waiting < slots.most_waiting).then(|| waiting + 1)
        });
        match queued {
            Ok(_) => Ok(Self(slots)),
            Err(waiting) => Err(slots.full(waiting)),
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use oip_protocol::ErrorKind;

    use super::*;

    #[tokio::test]
    async fn beyond_the_queue_a_request_is_refused_at_once() {
        let slots = Slots::new("model 'm'", 1, 1);
        let held = slots.take().await.unwrap();
        let mut waits = Box::pin(slots.take());
        assert!(waits.as_mut().now_or_never().is_none());
        let error = slots.take().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooManyRequests);
        assert_eq!(
            error.message(),
            "the queue of model 'm' is full: 1 requests wait already"
        );
        drop(held);
        assert!(waits.await.is_ok());
    }

    #[tokio::test]
    async fn without_a_queue_there_are_as_many_places_as_were_given() {
        let slots = Slots::new("this server", 2, 0);
        assert!(!slots.is_in_use());
        let one = slots.take().await.unwrap();
        assert!(slots.refuse_full().is_ok());
        let two = slots.take().await.unwrap();
        for refused in [slots.refuse_full(), slots.take().await.map(drop)] {
            assert_eq!(
                refused.unwrap_err().message(),
                "this server has as many requests as it takes at once: 2"
            );
        }
        drop(one);
        let again = slots.take().await.unwrap();
        assert!(slots.take().await.is_err() && slots.is_in_use());
        drop((two, again));
        assert!(!slots.is_in_use());
    }

    #[test]
    fn as_many_as_have_a_place_or_wait_are_let_come_and_no_more() {
        let slots = Slots::new("model 'm'", 2, 1);
        assert!(slots.refuse_beyond(2).is_ok());
        let refused = slots.refuse_beyond(3).unwrap_err();
        assert_eq!(refused.limit(), Some(Limit::InFlight));
    }

    #[tokio::test]
    async fn a_refusal_says_when_there_is_a_place_behind_those_who_wait() {
        let slots = Slots::new("model 'm'", 2, 4);
        assert_eq!(slots.0.until_free(4), 1, "nothing was measured");
        for _ in 0..100 {
            slots.0.record(Duration::from_millis(2500));
        }
        // Of two places one is free every 1.25 s, and four are before.
        assert_eq!(slots.0.until_free(4), 7);
        let _held = (slots.take().await.unwrap(), slots.take().await.unwrap());
        let mut waits: Vec<_> = (0..4).map(|_| Box::pin(slots.take())).collect();
        assert!(
            waits
                .iter_mut()
                .all(|wait| wait.as_mut().now_or_never().is_none())
        );
        let error = slots.take().await.unwrap_err();
        assert_eq!(error.retry_after_seconds(), Some(7));
        assert_eq!(
            slots.refuse_full().unwrap_err().retry_after_seconds(),
            Some(7)
        );
        for _ in 0..100 {
            slots.0.record(Duration::from_millis(1));
        }
        assert_eq!(slots.0.until_free(4), 1);
        assert_eq!(slots.0.until_free(usize::MAX / 2), u32::MAX);
    }

    #[tokio::test]
    async fn how_long_a_place_is_held_is_measured_where_few_are_left() {
        for waiting in [0, 1] {
            let slots = Slots::new("model 'm'", 8, waiting);
            let mut held = Vec::new();
            for _ in 0..3 {
                held.push(slots.take().await.unwrap());
            }
            std::thread::sleep(Duration::from_millis(5));
            held.clear();
            assert_eq!(slots.0.held.load(Relaxed), 0, "most of them are free");
            for _ in 0..8 {
                held.push(slots.take().await.unwrap());
            }
            std::thread::sleep(Duration::from_millis(5));
            held.clear();
            assert!(slots.0.held.load(Relaxed) >= 5000);
        }
    }

    #[tokio::test]
    async fn a_refusal_where_nobody_waits_says_when_a_place_is_free() {
        let slots = Slots::new("this server", 2, 0);
        for _ in 0..100 {
            slots.0.record(Duration::from_secs(7));
        }
        let _held = (slots.take().await.unwrap(), slots.take().await.unwrap());
        let error = slots.take().await.unwrap_err();
        assert_eq!(error.retry_after_seconds(), Some(4));
    }

    #[tokio::test]
    async fn a_caller_who_leaves_the_queue_frees_its_place() {
        let slots = Slots::new("model 'm'", 1, 1);
        let _held = slots.take().await.unwrap();
        let mut leaves = Box::pin(slots.take());
        assert!(leaves.as_mut().now_or_never().is_none());
        assert_eq!(slots.waiting(), 1);
        drop(leaves);
        assert_eq!(slots.waiting(), 0);
    }
}
