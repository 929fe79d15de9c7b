//! The numbers that `oip` ends with.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what it was asked to do. A server that was told to stop ends with this one.
    Success = 0,
    /// It could not: a port is in use, say.
    Failed = 1,
    /// It was asked wrongly, and did nothing: an unknown flag, a value that makes no sense, a
    /// repository that does not exist, authentication without a key.
    Usage = 2,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Says what is wrong with a configuration, a line for each thing.
pub(crate) fn misconfigured(error: &oip::config::ConfigError) -> Exit {
    for one in error.each() {
        oip::logging::say(&format!("error: {one}"));
    }
    Exit::Usage
}

/// Says what went wrong, in one line, behind what was logged before.
pub(crate) fn fail(exit: Exit, error: impl std::fmt::Display) -> Exit {
    oip::logging::say(&format!("error: {error}"));
    exit
}
