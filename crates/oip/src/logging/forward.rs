//! Lines for somebody else's log.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer, reload};

use super::control::Levels;
use super::{LogControl, filter};
use crate::config::LogLevel;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How serious it is.
    pub level: LogLevel,
    /// Which part of the server says it, as a path of Rust's.
    pub target: &'static str,
    /// What it says, and the fields behind it as `name=value`.
    pub message: String,
}

/// Starts logging for the whole process, into this function. It is called on the threads that
/// serve, so it must not wait.
///
/// # Errors
/// When something else in the process logs already.
pub fn forward(
    level: LogLevel,
    latencies: bool,
    to: impl Fn(Line) + Send + Sync + 'static,
) -> Result<LogControl, TryInitError> {
    let (filter, handle) = reload::Layer::new(filter(level, latencies));
    let levels = Levels::default();
    tracing_subscriber::registry()
        .with(filter)
        .with(levels.clone())
        .with(layer(to))
        .try_init()?;
    Ok(LogControl::new(handle, levels, level, latencies))
}

/// Hands each line to this function.
pub(super) fn layer<F: Fn(Line) + Send + Sync + 'static>(to: F) -> Forward<F> {
    Forward(to)
}

pub(super) struct Forward<F>(F);

impl<S: Subscriber, F: Fn(Line) + Send + Sync + 'static> Layer<S> for Forward<F> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let level = match *metadata.level() {
            Level::ERROR => LogLevel::Error,
            Level::WARN => LogLevel::Warn,
            Level::INFO => LogLevel::Info,
            Level::DEBUG => LogLevel::Debug,
            Level::TRACE => LogLevel::Trace,
        };
        let mut text = Text::default();
        event.record(&mut text);
        (self.0)(Line {
            level,
            target: metadata.target(),
            message: text.message + &text.fields,
        });
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            name => {
                let _ = write!(self.fields, " {name}={value:?}");
            }
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_line_has_its_fields_behind_the_message() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let layer = Forward(move |line| kept.lock().unwrap().push(line));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(model = "iris", count = 3, "load {}", "failed");
        });
        let lines = lines.lock().unwrap();
        assert_eq!(lines[0].message, "load failed model=\"iris\" count=3");
        assert_eq!(lines[0].level, LogLevel::Warn);
    }
}
