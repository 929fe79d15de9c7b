//! How often one caller may ask one model: a token bucket for each pair.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use oip_protocol::{Error, Limit, Result};
use tokio::time::Instant;

/// Most pairs that are remembered. Those that have asked for nothing lately are forgotten first:
/// they would find a full bucket either way.
const MOST: usize = 10_000;

/// The buckets.
#[derive(Debug)]
pub(crate) struct Rates {
    /// Tokens a second.
    rate: f64,
    /// Tokens in a full bucket.
    burst: f64,
    buckets: Mutex<HashMap<(String, String), Bucket>>,
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
        let key = (subject.to_owned(), model.to_owned());
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST && !buckets.contains_key(&key) {
            self.forget(&mut buckets, now);
        }
        let full = Bucket {
            tokens: self.burst,
            at: now,
        };
        let bucket = buckets.entry(key).or_insert(full);
        bucket.tokens = self.tokens(*bucket, now);
        bucket.at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let wait = Duration::from_secs_f64(((1.0 - bucket.tokens) / self.rate).clamp(0.0, 3600.0));
        drop(buckets);
        Err(self.refusal(wait))
    }

    fn tokens(&self, bucket: Bucket, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.tokens + passed * self.rate).min(self.burst)
    }

    fn forget(&self, buckets: &mut HashMap<(String, String), Bucket>, now: Instant) {
        buckets.retain(|_, bucket| self.tokens(*bucket, now) < self.burst);
        // Where all are in use, any of them.
        if buckets.len() >= MOST
            && let Some(key) = buckets.keys().next().cloned()
        {
            buckets.remove(&key);
        }
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
        for n in 0..MOST + 10 {
            rates.take("ann", &n.to_string()).unwrap();
        }
        assert!(rates.buckets.lock().unwrap().len() <= MOST);
        tokio::time::advance(Duration::from_secs(2)).await;
        rates.take("ann", "one more").unwrap();
        assert_eq!(rates.buckets.lock().unwrap().len(), 1);
    }
}
