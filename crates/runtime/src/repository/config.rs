//! How a version is served, for the model configuration extension.

use oip_protocol::{ModelConfig, VersionChoice};

use super::RepositoryOptions;
use super::served::Served;
use crate::settings::{ModelSettings, VersionPolicy};

/// The configuration of a version.
pub(super) fn of(served: &Served, options: &RepositoryOptions) -> ModelConfig {
    let metadata = &*served.metadata;
    let settings = &*served.version.settings;
    let instances = settings.instances.unwrap_or_else(|| options.concurrency());
    ModelConfig {
        name: metadata.name.clone(),
        platform: metadata.platform.clone(),
        backend: served.version.engine.to_owned(),
        versions: metadata.versions.clone(),
        version_choice: match &settings.versions {
            VersionPolicy::Latest(most) => VersionChoice::Latest(narrow(*most)),
            _ => VersionChoice::Served,
        },
        inputs: metadata.inputs.clone(),
        outputs: metadata.outputs.clone(),
        instances: narrow(instances),
        warmup_requests: narrow(settings.warmup.len()),
        parameters: parameters(settings, options),
        ..ModelConfig::default()
    }
}

/// What Triton's message has no field for.
fn parameters(settings: &ModelSettings, options: &RepositoryOptions) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut add = |name: &str, value: String| parameters.push((name.to_owned(), value));
    if settings.threads.is_some() || options.threads.is_some() {
        let threads = settings.threads.unwrap_or_else(|| options.threads());
        add("threads", threads.to_string());
    }
    for (output, labels) in &settings.labels {
        add(&format!("labels.{output}"), labels.len().to_string());
    }
    parameters
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
