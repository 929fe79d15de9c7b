//! The thread that writes, so that no request waits for whoever reads the log.
//!
//! Waking a thread for each line would cost more than the line. It is woken for the first one,
//! and takes what has come together a moment later.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long lines are gathered before they are written.
const MOMENT: Duration = Duration::from_millis(5);
/// Most bytes that wait. A reader who is slower than the server loses lines, which is said, and
/// holds nobody up.
const MOST: usize = 4 << 20;

/// Hands lines to the thread. Clones hand them to the same.
#[derive(Clone)]
pub(super) struct Writer(Arc<Inner>);

struct Inner {
    gathered: Arc<Gathered>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Gathered {
    lines: Mutex<Lines>,
    some: Condvar,
}

#[derive(Default)]
struct Lines {
    text: String,
    lost: u64,
    closed: bool,
}

impl Writer {
    pub(super) fn start(to: impl Write + Send + 'static) -> std::io::Result<Self> {
        let gathered = Arc::new(Gathered::default());
        let taken = Arc::clone(&gathered);
        let thread = std::thread::Builder::new()
            .name("oip-access-log".to_owned())
            .spawn(move || run(&taken, to))?;
        Ok(Self(Arc::new(Inner {
            gathered,
            thread: Mutex::new(Some(thread)),
        })))
    }

    /// Hands a line over. Neither waits for the writing nor fails.
    pub(super) fn write(&self, line: &str) {
        let mut lines = self.0.gathered.lock();
        if lines.closed || lines.text.len() + line.len() > MOST {
            lines.lost += 1;
            return;
        }
        let first = lines.text.is_empty();
        lines.text.push_str(line);
        drop(lines);
        if first {
            self.0.gathered.some.notify_one();
        }
    }

    /// Writes what is waiting and ends the thread. Blocks until then.
    pub(super) fn close(&self) {
        self.0.gathered.lock().closed = true;
        self.0.gathered.some.notify_one();
        let thread = self.0.thread.lock();
        let thread = thread.unwrap_or_else(PoisonError::into_inner).take();
        // A thread that died has nothing more to write.
        let _ = thread.map(JoinHandle::join);
    }
}

impl Gathered {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a first line. `false` at the end.
    fn wait(&self) -> bool {
        let lines = self
            .some
            .wait_while(self.lock(), |lines| lines.text.is_empty() && !lines.closed);
        !lines.unwrap_or_else(PoisonError::into_inner).closed
    }
}

fn run(gathered: &Gathered, mut to: impl Write) {
    let mut text = String::new();
    loop {
        let more = gathered.wait();
        if more {
            std::thread::sleep(MOMENT);
        }
        let mut lines = gathered.lock();
        std::mem::swap(&mut lines.text, &mut text);
        let lost = std::mem::take(&mut lines.lost);
        drop(lines);
        // Nobody is left to be told that standard error is gone.
        let _ = to.write_all(text.as_bytes());
        text.clear();
        if lost > 0 && more {
            tracing::warn!(
                lines = lost,
                "the access log is read too slowly: lines were lost"
            );
        }
        if !more {
            return;
        }
    }
}
