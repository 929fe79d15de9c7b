//! What the server writes while it runs: lines to standard error, as text or JSON.
//!
//! | file | what is there |
//! |---|---|
//! | `control` | what is logged, changed while the server runs |
//! | `fields` | a line as text |
//! | `forward` | lines for somebody else's log |
//! | `standard_error` | standard error of this process: lines of the log, panics, the last words |
//! | `writer` | the thread that writes there, so that nobody waits for whoever reads |

mod control;
mod fields;
mod forward;
mod standard_error;
mod writer;

use std::io::IsTerminal as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, fmt, reload};

pub use control::{LogControl, LogSettings};
pub use forward::{Line, forward};
pub use standard_error::{end_at_once, flush, say, say_panics};
pub(crate) use standard_error::{lost, standard_error};
pub(crate) use writer::{Log, When, Writer};

use crate::config::{LogFormat, LogLevel};

/// Starts logging for the whole process. Colours are used only on a terminal. Lines are written
/// by a thread of their own: a process that ends calls [`flush`] first.
///
/// # Errors
/// When something else in the process logs already.
pub fn init(
    level: LogLevel,
    latencies: bool,
    format: LogFormat,
) -> Result<LogControl, TryInitError> {
    let (filter, handle) = reload::Layer::new(filter(level, latencies));
    let levels = control::Levels::default();
    let colours = std::io::stderr().is_terminal();
    // Where standard error cannot be written, saying so there would end the thread.
    let lines = fmt::layer()
        .with_writer(standard_error::Lines::begin())
        .log_internal_errors(false);
    let registry = tracing_subscriber::registry()
        .with(filter)
        .with(levels.clone());
    match format {
        LogFormat::Text => {
            let lines = lines.fmt_fields(fields::Fields).with_ansi(colours);
            registry.with(lines).try_init()?;
        }
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init()?,
    }
    Ok(LogControl::new(handle, levels, level, latencies))
}

/// Below `info` only our own crates speak: those of the libraries would drown them. Audit lines
/// that go to the log are no matter of level, nor are latencies that are asked for.
fn filter(level: LogLevel, latencies: bool) -> EnvFilter {
    let audit = "oip::audit=info,oip::trace=info";
    let latency = match latencies {
        true => "oip::latency=info",
        false => "oip::latency=off",
    };
    EnvFilter::new(match level {
        LogLevel::Debug => format!("info,oip=debug,{latency}"),
        LogLevel::Trace => format!("info,oip=trace,{latency}"),
        level => format!("{},{audit},{latency}", level.as_str()),
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
            let text = filter(level, false).to_string();
            assert!(text.contains(level.as_str()), "{text}");
        }
    }
}
