//! What is logged, changed while the server runs.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::Context;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use super::filter;
use crate::config::LogLevel;

/// Which lines are logged, as Triton's logging extension tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogSettings {
    /// What went wrong on this side.
    pub errors: bool,
    /// What an operator should look at.
    pub warnings: bool,
    /// What happens.
    pub info: bool,
    /// 0: no more than that; 1: why (debug); 2 and above: everything (trace).
    pub verbose: u32,
}

impl LogSettings {
    /// What a level logs.
    #[must_use]
    pub fn of(level: LogLevel) -> Self {
        let at_least = |least: LogLevel| level as u8 >= least as u8;
        Self {
            errors: at_least(LogLevel::Error),
            warnings: at_least(LogLevel::Warn),
            info: at_least(LogLevel::Info),
            verbose: match level {
                LogLevel::Debug => 1,
                LogLevel::Trace => 2,
                _ => 0,
            },
        }
    }

    /// The lowest level of which anything is logged.
    fn level(self) -> LogLevel {
        match (self.verbose, self.info, self.warnings, self.errors) {
            (2.., ..) => LogLevel::Trace,
            (1, ..) => LogLevel::Debug,
            (0, true, ..) => LogLevel::Info,
            (0, false, true, _) => LogLevel::Warn,
            (0, false, false, true) => LogLevel::Error,
            (0, false, false, false) => LogLevel::Off,
        }
    }

    fn bits(self) -> u8 {
        let verbose = self.verbose > 0;
        let bits = [self.errors, self.warnings, self.info, verbose];
        bits.iter()
            .enumerate()
            .fold(0, |bits, (n, on)| bits | u8::from(*on) << n)
    }
}

/// Changes what is logged while the server runs.
#[derive(Clone)]
pub struct LogControl {
    filter: reload::Handle<EnvFilter, Registry>,
    state: Arc<Mutex<State>>,
    levels: Levels,
}

#[derive(Clone, Copy)]
struct State {
    settings: LogSettings,
    latencies: bool,
}

impl LogControl {
    pub(super) fn new(
        filter: reload::Handle<EnvFilter, Registry>,
        levels: Levels,
        level: LogLevel,
        latencies: bool,
    ) -> Self {
        let settings = LogSettings::of(level);
        levels.0.store(settings.bits(), Relaxed);
        Self {
            filter,
            state: Arc::new(Mutex::new(State {
                settings,
                latencies,
            })),
            levels,
        }
    }

    /// Logs from now on what this level says, and how long each inference took if that is asked
    /// for.
    pub fn set(&self, level: LogLevel, latencies: bool) {
        self.change(|state| {
            *state = State {
                settings: LogSettings::of(level),
                latencies,
            };
        });
    }

    /// What is logged now.
    #[must_use]
    pub fn settings(&self) -> LogSettings {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.settings
    }

    /// Logs from now on what these settings say.
    pub fn apply(&self, settings: LogSettings) {
        self.change(|state| state.settings = settings);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        let (settings, latencies) = (state.settings, state.latencies);
        self.levels.0.store(settings.bits(), Relaxed);
        // It fails only when the subscriber is gone, and then nothing is logged anyway.
        let _ = self.filter.reload(filter(settings.level(), latencies));
    }
}

/// Leaves out levels that are switched off while more verbose ones are on, which a filter by
/// level cannot say.
#[derive(Clone)]
pub(super) struct Levels(Arc<AtomicU8>);

impl Default for Levels {
    fn default() -> Self {
        Self(Arc::new(AtomicU8::new(u8::MAX)))
    }
}

impl<S: Subscriber> Layer<S> for Levels {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // Lines that somebody asked for by another name are no matter of level.
        let own = ["oip::audit", "oip::latency", "oip::trace"];
        if own.contains(&metadata.target()) {
            return true;
        }
        let bit = match *metadata.level() {
            Level::ERROR => 0,
            Level::WARN => 1,
            Level::INFO => 2,
            Level::DEBUG | Level::TRACE => 3,
        };
        self.0.load(Relaxed) & (1 << bit) != 0
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn a_level_says_what_is_logged_and_back() {
        for level in [
            LogLevel::Off,
            LogLevel::Error,
            LogLevel::Warn,
            LogLevel::Info,
            LogLevel::Debug,
            LogLevel::Trace,
        ] {
            assert_eq!(LogSettings::of(level).level(), level);
        }
    }

    #[test]
    fn warnings_can_be_off_while_information_is_on_and_the_audit_always_is() {
        let levels = Levels::default();
        let settings = LogSettings {
            warnings: false,
            ..LogSettings::of(LogLevel::Info)
        };
        levels.0.store(settings.bits(), Relaxed);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let lines = super::super::forward::layer(move |line| kept.lock().unwrap().push(line));
        let subscriber = tracing_subscriber::registry().with(levels).with(lines);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("a");
            tracing::warn!("b");
            tracing::debug!("c");
            tracing::warn!(target: "oip::audit", "d");
        });
        let seen: Vec<_> = seen
            .lock()
            .unwrap()
            .iter()
            .map(|l| l.message.clone())
            .collect();
        assert_eq!(seen, ["a", "d"]);
    }
}
