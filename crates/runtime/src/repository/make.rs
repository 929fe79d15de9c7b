//! Making what a load serves: `model.toml`, then each version by the engine it asks for. All of
//! it blocks.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use oip_protocol::Tensor;
use oip_protocol::error::excerpt;

use super::options::RepositoryOptions;
use super::served::LoadedVersion;
use crate::cache::Answers;
use crate::directory::{FoundModel, FoundVersion};
use crate::engine::{Engines, Share, warm_up};
use crate::model::{LoadError, Model, ModelFile};
use crate::schedule::Runnable;
use crate::schedule::check::check;
use crate::settings::{Batching, ModelSettings, VersionPolicy};

/// What became of each version.
pub(super) type Attempt = BTreeMap<u64, Result<Arc<LoadedVersion>, LoadError>>;

/// Makes one model.
pub(super) struct Maker {
    pub(super) engines: Engines,
    pub(super) options: RepositoryOptions,
    /// The model's name, as the log shows it.
    pub(super) model: String,
    /// Where the answers of all versions are kept.
    pub(super) answers: Answers,
    /// Loaded versions that may stay.
    pub(super) kept: BTreeMap<u64, Arc<LoadedVersion>>,
}

impl Maker {
    /// Loads each version of a model that was found and that its policy serves, or keeps the
    /// loaded one whose file looks unchanged. A `model.toml` that cannot be used is the model's
    /// fault, and leaves no version.
    pub(super) fn attempt(&self, mut found: FoundModel) -> (FoundModel, Attempt) {
        let settings = match ModelSettings::read(&found.folder) {
            Ok(settings) => Arc::new(settings),
            Err(error) => {
                found.fault = Some(error.to_string());
                return (found, Attempt::new());
            }
        };
        let mut attempt = Attempt::new();
        for (number, version) in by_policy(&settings.versions, found.versions.clone()) {
            let made = match version {
                Some(version) => self.version(number, version, &settings),
                None => Err(LoadError::Missing(
                    "version_policy of model.toml names it, but the folder does not hold it"
                        .to_owned(),
                )),
            };
            attempt.insert(number, made);
        }
        (found, attempt)
    }

    fn version(
        &self,
        number: u64,
        found: FoundVersion,
        settings: &Arc<ModelSettings>,
    ) -> Result<Arc<LoadedVersion>, LoadError> {
        let same = |kept: &&Arc<LoadedVersion>| {
            kept.fingerprint == found.fingerprint && kept.settings == *settings
        };
        if let Some(version) = self.kept.get(&number).filter(same) {
            return Ok(Arc::clone(version));
        }
        let read_at = SystemTime::now();
        let file = ModelFile {
            bytes: read_file(&found.file)?,
            path: found.file,
        };
        let asked = settings.engine.as_deref();
        let engine = self.engines.of_file(&file.path, asked)?;
        let model = engine.load(&file, self.share(settings))?;
        labels_known(&*model, settings)?;
        let program = self.engines.is_program(&file.path);
        for sentence in without_effect(settings, engine.name(), program) {
            tracing::warn!(model = &self.model, version = number, "{sentence}");
        }
        let requests = match engine.warms_up() || !settings.warmup.is_empty() {
            true => self.warm_up(&*model, number, settings)?,
            false => Vec::new(),
        };
        let (gathers, alone_because) = self.batching(&*model, number, settings, &requests);
        let shared = settings.batching.is_some() || settings.cache.is_some();
        Ok(Arc::new(LoadedVersion {
            runnable: Arc::new(Runnable::new(model, gathers, shared)),
            alone_because,
            cache: settings.cache.as_ref().map(|s| self.answers.of_version(s)),
            engine: engine.name(),
            platform: engine.platform(),
            settled: found.fingerprint.is_settled(read_at),
            fingerprint: found.fingerprint,
            settings: Arc::clone(settings),
        }))
    }

    /// Whether requests of a version may be gathered: only where batches are answered as the
    /// same requests alone.
    fn batching(
        &self,
        model: &dyn Model,
        number: u64,
        settings: &ModelSettings,
        requests: &[Vec<Tensor>],
    ) -> (Option<Batching>, Option<String>) {
        let Some(batching) = &settings.batching else {
            return (None, None);
        };
        match check(model, batching, requests) {
            Ok(()) => (Some(batching.clone()), None),
            Err(reason) => {
                let model = &self.model;
                tracing::warn!(model, version = number, "batching stays off: {reason}");
                (None, Some(reason))
            }
        }
    }

