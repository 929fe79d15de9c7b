//! The server's log lines, handed to Python's `logging` by a thread of their own: threads that
//! serve do not wait for the GIL.

use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use oip::config::LogLevel;
use oip::logging::{Line, LogControl};
use pyo3::prelude::*;

/// How many lines may wait; what comes then is lost, and said to be.
const WAITING: usize = 10_000;

enum Message {
    Line(Line),
    /// Everything before this was handed over.
    Flushed(SyncSender<()>),
}

struct Log {
    lines: SyncSender<Message>,
    control: LogControl,
}

static LOG: OnceLock<Option<Log>> = OnceLock::new();

/// Hands the server's lines to `forward`, as lists of level (Python's number), logger and text.
/// The second time only the level is taken. Whether lines come at all: not where something else
/// in this process has taken them.
#[pyfunction]
pub(crate) fn log_to(forward: Py<PyAny>, level: &str, latencies: bool) -> bool {
    let level = level_of(level);
    let log = LOG.get_or_init(|| begin(forward, level, latencies));
    if let Some(log) = log {
        log.control.set(level, latencies);
    }
    log.is_some()
}

fn begin(forward: Py<PyAny>, level: LogLevel, latencies: bool) -> Option<Log> {
    let (lines, waiting) = sync_channel(WAITING);
    let sender = lines.clone();
    let control = oip::logging::forward(level, latencies, move |line| {
        if let Err(TrySendError::Full(_)) = sender.try_send(Message::Line(line)) {
            LOST.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let control = control.ok()?;
    std::thread::Builder::new()
        .name("oip-log".to_owned())
        .spawn(move || hand_over(&waiting, &forward))
        .ok()?;
    Some(Log { lines, control })
}

static LOST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

fn hand_over(waiting: &Receiver<Message>, forward: &Py<PyAny>) {
    const AT_ONCE: usize = 256;
    while let Ok(first) = waiting.recv() {
        let rest = waiting.try_iter().take(AT_ONCE);
        let mut lines = Vec::new();
        let mut flushed = Vec::new();
        for message in std::iter::once(first).chain(rest) {
            match message {
                Message::Line(line) => lines.push((number(line.level), line.target, line.message)),
                Message::Flushed(done) => flushed.push(done),
            }
        }
        let lost = LOST.swap(0, std::sync::atomic::Ordering::Relaxed);
        if lost > 0 {
            let message = format!("{lost} lines were lost: they came faster than they are written");
            lines.push((number(LogLevel::Warn), "oip", message));
        }
        let alive = Python::try_attach(|py| {
            if let Err(error) = forward.call1(py, (lines,)) {
                error.print(py);
            }
        });
        for done in flushed {
            // Whoever waited may have given up.
            let _ = done.try_send(());
        }
        if alive.is_none() {
            return;
        }
    }
}

/// Waits until what was said so far is written, a second at most.
#[pyfunction]
pub(crate) fn flush_log(py: Python<'_>) {
    if let Some(Some(log)) = LOG.get() {
        py.detach(|| {
            let (done, written) = sync_channel(1);
            if log.lines.try_send(Message::Flushed(done)).is_ok() {
                // It is a courtesy: a log that hangs must not hold up the end.
                let _ = written.recv_timeout(Duration::from_secs(1));
            }
        });
    }
}

fn level_of(word: &str) -> LogLevel {
    match word {
        "off" => LogLevel::Off,
        "error" => LogLevel::Error,
        "warn" => LogLevel::Warn,
        "debug" => LogLevel::Debug,
        "trace" => LogLevel::Trace,
        _ => LogLevel::Info,
    }
}

/// The level as Python's `logging` counts.
fn number(level: LogLevel) -> u8 {
    match level {
        LogLevel::Off | LogLevel::Error => 40,
        LogLevel::Warn => 30,
        LogLevel::Info => 20,
        LogLevel::Debug => 10,
        LogLevel::Trace => 5,
    }
}
