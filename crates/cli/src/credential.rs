//! What a command shows to a server so that it is let in: a token or a key out of a file.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, value_parser};

/// A header, in gRPC a metadata entry, that says who asks.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) header: &'static str,
    pub(crate) value: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl Credential {
    pub(crate) const AUTHORIZATION: &'static str = "authorization";
    const API_KEY: &'static str = "x-api-key";

    /// A bearer token.
    pub(crate) fn bearer(token: &str) -> Self {
        Self {
            header: Self::AUTHORIZATION,
            value: format!("Bearer {token}"),
        }
    }

    /// What the file of one of the [`flags`] holds, if one was given.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub(crate) fn of(matches: &ArgMatches) -> Result<Option<Self>, String> {
        let word = |flag: &str| matches.get_one::<PathBuf>(flag).map(|file| read(file));
        if let Some(token) = word("token-file") {
            return Ok(Some(Self::bearer(&token?)));
        }
        let key = word("api-key-file").transpose()?;
        Ok(key.map(|value| Self {
            header: Self::API_KEY,
            value,
        }))
    }
}

/// The flags that name such a file.
pub(crate) fn flags() -> [Arg; 2] {
    let file = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help(help)
    };
    [
        file("token-file", "File of the bearer token to show").conflicts_with("api-key-file"),
        file("api-key-file", "File of the API key to show"),
    ]
}

/// What a file holds but for the white space around it.
fn read(path: &Path) -> Result<String, String> {
    let at = |fault: &str| format!("{}: {fault}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| at(&error.to_string()))?;
    let text = text.trim();
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    match visible && !text.is_empty() {
        true => Ok(text.to_owned()),
        false => Err(at("it holds no token or key in one word")),
    }
}
