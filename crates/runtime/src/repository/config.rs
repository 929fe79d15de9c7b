//! How a version is served, for the model configuration extension.

mod warmup;

use oip_protocol::{DeclaredShape, DynamicBatching, ModelConfig, TensorMetadata, VersionChoice};

use super::RepositoryOptions;
use super::served::{LoadedVersion, Served};
use crate::schedule::Limits;
use crate::settings::{Batching, VersionPolicy};

/// The configuration of a version.
pub(super) fn of(served: &Served, options: &RepositoryOptions) -> ModelConfig {
    let metadata = &*served.metadata;
    let settings = &*served.version.settings;
    let limits = served.schedule.limits();
    let gathers = served.version.runnable.gathers.as_ref();
    ModelConfig {
        name: metadata.name.clone(),
        platform: metadata.platform.clone(),
        backend: served.version.engine.to_owned(),
        versions: metadata.versions.clone(),
        version_choice: match &settings.versions {
            VersionPolicy::Latest(most) => VersionChoice::Latest(narrow(*most)),
            VersionPolicy::All => VersionChoice::All,
            VersionPolicy::Specific(_) => VersionChoice::Served,
        },
        max_batch_size: gathers.map_or(0, |batching| narrow_u64(batching.max_batch_size)),
        inputs: without_batch(&metadata.inputs, gathers.is_some()),
        outputs: without_batch(&metadata.outputs, gathers.is_some()),
        instances: narrow(limits.instances),
        batching: gathers.map(|batching| dynamic_batching(batching, &limits)),
        response_cache: served.version.cache.is_some(),
        warmup: settings
            .warmup
            .iter()
            .map(|request| warmup::shown(request, &metadata.inputs, gathers.is_some()))
            .collect(),
        parameters: parameters(&served.version, &limits, options),
    }
}

/// What Triton's message has no field for.
fn parameters(
    version: &LoadedVersion,
    limits: &Limits,
    options: &RepositoryOptions,
) -> Vec<(String, String)> {
    let settings = &*version.settings;
    let mut parameters = Vec::new();
    let mut add = |name: &str, value: String| parameters.push((name.to_owned(), value));
    if settings.threads.is_some() || options.threads.is_some() {
        let threads = settings.threads.unwrap_or_else(|| options.threads());
        add("threads", threads.to_string());
    }
    if let Some(batching) = &version.runnable.gathers {
        add("batching.adaptive", batching.adaptive.to_string());
        add("batching.tolerance", batching.tolerance.to_string());
    }
    if let Some(reason) = &version.alone_because {
        add("batching.off", reason.clone());
    }
    // Where requests are gathered, these stand in the message's own fields.
    if version.runnable.gathers.is_none() {
        if settings.queue.max_size.is_some() {
            add("queue.max_size", limits.queue.to_string());
        }
        if limits.levels > 1 {
            add("queue.priority_levels", limits.levels.to_string());
            add("queue.default_priority", limits.default_level.to_string());
        }
    }
    if let Some(most) = settings.queue.max_time {
        add("queue.max_time_us", most.as_micros().to_string());
    }
    if let Some(cache) = &settings.cache {
        add("cache.max_bytes", cache.max_bytes.to_string());
        if let Some(ttl) = cache.ttl {
            add("cache.ttl_us", ttl.as_micros().to_string());
        }
    }
    for (output, labels) in &settings.labels {
        add(&format!("labels.{output}"), labels.join("\n"));
    }
    parameters
}

/// Where requests are gathered, shapes are told without the batch's dimension, as the protocol's
/// extension has it.
fn without_batch(tensors: &[TensorMetadata], gathers: bool) -> Vec<TensorMetadata> {
    let mut tensors = tensors.to_vec();
    if gathers {
        for tensor in &mut tensors {
            let dims = tensor.shape.dims().get(1..).unwrap_or(&[]);
            tensor.shape = DeclaredShape::new(dims);
        }
    }
    tensors
}

fn dynamic_batching(batching: &Batching, limits: &Limits) -> DynamicBatching {
    let sizes = batching.preferred_batch_sizes.iter();
    let delay = batching.max_queue_delay.as_micros();
    DynamicBatching {
        preferred_batch_sizes: sizes.map(|size| narrow_u64(*size)).collect(),
        max_queue_delay_us: u64::try_from(delay).unwrap_or(u64::MAX),
        priority_levels: limits.levels,
        default_priority: limits.default_level,
        max_queue_size: narrow(limits.queue),
    }
}

fn narrow_u64(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
