//! What a repository is opened with, and why it cannot be.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::engine::Programs;
use crate::library::OnnxRuntime;
use crate::schedule::Limits;
use crate::settings::ModelSettings;

/// Who loads and unloads models after the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ModelControl {
    /// Nobody: what is loaded at start stays.
    None,
    /// Callers, by the model repository extension.
    #[default]
    Explicit,
    /// Callers, and the folder itself: it is watched, and what changes there is loaded.
    Poll,
}

/// What a [`Repository`](super::Repository) is opened with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RepositoryOptions {
    /// The folder.
    pub directory: PathBuf,
    /// The name of the one model to serve, where the folder may itself be that model.
    pub single_model: Option<String>,
    /// Who loads and unloads; explicit by default.
    pub control: ModelControl,
    /// Which ONNX Runtime to use.
    pub onnxruntime: OnnxRuntime,
    /// How many threads one run may use, where the engine has threads of its own (ONNX Runtime
    /// has; tract runs on one), and how many models load side by side at start. `None`: as many
    /// as the machine runs at once.
    pub threads: Option<usize>,
    /// How many requests one model runs side by side. `None`: as many as the machine runs at
    /// once.
    pub concurrency: Option<usize>,
    /// How many requests may wait for one model; 1,000. One more is refused with 429.
    pub queue: usize,
    /// How often the folder is looked at when it is watched; 1 s. A change is acted on when two
    /// looks in a row find the same, so that a file that is still being copied is left alone.
    pub poll_interval: Duration,
    /// Engines for models that are programs rather than files of ONNX.
    pub programs: Vec<Programs>,
}

impl RepositoryOptions {
    /// The defaults for a folder.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            single_model: None,
            control: ModelControl::default(),
            onnxruntime: OnnxRuntime::default(),
            threads: None,
            concurrency: None,
            queue: 1000,
            poll_interval: Duration::from_secs(1),
            programs: Vec::new(),
        }
    }

    /// How many threads one run may use.
    #[must_use]
    pub fn threads(&self) -> usize {
        or_parallelism(self.threads)
    }

    /// How many requests one model runs side by side.
    #[must_use]
    pub fn concurrency(&self) -> usize {
        or_parallelism(self.concurrency)
    }
}

impl RepositoryOptions {
    /// How requests of a model run and wait. `sessions`: how many runs of it its engine makes at
    /// once. More instances would have requests wait inside the engine, where they gather no
    /// more, keep no order, and nobody knows how many stand before them. `wish`: how many it would
    /// have run, where nobody says.
    pub(super) fn limits(
        &self,
        settings: &ModelSettings,
        sessions: Option<usize>,
        wish: Option<usize>,
    ) -> Limits {
        let instances = match (self.concurrency, wish) {
            (None, Some(wish)) => wish,
            _ => self.concurrency(),
        };
        let instances = settings.instances.unwrap_or(instances);
        let instances = sessions.map_or(instances, |sessions| instances.min(sessions));
        let queue = &settings.queue;
        Limits {
            instances: instances.max(1),
            queue: queue.max_size.unwrap_or(self.queue),
            max_time: queue.max_time,
            levels: queue.priority_levels,
            default_level: queue.default_priority,
        }
    }
}

fn or_parallelism(wanted: Option<usize>) -> usize {
    let machine = || std::thread::available_parallelism().map_or(1, usize::from);
    wanted.unwrap_or_else(machine).max(1)
}

/// Why a repository could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is nothing at that path.
    #[error("the model repository {} does not exist", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// There is something else at that path.
    #[error("the model repository {} is not a folder", path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// The folder cannot be listed.
    #[error("the model repository {} cannot be read: {reason}", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The library that was named cannot be used.
    #[error("ONNX Runtime cannot be loaded from {}: {reason}", path.display())]
    OnnxRuntime {
        /// The library.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// This build has no engine that can serve.
    #[error(
        "no engine can serve here: ONNX Runtime was not found and this build has no embedded engine; install onnxruntime or build with the feature 'tract'"
    )]
    NoEngine,
}

impl OpenError {
    pub(super) fn unreadable(path: PathBuf, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            _ => Self::Unreadable {
                path,
                reason: error.to_string(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_as_many_runs_side_by_side_as_it_wishes_where_nobody_says() {
        let mut options = RepositoryOptions::new("models");
        let mut settings = ModelSettings::default();
        let instances = |options: &RepositoryOptions, settings: &ModelSettings| {
            options.limits(settings, None, Some(64)).instances
        };
        assert_eq!(instances(&options, &settings), 64);
        options.concurrency = Some(3);
        assert_eq!(instances(&options, &settings), 3);
        settings.instances = Some(5);
        assert_eq!(instances(&options, &settings), 5);
    }

    #[test]
    fn no_more_run_side_by_side_than_the_engine_has_sessions_whoever_asks_for_more() {
        let mut options = RepositoryOptions::new("models");
        let mut settings = ModelSettings::default();
        options.concurrency = Some(32);
        for (asked, sessions, instances) in [(None, 1, 1), (None, 40, 32), (Some(6), 4, 4)] {
            settings.instances = asked;
            let limits = options.limits(&settings, Some(sessions), None);
            assert_eq!(limits.instances, instances);
        }
    }
}
