//! How often one caller may ask one model: a token bucket for each pair.
//!
//! Callers choose the names of models, and it is not known here whether there is such a model. So
//! of a name only a hash is kept, and each caller has room for so many of them. It cannot have the
//! buckets of others forgotten, nor one of its own that is not full again.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use oip_protocol::{Error, Limit, Result};
use tokio::time::Instant;

/// How many pairs are remembered at least: those of the callers that were active last. There may
/// be twice as many.
const LEAST: usize = 10_000;
/// Models of one caller that have a bucket each. Further ones share one.
const MOST_OF_ONE: usize = 1_000;
/// How often the buckets of a caller that has so many are looked through for those that are full.
const LOOKED_THROUGH: Duration = Duration::from_millis(100);

/// With a seed of its own, so that nobody knows which names share a hash, and with it a bucket.
type Seeded = foldhash::fast::RandomState;

/// The buckets.
#[derive(Debug)]
pub(crate) struct Rates {
    /// Tokens a second.
    rate: f64,
    /// Tokens in a full bucket.
    burst: f64,
    /// Makes what subjects and models are known by.
    hasher: Seeded,
    callers: Mutex<Callers>,
}

/// The callers that were active of late, and those that were before them. When the former have
/// enough pairs, the latter are forgotten all at once: nobody has to look for the oldest.
#[derive(Debug, Default)]
struct Callers {
    late: Known,
    before: Known,
    /// How many pairs are in `late`.
    pairs: usize,
}

type Known = HashMap<u64, Buckets, Seeded>;

/// Those of one caller.
#[derive(Debug)]
struct Buckets {
    models: HashMap<u64, Bucket, Seeded>,
    /// That of all models for which there is no room.
    further: Bucket,
    /// When those that were full were last forgotten.
    looked_through: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Callers {
    /// A caller is active, with `new` buckets where it is not remembered. What is forgotten for it
    /// is handed back, to be dropped when nobody waits.
    fn note(&mut self, caller: u64, new: impl FnOnce() -> Buckets) -> Known {
        let mut forgotten = Known::default();
        if self.pairs >= LEAST {
            let late = std::mem::take(&mut self.late);
            forgotten = std::mem::replace(&mut self.before, late);
            self.pairs = 0;
        }
        if !self.late.contains_key(&caller) {
            let buckets = self.before.remove(&caller).unwrap_or_else(new);
            self.pairs += buckets.models.len();
            self.late.insert(caller, buckets);
        }
        forgotten
    }
}

impl Rates {
    /// So many requests a second, and so many at once (0: as many as in one second).
    pub(crate) fn new(a_second: usize, burst: usize) -> Self {
        let burst = if burst == 0 { a_second } else { burst };
        Self {
            rate: a_second as f64,
            burst: (burst as f64).max(1.0),
            hasher: Seeded::default(),
            callers: Mutex::default(),
        }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// `TooManyRequests` with the time after which there is one again.
    pub(crate) fn take(&self, subject: &str, model: &str) -> Result<()> {
        let now = Instant::now();
        let [caller, model] = [subject, model].map(|name| self.hasher.hash_one(name));
        let new = || Buckets {
            models: HashMap::default(),
            further: self.full(now),
            looked_through: now,
        };
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let forgotten = callers.note(caller, new);
        let mut taken = Ok(());
        if let Some(buckets) = callers.late.get_mut(&caller) {
            let before = buckets.models.len();
            taken = self.take_of(buckets, model, now);
            let after = buckets.models.len();
            callers.pairs = callers.pairs + after - before;
        }
        drop(callers);
        drop(forgotten);
        taken.map_err(|short| self.refusal(&short))
    }

    /// Takes a token of the bucket of a model.
    fn take_of(&self, buckets: &mut Buckets, model: u64, now: Instant) -> Result<(), Short> {
        let shared = !self.has_room(buckets, model, now);
        let bucket = match shared {
            true => &mut buckets.further,
            false => {
                let known = buckets.models.entry(model);
                known.or_insert_with(|| self.full(now))
            }
        };
        bucket.tokens = self.tokens(*bucket, now);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            let wait = (1.0 - bucket.tokens) / self.rate;
            return Err(Short { wait, shared });
        }
        bucket.tokens -= 1.0;
        Ok(())
    }

