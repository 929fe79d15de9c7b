//! What the server writes while it runs: lines to standard error, as text or JSON.

use std::io::IsTerminal as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::config::{LogFormat, LogLevel};

/// Changes what is logged while the server runs.
#[derive(Clone)]
pub struct LogControl(reload::Handle<EnvFilter, Registry>);

impl LogControl {
    /// Logs from now on what this level says.
    pub fn set_level(&self, level: LogLevel) {
        // It fails only when the subscriber is gone, and then nothing is logged anyway.
        let _ = self.0.reload(filter(level));
    }
}

/// Starts logging for the whole process. Colours are used only on a terminal.
///
/// # Errors
/// When something else in the process logs already.
pub fn init(level: LogLevel, format: LogFormat) -> Result<LogControl, TryInitError> {
    let (filter, handle) = reload::Layer::new(filter(level));
    let colours = std::io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => registry.with(lines.with_ansi(colours)).try_init()?,
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init()?,
    }
    Ok(LogControl(handle))
}

/// Below `info` only our own crates speak: those of the libraries would drown them. Audit lines
/// that go to the log are no matter of level.
fn filter(level: LogLevel) -> EnvFilter {
    EnvFilter::new(match level {
        LogLevel::Error => "error,oip::audit=info",
        LogLevel::Warn => "warn,oip::audit=info",
        LogLevel::Debug => "info,oip=debug",
        LogLevel::Trace => "info,oip=trace",
        level => level.as_str(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_a_filter_and_covers_all_our_crates() {
        for level in [
            LogLevel::Off,
            LogLevel::Error,
            LogLevel::Warn,
            LogLevel::Info,
            LogLevel::Debug,
            LogLevel::Trace,
        ] {
            let text = filter(level).to_string();
            assert!(text.contains(level.as_str()), "{text}");
        }
    }
}
