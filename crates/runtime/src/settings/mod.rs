//! `model.toml`: how one model is served, written beside it by whoever owns it. Every key is
//! optional. What it holds is in `docs/models.md`.
//!
//! A key that is not known or a value that cannot be keeps its own model from being served, with
//! a sentence that says where and what would do; the server and other models never notice.

mod document;
mod labels;
mod named;
mod parse;
mod reader;
mod warmup;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

pub use document::SettingsError;
pub(crate) use named::files_named;
pub use warmup::{Fill, Warmup, WarmupInput};

/// The name of the file in a model's folder.
pub const FILE: &str = "model.toml";

/// Most rows that a batch may have.
pub(crate) const MOST_ROWS: u64 = 65_536;

/// How one model is served. The default is what a model without a file gets.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelSettings {
    /// The engine that is to run it, by name; `None` leaves it to the server.
    pub engine: Option<String>,
    /// Threads that one run may use; `None` leaves it to the server.
    pub threads: Option<usize>,
    /// Runs side by side; `None` leaves it to the server.
    pub instances: Option<usize>,
    /// Which versions are served.
    pub versions: VersionPolicy,
    /// How requests are gathered; `None` runs each alone.
    pub batching: Option<Batching>,
    /// How requests wait.
    pub queue: QueueSettings,
    /// Requests that are run before the model counts as ready.
    pub warmup: Vec<Warmup>,
    /// How answers are kept; `None` keeps none.
    pub cache: Option<CacheSettings>,
    /// The names of the classes of an output, by the output's name.
    pub labels: BTreeMap<String, Vec<String>>,
}

/// Which versions of a model are served.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum VersionPolicy {
    /// All that the folder holds.
    #[default]
    All,
    /// This many with the highest numbers.
    Latest(usize),
    /// These.
    Specific(Vec<u64>),
}

/// How requests are gathered into batches along their first dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct Batching {
    /// Most rows in a batch. A request with more runs alone.
    pub max_batch_size: u64,
    /// Longest that a request waits for others to join it.
    pub max_queue_delay: Duration,
    /// Sizes at which a batch is run without waiting longer, ascending.
    pub preferred_batch_sizes: Vec<u64>,
    /// Whether a request that is alone runs at once, whatever `max_queue_delay` is.
    pub adaptive: bool,
    /// How far a float of a batch may lie from that of a request run alone, as a part of the
    /// largest value of the output.
    pub tolerance: f64,
}

/// How requests of a model wait for an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSettings {
    /// How many may wait; `None` leaves it to the server.
    pub max_size: Option<usize>,
    /// Longest expected wait that a request is let in for; `None`: its deadline alone counts.
    pub max_time: Option<Duration>,
    /// How many priorities there are; 1 is the highest.
    pub priority_levels: u64,
    /// The priority of a request that names none.
    pub default_priority: u64,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            max_size: None,
            max_time: None,
            priority_levels: 1,
            default_priority: 1,
        }
    }
}

/// How answers of a model are kept for requests that are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSettings {
    /// Most memory for requests and answers, in bytes.
    pub max_bytes: usize,
    /// How long an answer is good for; `None`: as long as the model is loaded.
    pub ttl: Option<Duration>,
}

impl ModelSettings {
    /// Reads `model.toml` of a model's folder and the files that it names; the defaults where
    /// there is no such file.
    ///
    /// # Errors
    /// A sentence that names the file, the key, what stands there and what is allowed.
    pub fn read(folder: &Path) -> Result<Self, SettingsError> {
        let path = folder.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text, folder),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(SettingsError::Unreadable {
                file: FILE.to_owned(),
                reason: error.to_string(),
            }),
        }
    }

    /// Reads the text of a `model.toml`; files that it names lie in `folder`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(text: &str, folder: &Path) -> Result<Self, SettingsError> {
        let table = document::table(text)?;
        parse::settings(table, folder)
    }
}

#[cfg(test)]
mod tests;
