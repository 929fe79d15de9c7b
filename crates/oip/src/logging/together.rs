//! Lines of the log that are written in one go.
//!
//! Standard error is not buffered: each line is a call of the operating system. The audit of a busy
//! server writes hundreds of lines at once, and then one call does.

use std::cell::RefCell;
use std::io::{self, Write as _};

use tracing_subscriber::fmt::MakeWriter;

thread_local! {
    /// The lines that this thread is gathering, where it is.
    static LINES: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// How much is gathered at most before it is written, in bytes.
const MOST: usize = 64 << 10;

/// Does something, and writes in one go what this thread logs meanwhile, even where it panics.
pub(crate) fn together(act: &mut dyn FnMut()) {
    let _end = Gather::begin();
    act();
}

struct Gather;

impl Gather {
    fn begin() -> Self {
        LINES.set(Some(Vec::new()));
        Self
    }
}

impl Drop for Gather {
    fn drop(&mut self) {
        let lines = LINES.take().unwrap_or_default();
        // Where it cannot be written, there is nowhere to say so.
        let _ = io::stderr().write_all(&lines);
    }
}

/// Standard error, or the lines that are being gathered for it.
pub(super) struct StandardError;

impl<'a> MakeWriter<'a> for StandardError {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl io::Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match gather(bytes) {
            Gathered::Kept => Ok(bytes.len()),
            Gathered::Full(lines) => io::stderr().write_all(&lines).map(|()| bytes.len()),
            Gathered::Not => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, PartialEq)]
enum Gathered {
    /// With the lines before it.
    Kept,
    /// With these, which have become many.
    Full(Vec<u8>),
    /// This thread gathers nothing.
    Not,
}

fn gather(bytes: &[u8]) -> Gathered {
    LINES.with_borrow_mut(|lines| {
        let Some(lines) = lines else {
            return Gathered::Not;
        };
        lines.extend_from_slice(bytes);
        match lines.len() >= MOST {
            true => Gathered::Full(std::mem::take(lines)),
            false => Gathered::Kept,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_together_in_order_and_only_meanwhile() {
        assert_eq!(gather(b"one\n"), Gathered::Not);
        LINES.set(Some(Vec::new()));
        assert_eq!(gather(b"one\n"), Gathered::Kept);
        assert_eq!(gather(b"two\n"), Gathered::Kept);
        assert_eq!(LINES.take().unwrap(), b"one\ntwo\n");
        together(&mut || assert_eq!(gather(b""), Gathered::Kept));
        assert_eq!(gather(b"three\n"), Gathered::Not);
    }

    #[test]
    fn many_lines_are_written_in_parts() {
        LINES.set(Some(Vec::new()));
        let line = [b' '; MOST / 2];
        assert_eq!(gather(&line), Gathered::Kept);
        assert_eq!(gather(&line), Gathered::Full(vec![b' '; MOST]));
        assert_eq!(LINES.take().unwrap(), b"");
    }
}
