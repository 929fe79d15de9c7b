//! A file that is read again when its content changes.
//!
//! Whoever asks for the value looks, at most every two seconds, whether the content is another
//! one; there is no thread that could die unnoticed. Contents are compared, not dates: Kubernetes
//! swaps symlinks, and two writes can fall into one tick of a file system's clock. A file that has
//! become unreadable or wrong leaves the old value in force and says so once.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use ring::digest::{Digest, SHA256, digest};
use tokio::sync::Mutex;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// How often the file is looked at, at most.
pub(crate) const EVERY: Duration = Duration::from_secs(2);
/// The longest file that is read.
const LONGEST: u64 = 4 << 20;

type Parse<T> = Box<dyn Fn(&[u8]) -> Result<T, String> + Send + Sync>;

/// A value read from a file.
pub(crate) struct Watched<T> {
    path: PathBuf,
    parse: Parse<T>,
    value: ArcSwap<T>,
    start: Instant,
    /// Milliseconds after `start` at which the file is due to be looked at.
    due: AtomicU64,
    /// What the last look found; held while looking, so that only one does.
    seen: Mutex<Seen>,
}

/// What a look at the file found.
#[derive(Clone, PartialEq)]
enum Seen {
    Content(Vec<u8>),
    Unreadable(String),
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched({})", self.path.display())
    }
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// A sentence, when it cannot be read or is wrong.
    pub(crate) fn open(
        path: &Path,
        parse: impl Fn(&[u8]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let content = read(path)?;
        Ok(Self {
            value: ArcSwap::from_pointee(parse(&content)?),
            path: path.to_owned(),
            parse: Box::new(parse),
            start: Instant::now(),
            due: AtomicU64::new(millis(EVERY)),
            seen: Mutex::new(Seen::Content(fingerprint(&content))),
        })
    }

    /// The value, of the file as it was at most two seconds ago.
    pub(crate) async fn current(self: &Arc<Self>) -> Arc<T> {
        if self.is_due() {
            self.look().await;
        }
        self.value.load_full()
    }

    /// The value as it was last read, whatever its age.
    pub(crate) fn loaded(&self) -> Arc<T> {
        self.value.load_full()
    }

    fn is_due(&self) -> bool {
        millis(self.start.elapsed()) >= self.due.load(Ordering::Acquire)
    }

    /// Looks at the file. Others who find it due wait, so that nobody gets a value that is older
    /// than promised.
    async fn look(self: &Arc<Self>) {
        let mut seen = self.seen.lock().await;
        if !self.is_due() {
            return;
        }
        let path = self.path.clone();
        let found = tokio::task::spawn_blocking(move || read(&path)).await;
        let found = found.unwrap_or_else(|error| Err(error.to_string()));
        let now = match &found {
            Ok(content) => Seen::Content(fingerprint(content)),
            Err(fault) => Seen::Unreadable(fault.clone()),
        };
        if *seen != now {
            self.take(found);
            *seen = now;
        }
        let due = self.start.elapsed() + EVERY;
        self.due.store(millis(due), Ordering::Release);
    }

    fn take(&self, found: Result<Zeroizing<Vec<u8>>, String>) {
        let path = self.path.display();
        match found.and_then(|content| (self.parse)(&content)) {
            Ok(value) => {
                self.value.store(Arc::new(value));
                tracing::info!(file = %path, "read again after a change");
            }
            Err(fault) => {
                tracing::error!(file = %path, fault, "changed and is not usable; what was read before stays in force");
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Tells one content from another.
pub(crate) fn fingerprint(content: &[u8]) -> Vec<u8> {
    let digest: Digest = digest(&SHA256, content);
    digest.as_ref().to_vec()
}

/// Reads a file of at most [`LONGEST`] bytes.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut content = Zeroizing::new(Vec::new());
    std::fs::File::open(path)
        .and_then(|file| file.take(LONGEST + 1).read_to_end(&mut content))
        .map_err(|error| error.to_string())?;
    if content.len() as u64 > LONGEST {
        return Err(format!("is longer than {LONGEST} bytes"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content: &[u8]) -> Result<String, String> {
        let text = String::from_utf8_lossy(content).into_owned();
        if text.contains("bad") {
            Err(text)
        } else {
            Ok(text)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_seen_after_two_seconds_and_a_bad_or_missing_file_keeps_the_old() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one").unwrap();
        let watched = Arc::new(Watched::open(file.path(), text).unwrap());
        std::fs::write(file.path(), "two").unwrap();
        assert_eq!(*watched.current().await, "one");
        for (content, expected) in [("two", "two"), ("bad", "two"), ("six", "six")] {
            std::fs::write(file.path(), content).unwrap();
            tokio::time::advance(EVERY).await;
            assert_eq!(*watched.current().await, expected);
        }
        std::fs::remove_file(file.path()).unwrap();
        tokio::time::advance(EVERY).await;
        assert_eq!(*watched.current().await, "six");
    }

    #[test]
    fn a_file_that_is_wrong_at_start_is_an_error() {
        let missing = Watched::open(Path::new("/does/not/exist"), text).unwrap_err();
        assert!(missing.contains("No such file"), "{missing}");
    }
}
