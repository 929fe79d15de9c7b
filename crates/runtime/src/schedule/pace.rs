//! How long a run takes, measured, and what that means for whoever waits. Each version has a pace
//! of its own: those that stand side by side may be as different as two models are.

use std::ops::Add;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::queue::Ahead;
use crate::settings::MOST_ROWS;

/// The pace of a version, for all who count with it. They hold the lock of its schedule, so nobody
/// waits for this one.
#[derive(Debug)]
pub(super) struct Paced {
    /// Most rows of a batch.
    most: u64,
    pace: Mutex<Pace>,
}

impl Paced {
    /// Of a version that has run nothing yet, and of whose batches each has `most` rows at most.
    pub(super) fn new(most: u64) -> Self {
        Self {
            most,
            pace: Mutex::default(),
        }
    }

    pub(super) fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run of so many rows took this long.
    pub(super) fn record(&self, rows: u64, took: Duration) {
        self.pace().record(rows, self.most, took);
    }
}

/// How fast the runs of a version have been of late.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Pace {
    /// What runs took, by their rows: below 2, 4, 8 and so on.
    sizes: [Option<Size>; SIZES],
    /// Rows of a run, the later ones counting more; 0 before the first. Of those that alone have
    /// more than a batch may have, nothing: they say nothing about others.
    rows: f64,
    /// Seconds of a run that nothing disturbed: falls fast and rises slowly, as a thread that is
    /// held up makes a run look long but nothing makes it look short.
    undisturbed: Option<f64>,
}

/// Runs, and how many seconds they take together.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Work {
    runs: f64,
    seconds: f64,
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
    /// A run of so many rows took this long, where a batch has `most` at most.
    fn record(&mut self, rows: u64, most: u64, took: Duration) {
        let alone = rows > most;
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
        if alone {
            return;
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

    /// A run of so many rows, and no others.
    pub(super) fn one(&self, rows: u64) -> Work {
        Work {
            runs: 1.0,
            seconds: self.seconds(rows as f64),
        }
    }

    /// Runs that wait.
    pub(super) fn all(&self, ahead: Ahead) -> Work {
        let runs = ahead.runs as f64;
        Work {
            runs,
            seconds: runs * self.seconds(self.usual(ahead)),
        }
    }
}

impl Work {
    /// Seconds of one of its runs.
    fn each(self) -> f64 {
        match self.runs > 0.0 {
            true => self.seconds / self.runs,
            false => 0.0,
        }
    }

    /// So many of its runs, or all where there are fewer.
    fn first(self, runs: usize) -> Self {
        let runs = self.runs.min(runs as f64);
        Self {
            runs,
            seconds: runs * self.each(),
        }
    }
}

impl Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            runs: self.runs + other.runs,
            seconds: self.seconds + other.seconds,
        }
    }
}

impl std::iter::Sum for Work {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

/// How long one waits who comes while this is under way and that waits, where so many of the
/// instances are idle: they begin with what waits at once. Half a run until the first instance is
/// free, then what is left.
pub(super) fn wait(under_way: Work, ahead: Work, idle: usize, instances: usize) -> Duration {
    let begins = ahead.first(idle);
    let half = (under_way + begins).each() / 2.0;
    let left = (ahead.seconds - begins.seconds).max(0.0);
    seconds((half + left) / instances.max(1) as f64)
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

    /// How long one waits behind this while a run of a row is under way.
    fn wait_for(pace: &Pace, ahead: Ahead, instances: usize) -> Duration {
        wait(pace.one(1), pace.all(ahead), 0, instances)
    }

    const MS: Duration = Duration::from_millis(1);
    const MOST: u64 = 64;

    #[test]
    fn the_wait_is_the_runs_ahead_at_the_measured_pace() {
        let mut pace = Pace::default();
        assert_eq!(wait_for(&pace, alone(100), 1), Duration::ZERO);
        pace.record(1, MOST, 100 * MS);
        assert_eq!(wait_for(&pace, alone(10), 2), 525 * MS);
        for _ in 0..40 {
            pace.record(1, MOST, 10 * MS);
        }
        assert!(pace.run(1) < 11 * MS);
    }

    #[test]
    fn runs_are_timed_by_their_rows() {
        let mut pace = Pace::default();
        pace.record(32, MOST, 50 * MS);
        for _ in 0..100 {
            pace.record(1, MOST, 10 * MS);
        }
        assert_eq!(pace.run(1), 10 * MS);
        assert_eq!(pace.run(32), 50 * MS);
        assert_eq!(pace.run(64), 50 * MS, "a size that was never seen is tried");
        let half = pace.run(16).as_millis();
        assert!((29..=30).contains(&half), "{half} ms");
        // Two full runs that wait, though one row at a time ran of late.
        let wait = wait_for(&pace, Ahead { runs: 2, rows: 64 }, 1);
        assert_eq!(wait, 105 * MS);
    }

    #[test]
    fn the_shortest_run_is_that_of_whatever_size_takes_least() {
        let mut pace = Pace::default();
        assert_eq!(pace.shortest(), Duration::ZERO);
        pace.record(1, MOST, 10 * MS);
        assert_eq!(pace.shortest(), pace.run(1));
        pace.record(32, MOST, 8 * MS);
        for _ in 0..20 {
            pace.record(1, MOST, 10 * MS);
        }
        assert_eq!(pace.shortest(), 8 * MS);
    }

    #[test]
    fn what_waits_is_expected_to_fill_as_runs_did_of_late() {
        let mut pace = Pace::default();
        pace.record(1, MOST, 10 * MS);
        for _ in 0..100 {
            pace.record(32, MOST, 50 * MS);
        }
        let wait = wait_for(&pace, Ahead { runs: 4, rows: 4 }, 1);
        assert!(wait > 200 * MS, "{wait:?}");
    }

    #[test]
    fn one_who_waits_for_runs_of_two_versions_waits_for_each_as_long_as_it_takes() {
        let (mut quick, mut slow) = (Pace::default(), Pace::default());
        quick.record(1, MOST, 10 * MS);
        slow.record(1, MOST, 1000 * MS);
        let ahead = quick.all(alone(10)) + slow.all(alone(1));
        assert_eq!(wait(quick.one(1), ahead, 0, 1), 1105 * MS);
        assert_eq!(wait(slow.one(1), ahead, 0, 1), 1600 * MS);
        // An idle instance begins with one of the eleven.
        assert_eq!(wait(Work::default(), ahead, 1, 1), 1050 * MS);
    }

    #[test]
    fn a_run_of_more_rows_than_a_batch_may_have_is_told_apart() {
        let mut pace = Pace::default();
        for _ in 0..10 {
            pace.record(1, 32, 10 * MS);
        }
        pace.record(10_000, 32, 2000 * MS);
        assert_eq!((pace.run(1), pace.shortest()), (10 * MS, 10 * MS));
        assert_eq!(wait_for(&pace, alone(4), 1), 45 * MS);
        // Whoever has as many rows is told what they take, and so is whoever waits for them.
        assert_eq!(pace.run(10_000), 2000 * MS);
        assert_eq!(wait(pace.one(10_000), Work::default(), 0, 1), 1000 * MS);
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
        pace.record(1, MOST, 3 * MS);
        for round in 0..200 {
            let held_up = round % 10 == 9;
            pace.record(
                1,
                MOST,
                Duration::from_micros(if held_up { 2000 } else { 4 }),
            );
        }
        assert!(!pace.is_worth_gathering());
        for _ in 0..200 {
            pace.record(1, MOST, Duration::from_micros(100));
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
