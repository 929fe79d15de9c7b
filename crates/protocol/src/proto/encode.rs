//! Protobuf out: requests and responses as messages, raw contents shared.

use super::generated::model_infer_request::InferRequestedOutputTensor;
use super::generated::repository_index_response::ModelIndex;
use super::generated::{
    self, ModelInferRequest, ModelInferResponse, ModelMetadataResponse, RepositoryIndexResponse,
    ServerMetadataResponse, model_metadata_response,
};
use super::{ContentsForm, parameters, tensors};
use crate::{
    InferRequest, InferResponse, ModelMetadata, ModelRef, RepositoryEntry, ServerMetadata,
    TensorMetadata,
};

/// Writes an inference request. Where an input has no typed form all of them are raw.
///
/// `raw_input` stands for a raw HTTP body, which no message has: it is left out.
#[must_use]
pub fn encode_request(
    model: ModelRef,
    request: InferRequest,
    form: ContentsForm,
) -> ModelInferRequest {
    let (inputs, raw_input_contents) = tensors::encode(request.inputs, form);
    let outputs = request.outputs.into_iter();
    let outputs = outputs.map(|output| InferRequestedOutputTensor {
        name: output.name,
        parameters: parameters::encode(output.parameters),
    });
    ModelInferRequest {
        model_name: model.name,
        model_version: model.version.unwrap_or_default(),
        id: request.id.unwrap_or_default(),
        parameters: parameters::encode(request.parameters),
        inputs,
        outputs: outputs.collect(),
        raw_input_contents,
    }
}

/// Writes an inference response. Where an output has no typed form all of them are raw.
#[must_use]
pub fn encode_response(response: InferResponse, form: ContentsForm) -> ModelInferResponse {
    let (outputs, raw_output_contents) = tensors::encode(response.outputs, form);
    ModelInferResponse {
        model_name: response.model_name,
        model_version: response.model_version.unwrap_or_default(),
        id: response.id.unwrap_or_default(),
        parameters: parameters::encode(response.parameters),
        outputs,
        raw_output_contents,
    }
}

/// Writes what a server says of itself.
#[must_use]
pub fn encode_server_metadata(metadata: ServerMetadata) -> ServerMetadataResponse {
    ServerMetadataResponse {
        name: metadata.name,
        version: metadata.version,
        extensions: metadata.extensions,
    }
}

/// Writes what a model declares.
#[must_use]
pub fn encode_model_metadata(metadata: ModelMetadata) -> ModelMetadataResponse {
    ModelMetadataResponse {
        name: metadata.name,
        versions: metadata.versions,
        platform: metadata.platform,
        inputs: declared(metadata.inputs),
        outputs: declared(metadata.outputs),
    }
}

fn declared(tensors: Vec<TensorMetadata>) -> Vec<model_metadata_response::TensorMetadata> {
    let one = |tensor: TensorMetadata| model_metadata_response::TensorMetadata {
        name: tensor.name,
        datatype: tensor.datatype.name().to_owned(),
        shape: tensor.shape.dims().to_vec(),
    };
    tensors.into_iter().map(one).collect()
}

/// Writes the index of a repository.
#[must_use]
pub fn encode_repository_index(entries: Vec<RepositoryEntry>) -> RepositoryIndexResponse {
    let one = |entry: RepositoryEntry| ModelIndex {
        name: entry.name,
        version: entry.version,
        state: entry.state.name().to_owned(),
        reason: entry.reason,
    };
    RepositoryIndexResponse {
        models: entries.into_iter().map(one).collect(),
    }
}

/// Writes statistics.
#[must_use]
pub fn encode_statistics(
    statistics: Vec<crate::ModelStatistics>,
) -> generated::ModelStatisticsResponse {
    generated::ModelStatisticsResponse {
        model_stats: statistics.into_iter().map(statistics_of_one).collect(),
    }
}

fn statistics_of_one(row: crate::ModelStatistics) -> generated::ModelStatistics {
    let batch = |batch: &crate::BatchStatistics| generated::InferBatchStatistics {
        batch_size: batch.batch_size,
        compute_input: duration(batch.compute_input),
        compute_infer: duration(batch.compute_infer),
        compute_output: duration(batch.compute_output),
    };
    generated::ModelStatistics {
        last_inference: row.last_inference,
        inference_count: row.inference_count,
        execution_count: row.execution_count,
        inference_stats: Some(generated::InferStatistics {
            success: duration(row.success),
            fail: duration(row.fail),
            queue: duration(row.queue),
            compute_input: duration(row.compute_input),
            compute_infer: duration(row.compute_infer),
            compute_output: duration(row.compute_output),
            cache_hit: duration(row.cache_hit),
            cache_miss: duration(row.cache_miss),
        }),
        batch_stats: row.batches.iter().map(batch).collect(),
        name: row.name,
        version: row.version,
        ..generated::ModelStatistics::default()
    }
}

fn duration(statistic: crate::DurationStatistic) -> Option<generated::StatisticDuration> {
    Some(generated::StatisticDuration {
        count: statistic.count,
        ns: statistic.ns,
    })
}
