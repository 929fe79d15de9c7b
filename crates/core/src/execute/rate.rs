//! How often one caller may ask one model: a token bucket for each pair.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use oip_protocol::{Error, Limit, Result};
use tokio::time::Instant;

/// How many pairs are remembered at least: those that were active last. There may be twice as many.
const LEAST: usize = 10_000;

/// The buckets.
#[derive(Debug)]
pub(crate) struct Rates {
    /// Tokens a second.
    rate: f64,
    /// Tokens in a full bucket.
    burst: f64,
    buckets: Mutex<Buckets>,
}

/// Subject and model.
type Pair = (String, String);

/// The pairs that were active of late, and those that were before them. When there are enough of the
/// former, the latter are forgotten all at once: nobody has to look for the oldest.
#[derive(Debug, Default)]
struct Buckets {
    late: HashMap<Pair, Bucket>,
    before: HashMap<Pair, Bucket>,
}

impl Buckets {
    /// The bucket of a pair, `full` where it is not remembered. What is forgotten for it is handed
    /// back, to be dropped when nobody waits.
    fn of(&mut self, pair: Pair, full: Bucket) -> (&mut Bucket, HashMap<Pair, Bucket>) {
        let mut forgotten = HashMap::new();
        let known = match self.late.contains_key(&pair) {
            true => None,
            false => {
                let known = self.before.remove(&pair);
                if self.late.len() >= LEAST {
                    let late = std::mem::take(&mut self.late);
                    forgotten = std::mem::replace(&mut self.before, late);
                }
                known
            }
        };
        let bucket = self.late.entry(pair);
        (bucket.or_insert(known.unwrap_or(full)), forgotten)
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Rates {
    /// So many requests a second, and so many at once (0: as many as in one second).
    pub(crate) fn new(a_second: usize, burst: usize) -> Self {
        let burst = if burst == 0 { a_second } else { burst };
        Self {
            rate: a_second as f64,
            burst: (burst as f64).max(1.0),
            buckets: Mutex::default(),
        }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// `TooManyRequests` with the time after which there is one again.
    pub(crate) fn take(&self, subject: &str, model: &str) -> Result<()> {
        let now = Instant::now();
        let pair = (subject.to_owned(), model.to_owned());
        let full = Bucket {
            tokens: self.burst,
            at: now,
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let (bucket, forgotten) = buckets.of(pair, full);
        bucket.tokens = self.tokens(*bucket, now);
        bucket.at = now;
        let wait = match bucket.tokens >= 1.0 {
            true => {
                bucket.tokens -= 1.0;
                None
            }
            false => Some((1.0 - bucket.tokens) / self.rate),
        };
        drop(buckets);
        drop(forgotten);
        match wait {
            None => Ok(()),
            Some(wait) => Err(self.refusal(Duration::from_secs_f64(wait.clamp(0.0, 3600.0)))),
        }
    }

    fn tokens(&self, bucket: Bucket, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.tokens + passed * self.rate).min(self.burst)
    }

    #[cold]
    fn refusal(&self, wait: Duration) -> Error {
        let seconds = u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
        Error::too_many_requests(format!(
            "more than {} requests a second to this model",
            self.rate
        ))
        .retry_after(seconds.max(1))
        .at_limit(Limit::RateLimit)
    }
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
    async fn names_that_callers_make_up_do_not_fill_the_memory() {
        let rates = Rates::new(1, 1);
        for n in 0..LEAST * 3 {
            rates.take("ann", &n.to_string()).unwrap();
            let buckets = rates.buckets.lock().unwrap();
            assert!(buckets.late.len() + buckets.before.len() <= 2 * LEAST);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_pairs_that_were_active_last_are_remembered_and_no_others_for_long() {
        let rates = Rates::new(1, 1);
        rates.take("bob", "m").unwrap();
        rates.take("eve", "m").unwrap();
        for n in 0..LEAST * 2 {
            rates.take("ann", &n.to_string()).unwrap();
            if n % (LEAST - 1) == 0 {
                assert!(rates.take("bob", "m").is_err(), "forgotten at {n}");
            }
        }
        for n in LEAST + 2..LEAST * 2 {
            assert!(rates.take("ann", &n.to_string()).is_err(), "{n}");
        }
        rates.take("eve", "m").unwrap();
    }
}
