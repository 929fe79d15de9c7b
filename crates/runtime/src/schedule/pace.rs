//! How long a run takes, measured, and what that means for whoever waits.

use std::time::Duration;

use super::queue::Ahead;
use crate::settings::MOST_ROWS;

/// How fast the instances of a model have been of late.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Pace {
    /// What runs took, by their rows: below 2, 4, 8 and so on.
    sizes: [Option<Size>; SIZES],
    /// Rows of a run, the later ones counting more; 0 before the first.
    rows: f64,
    /// Seconds of a run that nothing disturbed: falls fast and rises slowly, as a thread that is
    /// held up makes a run look long but nothing makes it look short.
    undisturbed: Option<f64>,
}

/// Runs of about one size, the later ones counting more.
#[derive(Debug, Clone, Copy)]
struct Size {
    rows: f64,
    seconds: f64,
}

/// As many as powers of two in the most rows.
const SIZES: usize = MOST_ROWS.ilog2() as usize + 1;
/// What a new run counts beside those before it.
const WEIGHT: f64 = 0.2;
/// Shortest run for which joining and parting requests is worth its own few microseconds.
const WORTH_GATHERING: f64 = 20e-6;

impl Pace {
    /// A run of so many rows took this long.
    pub(super) fn record(&mut self, rows: u64, took: Duration) {
        let rows = rows.clamp(1, MOST_ROWS);
        let new = Size {
            rows: rows as f64,
            seconds: took.as_secs_f64(),
        };
        if let Some(size) = self.sizes.get_mut(rows.ilog2() as usize) {
            *size = Some(match *size {
                Some(size) => Size {
                    rows: size.rows + WEIGHT * (new.rows - size.rows),
                    seconds: size.seconds + WEIGHT * (new.seconds - size.seconds),
                },
                None => new,
            });
        }
        self.rows = match self.rows > 0.0 {
            true => self.rows + WEIGHT * (new.rows - self.rows),
            false => new.rows,
        };
        let took = new.seconds.max(1e-7);
        self.undisturbed = Some(match self.undisturbed {
            Some(before) if took < before => (before + took) / 2.0,
            Some(before) => before + 0.02 * (took.min(4.0 * before) - before),
            None => took,
        });
    }

    /// Seconds of a run of so many rows: between sizes that were seen, on the line between them.
    /// Beyond them as the nearest one took, so that a size is tried before it is refused.
    fn seconds(&self, rows: f64) -> f64 {
        let seen = || self.sizes.iter().flatten();
        let below = seen().rfind(|size| size.rows <= rows);
        let above = seen().find(|size| size.rows > rows);
        match (below, above) {
            (None, None) => 0.0,
            (Some(only), None) | (None, Some(only)) => only.seconds,
            (Some(below), Some(above)) => {
                let part = (rows - below.rows) / (above.rows - below.rows);
                below.seconds + part * (above.seconds - below.seconds)
            }
        }
    }

    /// Rows of a run among those that wait. What waits gathers more until it runs, so there are as
    /// many at least as of late.
    fn usual(&self, ahead: Ahead) -> f64 {
        let rows = ahead.rows as f64 / ahead.runs.max(1) as f64;
        rows.max(self.rows)
    }

    /// Whether a run takes so long that several requests are better run as one.
    pub(super) fn is_worth_gathering(&self) -> bool {
        self.undisturbed
            .is_none_or(|undisturbed| undisturbed >= WORTH_GATHERING)
    }

    /// How long a run takes that so many rows are in, or as many as of late.
    pub(super) fn run(&self, rows: u64) -> Duration {
        seconds(self.seconds(self.rows.max(rows as f64)))
    }

    /// How long a run takes at least, whatever the rows of a request that comes.
    pub(super) fn shortest(&self) -> Duration {
        let usual = self.rows.max(1.0);
        let larger = self.sizes.iter().flatten().filter(|size| size.rows > usual);
        let larger = larger.map(|size| size.seconds);
        seconds(larger.fold(self.seconds(usual), f64::min))
    }

