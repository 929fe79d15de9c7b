//! How long a run takes, measured, and what that means for whoever waits.

use std::time::Duration;

/// How fast the instances of a model have been of late.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Pace {
    /// Seconds a run, the later ones counting more; `None` before the first.
    run: Option<f64>,
    /// Seconds of a run that nothing disturbed: falls fast and rises slowly, as a thread that is
    /// held up makes a run look long but nothing makes it look short.
    undisturbed: Option<f64>,
}

/// What a new run counts beside those before it.
const WEIGHT: f64 = 0.2;
/// Shortest run for which joining and parting requests is worth its own few microseconds.
const WORTH_GATHERING: f64 = 20e-6;

impl Pace {
    /// A run took this long.
    pub(super) fn record(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        self.run = Some(match self.run {
            Some(run) => run + WEIGHT * (took - run),
            None => took,
        });
        let took = took.max(1e-7);
        self.undisturbed = Some(match self.undisturbed {
            Some(before) if took < before => (before + took) / 2.0,
            Some(before) => before + 0.02 * (took.min(4.0 * before) - before),
            None => took,
        });
    }

    /// Whether a run takes so long that several requests are better run as one.
    pub(super) fn is_worth_gathering(&self) -> bool {
        self.undisturbed
            .is_none_or(|undisturbed| undisturbed >= WORTH_GATHERING)
    }

    /// How long a run takes.
    pub(super) fn run(&self) -> Duration {
        seconds(self.run.unwrap_or(0.0))
    }

    /// How long it takes at most, by all likelihood, until whoever waits so long has his answer.
    ///
    /// The run under way may have just begun, and an estimate over many runs errs by some part.
    /// Under lasting overload everybody who is let in stands at the edge of what is allowed: were
    /// it drawn at the expected time, half of the answers would come too late and half of the
    /// runs be in vain.
    pub(super) fn surely_done(&self, wait: Duration) -> Duration {
        wait.saturating_add(wait / 10)
            .saturating_add(self.run().saturating_mul(3) / 2)
    }

    /// How long one waits who comes when all instances are busy and this many runs stand before
    /// him: half a run until the first instance is free, then those.
    pub(super) fn wait(&self, runs_ahead: f64, instances: usize) -> Duration {
        let runs = (0.5 + runs_ahead) / instances.max(1) as f64;
        seconds(self.run.unwrap_or(0.0) * runs)
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// Whole seconds, one at least, as `Retry-After` says them.
pub(super) fn retry_seconds(wait: Duration) -> u32 {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_the_runs_ahead_at_the_measured_pace() {
        let mut pace = Pace::default();
        assert_eq!(pace.wait(100.0, 1), Duration::ZERO);
        pace.record(Duration::from_millis(100));
        assert_eq!(pace.wait(9.5, 2), Duration::from_millis(500));
        for _ in 0..40 {
            pace.record(Duration::from_millis(10));
        }
        assert!(pace.run() < Duration::from_millis(11));
    }

    #[test]
    fn an_answer_is_promised_with_room_for_half_a_run_and_a_tenth_of_the_wait() {
        let mut pace = Pace::default();
        pace.record(Duration::from_millis(10));
        let wait = pace.wait(19.5, 1);
        assert_eq!(wait, Duration::from_millis(200));
        assert_eq!(pace.surely_done(wait), Duration::from_millis(235));
        assert_eq!(pace.surely_done(Duration::MAX), Duration::MAX);
    }

    #[test]
    fn runs_of_microseconds_are_not_worth_gathering_though_a_few_are_held_up() {
        let mut pace = Pace::default();
        assert!(pace.is_worth_gathering());
        pace.record(Duration::from_millis(3));
        for round in 0..200 {
            let held_up = round % 10 == 9;
            pace.record(Duration::from_micros(if held_up { 2000 } else { 4 }));
        }
        assert!(!pace.is_worth_gathering());
        for _ in 0..200 {
            pace.record(Duration::from_micros(100));
        }
        assert!(pace.is_worth_gathering());
    }

    #[test]
    fn a_caller_comes_back_after_a_whole_second_at_least() {
        assert_eq!(retry_seconds(Duration::ZERO), 1);
        assert_eq!(retry_seconds(Duration::from_millis(1001)), 2);
        assert_eq!(retry_seconds(Duration::from_secs(7)), 7);
    }
}
