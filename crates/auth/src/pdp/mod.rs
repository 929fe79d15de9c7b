//! What they may do: the policy decision points, and what holds for all of them.
//!
//! | room | what is in it |
//! |---|---|
//! | [`Guarded`] | around every decision point: time-out, panic fence, cache, circuit breaker |
//! | [`Enforced`] | outermost, what [`Access`](oip_core::access::Access) asks: audit, shadow mode, probes |
//! | `embedded` | Cedar policies in this process, and the built-in policy |
//! | [`xacml`] | XACML 3.0 JSON profile, as the Python original speaks it |
//! | [`authzen`], [`opa`] | OpenID AuthZEN 1.0, Open Policy Agent's data API |
//! | [`explain()`] | what would be decided, which policy decides, what the decision point is asked |
//!
//! A fault never allows: what is not a permit in every detail is a refusal, whoever is at fault.

pub mod authzen;
mod breaker;
mod cache;
#[cfg(feature = "cedar")]
pub mod embedded;
mod enforce;
mod explain;
pub mod opa;
pub(crate) mod remote;
pub(crate) mod strict;
pub mod xacml;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use oip_core::BoxFuture;
use oip_core::access::{Action, Decision, PolicyDecisionPoint, Question};

use breaker::Breaker;
use cache::Cache;
pub use enforce::{Enforced, PolicyMode, ProbeAccess};
pub use explain::{Explain, Explanation, Situation, explain};

/// How a decision point is guarded.
#[derive(Debug, Clone)]
pub struct GuardOptions {
    /// How long one decision may take (`pdp_timeout`). It ends waiting, not computing: a decision
    /// point that never yields cannot be stopped.
    pub timeout: Duration,
    /// How long a permit or a deny is remembered (`pdp_cache_ttl`); zero turns the cache off.
    /// Faults are never remembered.
    pub cache_ttl: Duration,
    /// How many decisions are remembered at most.
    pub cache_entries: usize,
    /// After how many questions in a row that did not reach the decision point the breaker opens;
    /// 0 turns it off.
    pub breaker_faults: u32,
    /// How long an open breaker refuses at once before one question is let through to try.
    pub breaker_delay: Duration,
}

impl Default for GuardOptions {
    /// 5 s, no cache (10,000 entries once it is on), open after 5 for 5 s.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            cache_ttl: Duration::ZERO,
            cache_entries: 10_000,
            breaker_faults: 5,
            breaker_delay: Duration::from_secs(5),
        }
    }
}

/// A decision point behind a time-out, a panic fence, a cache and a circuit breaker.
///
/// The cache answers only the very same question (subject, roles, claims, address, path, action,
/// model, version; of the moment alone the age counts), and does so while the breaker is open too.
pub struct Guarded {
    inner: Arc<dyn PolicyDecisionPoint>,
    timeout: Duration,
    cache: Option<Cache>,
    breaker: Option<Breaker>,
}

impl Guarded {
    /// A guarded decision point.
    pub fn new(inner: Arc<dyn PolicyDecisionPoint>, options: &GuardOptions) -> Self {
        let cached = !options.cache_ttl.is_zero() && options.cache_entries > 0;
        Self {
            inner,
            timeout: options.timeout,
            cache: cached.then(|| Cache::new(options.cache_ttl, options.cache_entries)),
            breaker: (options.breaker_faults > 0)
                .then(|| Breaker::new(options.breaker_faults, options.breaker_delay)),
        }
    }

    async fn ask(&self, question: &Question<'_>) -> Decision {
        let Some(breaker) = &self.breaker else {
            return self.bounded(question).await;
        };
        let turn = match breaker.enter(Instant::now()) {
            Ok(turn) => turn,
            Err(refused) => return fault(refused),
        };
        let decision = self.bounded(question).await;
        let reached = !matches!(
            decision,
            Decision::Fault {
                unreachable: true,
                ..
            }
        );
        turn.done(reached, Instant::now());
        decision
    }

    /// One question, within its time and with panics caught.
    async fn bounded(&self, question: &Question<'_>) -> Decision {
        let asked = AssertUnwindSafe(async { self.inner.decide(question).await }).catch_unwind();
        let mut asked = std::pin::pin!(asked);
        // What is decided in this process is there at once and needs no timer.
        let answer = match asked.as_mut().now_or_never() {
            Some(answer) => Ok(answer),
            None => tokio::time::timeout(self.timeout, asked).await,
        };
        match answer {
            Ok(Ok(decision)) => decision,
            Ok(Err(panic)) => panicked(&*panic),
            Err(_) => fault(format!("no decision within {:?}", self.timeout)),
        }
    }
}

impl PolicyDecisionPoint for Guarded {
    fn decide<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Decision> {
        Box::pin(async move {
            let Some(cache) = &self.cache else {
                return self.ask(question).await;
            };
            if let Some(known) = cache.get(question, Instant::now()) {
                return known;
            }
            let decision = self.ask(question).await;
            cache.put(question, &decision, Instant::now());
            decision
        })
    }

    /// What is decided in this process is never out of reach: it passes the circuit breaker by.
    fn decide_at_once(&self, question: &Question<'_>) -> Option<Decision> {
        let now = self.cache.as_ref().map(|cache| (cache, Instant::now()));
        if let Some((cache, now)) = now
            && let Some(known) = cache.get(question, now)
        {
            return Some(known);
        }
        let asked = AssertUnwindSafe(|| self.inner.decide_at_once(question));
        let decision =
            std::panic::catch_unwind(asked).unwrap_or_else(|panic| Some(panicked(&*panic)))?;
        if let Some((cache, now)) = now {
            cache.put(question, &decision, now);
        }
        Some(decision)
    }

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn may_permit_anonymous(&self, action: Action) -> bool {
        self.inner.may_permit_anonymous(action)
    }
}

fn fault(cause: String) -> Decision {
    Decision::Fault {
        cause,
        unreachable: true,
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Decision {
    Decision::Fault {
        cause: format!("it panicked: {}", panic_text(panic)),
        unreachable: false,
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

#[cfg(test)]
mod at_once_tests;
#[cfg(test)]
mod exchange_tests;
#[cfg(test)]
mod remote_tests;
#[cfg(test)]
mod stub;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