    /// Whether a model has a bucket, or can have one.
    fn has_room(&self, buckets: &mut Buckets, model: u64, now: Instant) -> bool {
        let Buckets {
            models,
            looked_through,
            ..
        } = buckets;
        if models.len() < MOST_OF_ONE || models.contains_key(&model) {
            return true;
        }
        if now.saturating_duration_since(*looked_through) < LOOKED_THROUGH {
            return false;
        }
        *looked_through = now;
        // A full one is as good as none.
        models.retain(|_, bucket| self.tokens(*bucket, now) < self.burst);
        models.len() < MOST_OF_ONE
    }

    fn full(&self, now: Instant) -> Bucket {
        Bucket {
            tokens: self.burst,
            at: now,
        }
    }

    fn tokens(&self, bucket: Bucket, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.tokens + passed * self.rate).min(self.burst)
    }

    #[cold]
    fn refusal(&self, short: &Short) -> Error {
        let rate = self.rate;
        let wait = Duration::from_secs_f64(short.wait.clamp(0.0, 3600.0));
        let seconds = u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
        Error::too_many_requests(match short.shared {
            false => format!("more than {rate} requests a second to this model"),
            true => format!(
                "more than {rate} requests a second to other models than the {MOST_OF_ONE} that \
                 were asked before"
            ),
        })
        .retry_after(seconds.max(1))
        .at_limit(Limit::RateLimit)
    }
}

/// There is no token.
struct Short {
    /// Seconds until there is one.
    wait: f64,
    /// Whether models share the bucket.
    shared: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_caller_has_a_burst_and_then_the_rate_for_each_model() {
        let rates = Rates::new(2, 3);
        for _ in 0..3 {
            rates.take("ann", "m").unwrap();
        }
        let refused = rates.take("ann", "m").unwrap_err();
        assert_eq!(refused.retry_after_seconds(), Some(1));
        assert_eq!(refused.limit(), Some(Limit::RateLimit));
        rates.take("ann", "other").unwrap();
        rates.take("bob", "m").unwrap();
        tokio::time::advance(Duration::from_millis(500)).await;
        rates.take("ann", "m").unwrap();
        assert!(rates.take("ann", "m").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn names_that_a_caller_makes_up_have_nobodys_bucket_forgotten_and_share_one_at_last() {
        let rates = Rates::new(1, 500);
        for caller in ["ann", "bob"] {
            (0..500).for_each(|_| rates.take(caller, "m").unwrap());
        }
        let made_up = (0..LEAST * 3).map(|n| rates.take("ann", &n.to_string()));
        let passed = made_up.filter(|taken| taken.is_ok()).count();
        // One token of each bucket but that of `m`, and those of the one for all others.
        assert_eq!(passed, MOST_OF_ONE - 1 + 500);
        for caller in ["ann", "bob"] {
            assert!(rates.take(caller, "m").is_err(), "{caller}");
        }
        rates.take("bob", "other").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn buckets_that_are_full_again_make_room_for_other_models() {
        let rates = Rates::new(1, 2);
        for n in 0..MOST_OF_ONE {
            rates.take("ann", &n.to_string()).unwrap();
        }
        rates.take("ann", "0").unwrap();
        let shared: Vec<_> = (0..3)
            .map(|n| rates.take("ann", &format!("m{n}")))
            .collect();
        assert!(shared[1].is_ok() && shared[2].is_err());
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..2 {
            rates.take("ann", "m2").unwrap();
        }
        assert!(rates.take("ann", "m2").is_err(), "it has its own");
        // One that was not full is remembered.
        rates.take("ann", "0").unwrap();
        assert!(rates.take("ann", "0").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn callers_do_not_fill_the_memory() {
        let rates = Rates::new(1, 1);
        for n in 0..LEAST * 3 {
            rates.take(&(n / 100).to_string(), &n.to_string()).unwrap();
            let callers = rates.callers.lock().unwrap();
            let [late, before] = [&callers.late, &callers.before].map(|known| {
                let pairs = known.values().map(|buckets| buckets.models.len());
                pairs.sum::<usize>()
            });
            assert!(late == callers.pairs && late + before <= 2 * LEAST);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_callers_that_were_active_last_are_remembered_and_no_others_for_long() {
        let rates = Rates::new(1, 1);
        rates.take("bob", "m").unwrap();
        rates.take("eve", "m").unwrap();
        for n in 0..LEAST * 2 {
            rates.take(&n.to_string(), "m").unwrap();
            if n % (LEAST - 1) == 0 {
                assert!(rates.take("bob", "m").is_err(), "forgotten at {n}");
            }
        }
        for n in LEAST + 2..LEAST * 2 {
            assert!(rates.take(&n.to_string(), "m").is_err(), "{n}");
        }
        rates.take("eve", "m").unwrap();
    }
}
