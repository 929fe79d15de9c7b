//! Where events go: a file, a line each, or an address, a request each.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::{Captured, PayloadOptions, event};
use crate::telemetry::outbox::Inbox;
use crate::telemetry::post::{Plain, Post, PostError, PostOptions};

/// How often a sink that fails says so.
const SAID_EVERY: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(super) struct Sink {
    to: To,
    said: Option<Instant>,
}

#[derive(Clone)]
enum To {
    File(Open),
    Address(Post),
}

/// A file that is written to.
#[derive(Clone)]
struct Open {
    path: Arc<str>,
    file: Arc<File>,
    /// Whether it ends within a line: the disk was full there, or who wrote it was killed.
    torn: bool,
    /// Whether it is to be opened again, as it may have been moved away.
    again: Arc<AtomicBool>,
}

impl Open {
    fn new(path: &str) -> std::io::Result<Self> {
        let file = open(path)?;
        Ok(Self {
            torn: ends_within_a_line(&file)?,
            file: Arc::new(file),
            path: path.into(),
            again: Arc::default(),
        })
    }

    fn append(&mut self, line: &[u8]) -> std::io::Result<()> {
        if self.again.load(Relaxed) {
            let opened = Self::new(&self.path)?;
            self.again.store(false, Relaxed);
            (self.file, self.torn) = (opened.file, opened.torn);
        }
        append(&mut &*self.file, line, &mut self.torn)
    }
}

impl Sink {
    pub(super) fn new(options: &PayloadOptions) -> Result<Self, PostError> {
        let path = &options.to;
        let to = match options.is_address() {
            true => To::Address(Post::new(path, how(options))?),
            false => {
                let opened = Open::new(path);
                To::File(opened.map_err(|error| PostError(format!("{path}: {error}")))?)
            }
        };
        Ok(Self { to, said: None })
    }

    /// Has the next event begin in the file that is at the path then.
    pub(super) fn reopen(&self) {
        if let To::File(file) = &self.to {
            file.again.store(true, Relaxed);
        }
    }

    /// Writes an event, or counts it as lost.
    pub(super) fn write(&mut self, captured: &Captured, runtime: &Handle, inbox: &Inbox<Captured>) {
        let fates = &inbox.fates;
        let mut line = event::write(captured);
        let written = match &mut self.to {
            To::File(file) => {
                line.push('\n');
                let written = file.append(line.as_bytes());
                written.map_err(|error| error.to_string())
            }
            To::Address(post) => {
                let sending = post.send("application/cloudevents+json", line.into());
                inbox.block_on(runtime, sending)
            }
        };
        match written {
            Ok(()) => _ = fates.done.fetch_add(1, Relaxed),
            Err(error) => {
                fates.failed.fetch_add(1, Relaxed);
                if self.said.is_none_or(|said| said.elapsed() >= SAID_EVERY) {
                    tracing::warn!("payloads cannot be kept: {error}");
                    self.said = Some(Instant::now());
                }
            }
        }
    }
}

fn how(options: &PayloadOptions) -> PostOptions {
    PostOptions {
        plain: match options.plain_http {
            true => Plain::Anywhere,
            false => Plain::Loopback,
        },
        headers: options.headers.clone(),
        ca_file: options.ca_file.clone(),
        token_file: options.token_file.clone(),
    }
}

/// Adds a line. One that was not written to its end is ended before the next begins, so that only
/// it is lost.
fn append(file: &mut impl Write, line: &[u8], torn: &mut bool) -> std::io::Result<()> {
    if *torn {
        file.write_all(b"\n")?;
    }
    *torn = true;
    file.write_all(line)?;
    *torn = false;
    Ok(())
}

/// A file that is added to, and that only its owner can read.
fn open(path: &str) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).read(true).mode(0o600);
    options.open(path)
}

/// Whether a file ends within a line. What is no file, such as a pipe, does not.
fn ends_within_a_line(file: &File) -> std::io::Result<bool> {
    let about = file.metadata()?;
    let Some(last) = about.len().checked_sub(1).filter(|_| about.is_file()) else {
        return Ok(false);
    };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte != *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with room for so many bytes.
    struct Disk(Vec<u8>, usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let taken = bytes.len().min(self.1 - self.0.len());
            match taken {
                0 => Err(std::io::ErrorKind::StorageFull.into()),
                taken => {
                    self.0.extend_from_slice(&bytes[..taken]);
                    Ok(taken)
                }
            }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_for_which_the_disk_had_no_room_takes_no_other_with_it() {
        let (mut disk, mut torn) = (Disk(Vec::new(), 8), false);
        assert!(append(&mut disk, b"one\n", &mut torn).is_ok());
        assert!(append(&mut disk, b"two, long\n", &mut torn).is_err());
        assert!(append(&mut disk, b"three\n", &mut torn).is_err());
        disk.1 = 100;
        assert!(append(&mut disk, b"four\n", &mut torn).is_ok());
        assert!(append(&mut disk, b"five\n", &mut torn).is_ok());
        assert_eq!(disk.0, b"one\ntwo,\nfour\nfive\n");
    }

    #[test]
    fn a_line_that_a_killed_server_has_begun_is_ended_before_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("payloads.jsonl");
        for (before, torn) in [("", false), ("{}\n", false), ("{}\n{\"specver", true)] {
            std::fs::write(&path, before).unwrap();
            let opened = Open::new(path.to_str().unwrap()).unwrap();
            assert_eq!(opened.torn, torn, "{before}");
        }
        assert!(!Open::new("/dev/null").unwrap().torn);
    }

    #[test]
    fn a_file_that_was_moved_away_is_followed_by_a_new_one_when_that_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let (path, away) = (folder.path().join("p"), folder.path().join("away"));
        let mut opened = Open::new(path.to_str().unwrap()).unwrap();
        opened.append(b"one\n").unwrap();
        std::fs::rename(&path, &away).unwrap();
        opened.append(b"two\n").unwrap();
        opened.again.store(true, Relaxed);
        opened.append(b"three\n").unwrap();
        opened.append(b"four\n").unwrap();
        assert_eq!(std::fs::read(&away).unwrap(), b"one\ntwo\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"three\nfour\n");
    }
}