    /// How long it takes at most, by all likelihood, until whoever waits so long has his answer
    /// from a run that takes this long.
    ///
    /// The run under way may have just begun, and an estimate over many runs errs by some part.
    /// Under lasting overload everybody who is let in stands at the edge of what is allowed: were
    /// it drawn at the expected time, half of the answers would come too late and half of the
    /// runs be in vain.
    pub(super) fn surely_done(wait: Duration, run: Duration) -> Duration {
        wait.saturating_add(wait / 10)
            .saturating_add(run.saturating_mul(3) / 2)
    }

    /// How long one waits who comes when all instances are busy and this stands before him: half
    /// a run until the first instance is free, then those.
    pub(super) fn wait(&self, ahead: Ahead, instances: usize) -> Duration {
        let runs = (0.5 + ahead.runs as f64) / instances.max(1) as f64;
        seconds(self.seconds(self.usual(ahead)) * runs)
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

    fn alone(runs: u64) -> Ahead {
        Ahead { runs, rows: runs }
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_wait_is_the_runs_ahead_at_the_measured_pace() {
        let mut pace = Pace::default();
        assert_eq!(pace.wait(alone(100), 1), Duration::ZERO);
        pace.record(1, 100 * MS);
        assert_eq!(pace.wait(alone(10), 2), 525 * MS);
        for _ in 0..40 {
            pace.record(1, 10 * MS);
        }
        assert!(pace.run(1) < 11 * MS);
    }

    #[test]
    fn runs_are_timed_by_their_rows() {
        let mut pace = Pace::default();
        pace.record(32, 50 * MS);
        for _ in 0..100 {
            pace.record(1, 10 * MS);
        }
        assert_eq!(pace.run(1), 10 * MS);
        assert_eq!(pace.run(32), 50 * MS);
        assert_eq!(pace.run(64), 50 * MS, "a size that was never seen is tried");
        let half = pace.run(16).as_millis();
        assert!((29..=30).contains(&half), "{half} ms");
        // Two full runs that wait, though one row at a time ran of late.
        let wait = pace.wait(Ahead { runs: 2, rows: 64 }, 1);
        assert_eq!(wait, 125 * MS);
    }

    #[test]
    fn the_shortest_run_is_that_of_whatever_size_takes_least() {
        let mut pace = Pace::default();
        assert_eq!(pace.shortest(), Duration::ZERO);
        pace.record(1, 10 * MS);
        assert_eq!(pace.shortest(), pace.run(1));
        pace.record(32, 8 * MS);
        for _ in 0..20 {
            pace.record(1, 10 * MS);
        }
        assert_eq!(pace.shortest(), 8 * MS);
    }

    #[test]
    fn what_waits_is_expected_to_fill_as_runs_did_of_late() {
        let mut pace = Pace::default();
        pace.record(1, 10 * MS);
        for _ in 0..100 {
            pace.record(32, 50 * MS);
        }
        let wait = pace.wait(Ahead { runs: 4, rows: 4 }, 1);
        assert!(wait > 220 * MS, "{wait:?}");
    }

    #[test]
    fn an_answer_is_promised_with_room_for_half_a_run_and_a_tenth_of_the_wait() {
        assert_eq!(Pace::surely_done(200 * MS, 10 * MS), 235 * MS);
        assert_eq!(Pace::surely_done(Duration::MAX, MS), Duration::MAX);
    }

    #[test]
    fn runs_of_microseconds_are_not_worth_gathering_though_a_few_are_held_up() {
        let mut pace = Pace::default();
        assert!(pace.is_worth_gathering());
        pace.record(1, 3 * MS);
        for round in 0..200 {
            let held_up = round % 10 == 9;
            pace.record(1, Duration::from_micros(if held_up { 2000 } else { 4 }));
        }
        assert!(!pace.is_worth_gathering());
        for _ in 0..200 {
            pace.record(1, Duration::from_micros(100));
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
