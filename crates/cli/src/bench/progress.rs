//! What is shown while it runs, on a terminal; nothing elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over the whole run.
pub(super) struct Progress {
    bar: ProgressBar,
    /// Time of the measurements that are done.
    done: Duration,
}

impl Progress {
    /// A bar for a run that takes `total`.
    pub(super) fn new(total: Duration) -> Self {
        let bar = ProgressBar::new(millis(total));
        let style = ProgressStyle::with_template("{bar:30} {eta:>4} left   {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self {
            bar,
            done: Duration::ZERO,
        }
    }

    /// What is under way, without a figure yet.
    pub(super) fn say(&self, what: String) {
        self.bar.set_message(what);
    }

    /// How far the present measurement is.
    pub(super) fn beat(&self, what: &str, elapsed: Duration, answers: u64) {
        self.bar.set_position(millis(self.done + elapsed));
        let rate = answers as f64 / elapsed.as_secs_f64().max(1e-3);
        self.bar
            .set_message(format!("{what}   {rate:.0} requests/s"));
    }

    /// The present measurement is done.
    pub(super) fn next(&mut self, took: Duration) {
        self.done += took;
        self.bar.set_position(millis(self.done));
    }

    /// Takes the bar away.
    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
