//! The statistics extension.
//!
//! Source: Triton's `extension_statistics.md`.

use oip_core::access::actions;
use oip_protocol::{BatchStatistics, DurationStatistic, ModelStatistics, Result};
use serde::Serialize;

use super::Arrived;
use super::respond::Reply;

#[derive(Serialize)]
struct Statistics {
    model_stats: Vec<Model>,
}

#[derive(Serialize)]
struct Model {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    last_inference: u64,
    inference_count: u64,
    execution_count: u64,
    inference_stats: Inferences,
    batch_stats: Vec<Batch>,
}

#[derive(Serialize)]
struct Inferences {
    success: Duration,
    fail: Duration,
    queue: Duration,
    compute_input: Duration,
    compute_infer: Duration,
    compute_output: Duration,
    cache_hit: Duration,
    cache_miss: Duration,
}

#[derive(Serialize)]
struct Batch {
    batch_size: u64,
    compute_input: Duration,
    compute_infer: Duration,
    compute_output: Duration,
}

#[derive(Serialize)]
struct Duration {
    count: u64,
    ns: u64,
}

/// The statistics of the model that the path names, or of every model.
pub(super) async fn statistics(arrived: &mut Arrived) -> Result<Reply> {
    let permit = arrived.permit::<actions::Statistics>().await?;
    let statistics = arrived.rest.door.dataplane.statistics(permit).await?;
    let model_stats = statistics.into_iter().map(Model::from).collect();
    Reply::json(&Statistics { model_stats })
}

impl From<ModelStatistics> for Model {
    fn from(model: ModelStatistics) -> Self {
        Self {
            name: model.name,
            version: model.version,
            last_inference: model.last_inference,
            inference_count: model.inference_count,
            execution_count: model.execution_count,
            inference_stats: Inferences {
                success: model.success.into(),
                fail: model.fail.into(),
                queue: model.queue.into(),
                compute_input: model.compute_input.into(),
                compute_infer: model.compute_infer.into(),
                compute_output: model.compute_output.into(),
                cache_hit: model.cache_hit.into(),
                cache_miss: model.cache_miss.into(),
            },
            batch_stats: model.batches.into_iter().map(Batch::from).collect(),
        }
    }
}

impl From<BatchStatistics> for Batch {
    fn from(batch: BatchStatistics) -> Self {
        Self {
            batch_size: batch.batch_size,
            compute_input: batch.compute_input.into(),
            compute_infer: batch.compute_infer.into(),
            compute_output: batch.compute_output.into(),
        }
    }
}

impl From<DurationStatistic> for Duration {
    fn from(duration: DurationStatistic) -> Self {
        Self {
            count: duration.count,
            ns: duration.ns,
        }
    }
}
