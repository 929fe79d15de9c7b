//! The circuit breaker: while a decision point is down, refuse at once and leave it in peace.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{info, warn};

/// Opens after some faults in a row; once its delay is over, one question tries.
#[derive(Debug)]
pub(super) struct Breaker {
    limit: u32,
    delay: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed {
        faults: u32,
    },
    Open {
        until: Instant,
    },
    /// One question is on its way; all others are refused until it is back.
    Trying,
}

/// A question that was let through. Dropped without [`done`](Self::done) (its caller left), it
/// counts for nothing; a try is then open to the next question.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    breaker: &'a Breaker,
    trying: bool,
    done: bool,
}

impl Breaker {
    pub(super) fn new(limit: u32, delay: Duration) -> Self {
        Self {
            limit,
            delay,
            state: Mutex::new(State::Closed { faults: 0 }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a question may go through now.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn enter(&self, now: Instant) -> Result<Turn<'_>, String> {
        let mut state = self.state();
        let trying = match *state {
            State::Closed { .. } => false,
            State::Open { until } if now >= until => {
                *state = State::Trying;
                true
            }
            State::Open { until } => {
                return Err(format!(
                    "not asked: it did not answer {} times in a row; next try in {:?}",
                    self.limit,
                    until.duration_since(now)
                ));
            }
            State::Trying => {
                return Err("not asked: it did not answer, and is being tried again".to_owned());
            }
        };
        Ok(Turn {
            breaker: self,
            trying,
            done: false,
        })
    }
}

impl Turn<'_> {
    /// The question is back.
    pub(super) fn done(mut self, reached: bool, now: Instant) {
        self.done = true;
        let breaker = self.breaker;
        let mut state = breaker.state();
        let open = State::Open {
            until: now + breaker.delay,
        };
        *state = match (*state, reached) {
            (State::Trying, true) if self.trying => {
                info!("the policy decision point answers again");
                State::Closed { faults: 0 }
            }
            (State::Trying, false) if self.trying => open,
            (State::Closed { .. }, true) => State::Closed { faults: 0 },
            (State::Closed { faults }, false) if faults + 1 >= breaker.limit => {
                warn!(
                    faults = faults + 1,
                    delay = ?breaker.delay,
                    "the policy decision point is down: refusing without asking it"
                );
                open
            }
            (State::Closed { faults }, false) => State::Closed { faults: faults + 1 },
            // A question from before it opened: no news.
            (other, _) => other,
        };
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.trying && !self.done {
            // Nothing was learnt; the delay is over, so the next question tries.
            *self.breaker.state() = State::Open {
                until: Instant::now(),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_secs(5);

    fn opened(now: Instant) -> Breaker {
        let breaker = Breaker::new(2, DELAY);
        for _ in 0..2 {
            breaker.enter(now).unwrap().done(false, now);
        }
        breaker
    }

    #[test]
    fn it_opens_after_the_limit_and_only_for_faults_in_a_row() {
        let now = Instant::now();
        let breaker = Breaker::new(2, DELAY);
        for reached in [false, true, false, true] {
            breaker.enter(now).unwrap().done(reached, now);
        }
        assert!(breaker.enter(now).is_ok());
        assert!(opened(now).enter(now).is_err());
    }

    #[test]
    fn after_the_delay_one_question_tries_and_the_others_wait_outside() {
        let now = Instant::now();
        let later = now + DELAY;
        let breaker = opened(now);
        let turn = breaker.enter(later).unwrap();
        assert!(breaker.enter(later).is_err());
        turn.done(true, later);
        assert!(breaker.enter(later).is_ok());
    }

    #[test]
    fn a_try_that_fails_opens_it_again() {
        let now = Instant::now();
        let later = now + DELAY;
        let breaker = opened(now);
        breaker.enter(later).unwrap().done(false, later);
        assert!(breaker.enter(later + DELAY / 2).is_err());
        assert!(breaker.enter(later + DELAY).is_ok());
    }

    #[test]
    fn a_try_whose_caller_left_leaves_the_try_to_the_next() {
        let now = Instant::now();
        let breaker = opened(now);
        drop(breaker.enter(now + DELAY).unwrap());
        let next = Instant::now() + DELAY;
        assert!(breaker.enter(next).is_ok());
    }

    #[test]
    fn a_question_from_before_it_opened_changes_nothing() {
        let now = Instant::now();
        let breaker = Breaker::new(1, DELAY);
        let early = breaker.enter(now).unwrap();
        breaker.enter(now).unwrap().done(false, now);
        early.done(true, now);
        assert!(breaker.enter(now).is_err());
    }
}
