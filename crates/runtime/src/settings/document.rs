//! The text of a `model.toml` and what can be wrong with it.

use super::FILE;

/// Why a `model.toml` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A file cannot be read.
    #[error("{file} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// The system's words.
        reason: String,
    },
    /// It is no TOML.
    #[error("{FILE} is no TOML: line {line}: {reason}")]
    Syntax {
        /// Where, counted from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A key that is not known.
    #[error("{FILE}: unknown key '{key}'{hint}; allowed: {allowed}")]
    UnknownKey {
        /// The key, with the tables that it stands in.
        key: String,
        /// The known key that it most likely means, as `, did you mean '…'?`; else empty.
        hint: String,
        /// The keys that may stand there.
        allowed: String,
    },
    /// A value that the key cannot have.
    #[error("{FILE}: '{key}' is {found}, but it is {allowed}")]
    Value {
        /// The key, with the tables that it stands in.
        key: String,
        /// What stands there.
        found: String,
        /// What may.
        allowed: String,
    },
    /// A key that is needed where others of its table stand.
    #[error("{FILE}: '{key}' is missing: {allowed}")]
    MissingKey {
        /// The key, with the tables that it stands in.
        key: String,
        /// What it is.
        allowed: String,
    },
    /// A file that a key names.
    #[error("{FILE}: '{key}' names {file}, which {reason}")]
    File {
        /// The key.
        key: String,
        /// The file's name as it stands there.
        file: String,
        /// Why it will not do.
        reason: String,
    },
}

/// The text as a table.
pub(super) fn table(text: &str) -> Result<toml::Table, SettingsError> {
    text.parse::<toml::Table>().map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        SettingsError::Syntax {
            line: before.map_or(1, |before| before.matches('\n').count() + 1),
            reason: error.message().replace('\n', "; "),
        }
    })
}
