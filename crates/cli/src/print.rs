//! What commands print to standard output, which may be a full disk, or a pipe that nobody reads
//! any more.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};

use crate::exit::{Exit, fail};

/// Prints a line.
///
/// # Errors
/// How the command ends where it cannot be printed: quietly where nobody reads.
pub(crate) fn line(line: impl Display) -> Result<(), Exit> {
    text(format_args!("{line}\n"))
}

/// Prints text as it is.
///
/// # Errors
/// As [`line`].
pub(crate) fn text(text: impl Display) -> Result<(), Exit> {
    let mut out = io::stdout().lock();
    let printed = write!(out, "{text}").and_then(|()| out.flush());
    printed.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Exit::Failed,
        _ => fail(Exit::Failed, format!("cannot print: {error}")),
    })
}

/// Says something beside what is printed, to standard error. There is nowhere to say that this
/// failed.
pub(crate) fn aside(said: impl Display) {
    oip::logging::say(&said.to_string());
}
