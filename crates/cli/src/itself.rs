//! How this program is started once more, for the processes that some commands need.

use std::ffi::OsString;
use std::io;
use std::process::Command;
use std::sync::OnceLock;

static ITSELF: OnceLock<Vec<OsString>> = OnceLock::new();

/// Says how, where it is not by the file of this process: program and first arguments.
pub(crate) fn is(command: Vec<OsString>) {
    // It is said once, when the command line begins to run.
    let _ = ITSELF.set(command);
}

/// This program, without arguments.
///
/// # Errors
/// Where the system does not tell which file this process runs.
pub(crate) fn command() -> io::Result<Command> {
    match ITSELF.get().and_then(|words| words.split_first()) {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments);
            Ok(command)
        }
        None => Ok(Command::new(std::env::current_exe()?)),
    }
}