    /// Runs the warm-up requests and returns those that `model.toml` writes down.
    fn warm_up(
        &self,
        model: &dyn Model,
        number: u64,
        settings: &ModelSettings,
    ) -> Result<Vec<Vec<Tensor>>, LoadError> {
        if !settings.warmup.is_empty() {
            let requests = warm_up::requests(model, &settings.warmup)?;
            warm_up::run_all(model, &requests)?;
            return Ok(requests);
        }
        if let Err(error) = warm_up::warm_up(model) {
            // A model may refuse zeros, or one row: its callers send neither.
            let model = &self.model;
            tracing::warn!(model, version = number, error = ?error, "warm-up did not succeed");
        }
        Ok(Vec::new())
    }

    /// The share of the machine that a model gets. Instances that are written down share the
    /// threads among them.
    fn share(&self, settings: &ModelSettings) -> Share {
        let among = settings.instances.unwrap_or(1);
        let threads = (self.options.threads() / among).max(1);
        Share {
            threads: settings.threads.unwrap_or(threads),
            concurrency: settings
                .instances
                .unwrap_or_else(|| self.options.concurrency()),
            sessions: settings.instances,
        }
    }
}

/// What `model.toml` says and this engine makes nothing of.
fn without_effect(settings: &ModelSettings, engine: &str, program: bool) -> Vec<String> {
    let idle = |key: &str, why: String| format!("'{key}' of model.toml does nothing: {why}");
    let mut sentences = Vec::new();
    if program {
        if settings.engine.is_some() {
            let why = format!("a program is run by the engine '{engine}'");
            sentences.push(idle("engine", why));
        }
        if settings.threads.is_some() {
            let why = "a program has the threads that it makes itself".to_owned();
            sentences.push(idle("threads", why));
        }
    } else if settings.threads.is_some() && engine == "tract" {
        let why = "tract runs a request on one thread".to_owned();
        sentences.push(idle("threads", why));
    }
    sentences
}

/// Holds `[labels]` to the outputs that there are.
fn labels_known(model: &dyn Model, settings: &ModelSettings) -> Result<(), LoadError> {
    let known = |name: &String| model.outputs().iter().any(|output| output.name == *name);
    let Some(unknown) = settings.labels.keys().find(|name| !known(name)) else {
        return Ok(());
    };
    let names: Vec<&str> = model.outputs().iter().map(|o| o.name.as_str()).collect();
    Err(LoadError::Settings(format!(
        "'labels.{}': the model has no such output; it has {}",
        excerpt(unknown),
        names.join(", ")
    )))
}

/// The versions that a policy serves; without a file where the folder lacks one that is named.
fn by_policy(
    policy: &VersionPolicy,
    mut found: BTreeMap<u64, FoundVersion>,
) -> BTreeMap<u64, Option<FoundVersion>> {
    match policy {
        VersionPolicy::All => {}
        VersionPolicy::Latest(most) => {
            while found.len() > *most {
                found.pop_first();
            }
        }
        VersionPolicy::Specific(numbers) => {
            let named = |number: &u64| (*number, found.remove(number));
            return numbers.iter().map(named).collect();
        }
    }
    let here = |(number, version)| (number, Some(version));
    found.into_iter().map(here).collect()
}

fn read_file(path: &Path) -> Result<Vec<u8>, LoadError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            LoadError::Missing(format!("there is no {name} in the version's folder"))
        }
        _ => LoadError::Unreadable {
            file: name.into_owned(),
            reason: error.to_string(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_makes_nothing_of_is_said() {
        let asked = ModelSettings {
            engine: Some("tract".to_owned()),
            threads: Some(2),
            ..ModelSettings::default()
        };
        let [engine, threads] =
            <[String; 2]>::try_from(without_effect(&asked, "python", true)).unwrap();
        assert_eq!(
            engine,
            "'engine' of model.toml does nothing: a program is run by the engine 'python'"
        );
        assert!(threads.starts_with("'threads' of model.toml does nothing"));
        assert_eq!(without_effect(&asked, "tract", false).len(), 1);
        assert!(without_effect(&asked, "onnxruntime", false).is_empty());
        assert!(without_effect(&ModelSettings::default(), "python", true).is_empty());
    }
}
