//! Standard error of this process, as far as this server writes there.

use std::fmt::Write as _;
use std::io;
use std::sync::{Mutex, PoisonError};

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use super::writer::{Log, When, Writer};

/// The writer, and the process that it belongs to: a child after `fork` has none of the threads.
static WRITER: Mutex<Option<(u32, Writer)>> = Mutex::new(None);

/// The one thread of this process that writes to standard error.
pub(crate) fn standard_error() -> io::Result<Writer> {
    let mut writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    match &*writer {
        Some((of, started)) if *of == process => Ok(started.clone()),
        _ => {
            let (_, started) = writer.insert((process, Writer::start(Unlocked)?));
            Ok(started.clone())
        }
    }
}

/// As it is, without starting it.
fn started() -> Option<Writer> {
    let writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
    let (of, writer) = writer.as_ref()?;
    (*of == std::process::id()).then(|| writer.clone())
}

/// How many lines of a log standard error did not take.
pub(crate) fn lost(log: Log) -> u64 {
    started().map_or(0, |writer| writer.lost(log))
}

/// Writes a line to standard error behind what was logged before it, and waits for nobody.
pub fn say(line: &str) {
    match started() {
        Some(writer) => writer.write(Log::Server, When::Now, format!("{line}\n").as_bytes()),
        // Nothing has been logged yet. Where it cannot be written, there is nowhere to say so.
        None => _ = io::Write::write_all(&mut io::stderr(), format!("{line}\n").as_bytes()),
    }
}

/// Waits until what was logged is written: for 5 s at most, and for no reader who has not read
/// for that long already. To be called before the process ends.
pub fn flush() {
    if let Some(writer) = started() {
        writer.flush();
    }
}

/// Has [`flush`] wait for next to nothing from now on, as the process is to end at once.
pub fn end_at_once() {
    if let Some(writer) = started() {
        writer.be_impatient();
    }
}

/// Has panics of the whole process say what they say among the lines of the log: the thread that
/// panics would wait for whoever reads standard error.
pub fn say_panics() {
    std::panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("<unnamed>");
        let said = info.payload_as_str().unwrap_or("Box<dyn Any>");
        let mut text = format!("\nthread '{name}' panicked");
        // Writing to a string does not fail.
        if let Some(place) = info.location() {
            let _ = write!(text, " at {place}");
        }
        let _ = write!(text, ":\n{said}");
        let trace = std::backtrace::Backtrace::capture();
        if trace.status() == std::backtrace::BacktraceStatus::Captured {
            let _ = write!(text, "\nstack backtrace:\n{trace}");
        }
        say(&text);
    }));
}

/// The file descriptor without the lock that Rust's standard library keeps while it writes, as
/// whoever else writes would wait for it.
struct Unlocked;

impl io::Write for Unlocked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(nix::unistd::write(io::stderr(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hands what is logged to the thread.
pub(super) struct Lines(Option<Writer>);

impl Lines {
    pub(super) fn begin() -> Self {
        Self(standard_error().ok())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Pen<'a>;

    fn make_writer(&'a self) -> Pen<'a> {
        Pen(self.0.as_ref(), Log::Server, When::Now)
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> Pen<'a> {
        let (log, when) = match of.target() {
            "oip::audit" => (Log::Audit, When::Soon),
            "oip::latency" => (Log::Server, When::Soon),
            _ => (Log::Server, When::Now),
        };
        Pen(self.0.as_ref(), log, when)
    }
}

/// Takes one line.
pub(super) struct Pen<'a>(Option<&'a Writer>, Log, When);

impl io::Write for Pen<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self(Some(writer), log, when) => writer.write(*log, *when, bytes),
            // A process that can start no thread.
            Self(None, ..) => io::stderr().write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
