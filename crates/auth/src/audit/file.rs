//! The file of an audit: opened for this process alone, appended to line by line.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::AuditError;
use super::chain::{Chain, Head, Sealed};

/// How far back the last line is looked for. No line is longer: every field is bounded.
const TAIL: u64 = 64 << 10;

/// How long a file that was found in its place is believed to be there.
const BELIEVED: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct AuditFile {
    path: PathBuf,
    file: File,
    /// Where the last whole line ends.
    end: u64,
    /// Whether bytes that are no whole line stand after it.
    torn: bool,
    /// When the file was last found in its place; `None` once it was not.
    found: Option<Instant>,
}

impl AuditFile {
    /// Opens a file and finds the head of its chain.
    pub(super) fn open(path: &Path, chain: &Chain) -> Result<(Self, Head), AuditError> {
        let wrong = |fault: String| AuditError::File {
            path: path.to_owned(),
            fault,
        };
        let mut options = OpenOptions::new();
        options.create(true).read(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options
            .open(path)
            .map_err(|error| wrong(error.to_string()))?;
        file.try_lock()
            .map_err(|_| wrong("another process keeps its audit in it".to_owned()))?;
        let (head, end, torn) = last(&mut file, chain).map_err(wrong)?;
        let opened = Self {
            path: path.to_owned(),
            file,
            end,
            torn,
            found: Some(Instant::now()),
        };
        Ok((opened, head))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it ends within a line.
    pub(super) fn is_torn(&self) -> bool {
        self.torn
    }

    /// Whether it is where it was opened.
    pub(super) fn is_in_place(&self) -> bool {
        in_place(&self.path, &self.file).is_ok()
    }

    /// Appends whole lines. When that fails, what part of them was written is taken back.
    /// It also fails when the file is no longer in its place: the lines would be gone with it. That
    /// is looked at once a second, and each time while it fails.
    pub(super) fn append(&mut self, lines: &str, now: Instant) -> io::Result<()> {
        let believed = |found| now.saturating_duration_since(found) < BELIEVED;
        if !self.found.is_some_and(believed) {
            self.found = None;
            in_place(&self.path, &self.file)?;
            self.found = Some(now);
        }
        let after_torn;
        let whole = match self.torn {
            true => {
                after_torn = format!("\n{lines}");
                &after_torn
            }
            false => lines,
        };
        match self.file.write_all(whole.as_bytes()) {
            Ok(()) => {
                self.end += whole.len() as u64;
                self.torn = false;
                Ok(())
            }
            Err(error) => {
                // What was torn before this process began stays: it is evidence.
                if !self.torn && self.file.set_len(self.end).is_err() {
                    self.torn = true;
                }
                Err(error)
            }
        }
    }
}

/// Fails where a path no longer leads to the file that was opened by it.
#[cfg(unix)]
fn in_place(path: &Path, file: &File) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let gone = "the audit file is gone; put it back, or begin a new one by SIGHUP or a restart";
    let there = std::fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(io::ErrorKind::NotFound, gone),
        _ => error,
    })?;
    let open = file.metadata()?;
    if (there.dev(), there.ino()) != (open.dev(), open.ino()) {
        let other = "another file is in the audit file's place; put the audit file back, or begin in this \
             one by SIGHUP or a restart";
        return Err(io::Error::other(other));
    }
    Ok(())
}

/// Elsewhere a file that is open cannot be taken away.
#[cfg(not(unix))]
fn in_place(_: &Path, _: &File) -> io::Result<()> {
    Ok(())
}

/// The head of the chain in a file, where the file ends, and whether its last line is torn.
fn last(file: &mut File, chain: &Chain) -> Result<(Head, u64, bool), String> {
    let read = |error: io::Error| error.to_string();
    let end = file.seek(SeekFrom::End(0)).map_err(read)?;
    let from = end.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from)).map_err(read)?;
    let mut tail = Vec::new();
    // A device can have more to read than it says.
    let mut bounded = file.take(end - from);
    bounded.read_to_end(&mut tail).map_err(read)?;
    let torn = tail.last().is_some_and(|byte| *byte != b'\n');
    let tail = String::from_utf8_lossy(&tail);
    let mut lines = tail.lines().rev().filter_map(Sealed::parse);
    let Some(sealed) = lines.next() else {
        if end == 0 {
            return Ok((chain.start(), end, torn));
        }
        return Err("it does not end in lines of an audit; name another file".to_owned());
    };
    if sealed.member != chain.member() {
        return Err(format!(
            "its lines end in {:?} and would go on with {:?}: a chain is kept with the same key \
             from its beginning; name another file",
            sealed.member,
            chain.member()
        ));
    }
    let before = match lines.next() {
        _ if sealed.seq == 1 => Some(chain.start().code),
        Some(before) if before.seq.checked_add(1) == Some(sealed.seq) => Some(before.code),
        _ => None,
    };
    if before.is_some_and(|before| chain.code(&before, sealed.body) != sealed.code) {
        return Err(format!(
            "its last line (number {}) is not what was written, or was sealed with another key: a \
             chain is kept with the same key from its beginning; look it over (oip audit verify), \
             and name another file",
            sealed.seq
        ));
    }
    let head = Head {
        count: sealed.seq,
        code: sealed.code,
    };
    Ok((head, end, torn))
}

#[cfg(test)]
mod tests;
