//! The model configuration, in the names that Triton's messages use.

use super::generated::model_instance_group::Kind;
use super::generated::model_version_policy::{All, Latest, PolicyChoice, Specific};
use super::generated::model_warmup::input::InputDataType;
use super::generated::{
    self, DataType, ModelConfigResponse, ModelDynamicBatching, ModelInput, ModelInstanceGroup,
    ModelOutput, ModelParameter, ModelQueuePolicy, ModelResponseCache, ModelVersionPolicy,
    ModelWarmup, model_config::SchedulingChoice, model_warmup,
};
use crate::{
    Datatype, DynamicBatching, ModelConfig, TensorMetadata, VersionChoice, WarmupData,
    WarmupRequest, WarmupTensor,
};

/// Writes how a model is served.
#[must_use]
pub fn encode_model_config(config: ModelConfig) -> ModelConfigResponse {
    let versions: Vec<i64> = config
        .versions
        .iter()
        .filter_map(|version| version.parse().ok())
        .collect();
    let parameters = config.parameters.into_iter().map(|(name, string_value)| {
        let parameter = ModelParameter { string_value };
        (name, parameter)
    });
    let instances = ModelInstanceGroup {
        name: config.name.clone(),
        kind: Kind::Cpu.into(),
        count: i32::try_from(config.instances).unwrap_or(i32::MAX),
        ..ModelInstanceGroup::default()
    };
    let policy = match config.version_choice {
        VersionChoice::Served => PolicyChoice::Specific(Specific { versions }),
        VersionChoice::All => PolicyChoice::All(All {}),
        VersionChoice::Latest(num_versions) => PolicyChoice::Latest(Latest { num_versions }),
    };
    ModelConfigResponse {
        config: Some(generated::ModelConfig {
            name: config.name,
            platform: config.platform,
            backend: config.backend,
            version_policy: Some(ModelVersionPolicy {
                policy_choice: Some(policy),
            }),
            max_batch_size: i32::try_from(config.max_batch_size).unwrap_or(i32::MAX),
            input: config.inputs.into_iter().map(input).collect(),
            output: config.outputs.into_iter().map(output).collect(),
            instance_group: vec![instances],
            parameters: parameters.collect(),
            model_warmup: (1..).zip(config.warmup).map(warmup).collect(),
            response_cache: config
                .response_cache
                .then_some(ModelResponseCache { enable: true }),
            scheduling_choice: config
                .batching
                .map(|batching| SchedulingChoice::DynamicBatching(dynamic_batching(batching))),
            ..generated::ModelConfig::default()
        }),
    }
}

fn warmup((number, request): (u32, WarmupRequest)) -> ModelWarmup {
    let input = |input: WarmupTensor| {
        let dims = input.dims.into_iter();
        let message = model_warmup::Input {
            data_type: data_type(input.datatype).into(),
            dims: dims
                .map(|dim| i64::try_from(dim).unwrap_or(i64::MAX))
                .collect(),
            input_data_type: Some(match input.data {
                WarmupData::Zeros => InputDataType::ZeroData(true),
                WarmupData::Random => InputDataType::RandomData(true),
                WarmupData::File(file) => InputDataType::InputDataFile(file),
            }),
        };
        (input.name, message)
    };
    ModelWarmup {
        name: format!("warmup {number}"),
        batch_size: request.batch_size,
        inputs: request.inputs.into_iter().map(input).collect(),
        ..ModelWarmup::default()
    }
}

fn dynamic_batching(batching: DynamicBatching) -> ModelDynamicBatching {
    let size = |size: &u32| i32::try_from(*size).unwrap_or(i32::MAX);
    ModelDynamicBatching {
        preferred_batch_size: batching.preferred_batch_sizes.iter().map(size).collect(),
        max_queue_delay_microseconds: batching.max_queue_delay_us,
        preserve_ordering: false,
        priority_levels: batching.priority_levels,
        default_priority_level: batching.default_priority,
        default_queue_policy: Some(ModelQueuePolicy {
            max_queue_size: batching.max_queue_size,
            ..ModelQueuePolicy::default()
        }),
        ..ModelDynamicBatching::default()
    }
}

fn input(tensor: TensorMetadata) -> ModelInput {
    ModelInput {
        data_type: data_type(tensor.datatype).into(),
        dims: tensor.shape.dims().to_vec(),
        name: tensor.name,
        ..ModelInput::default()
    }
}

fn output(tensor: TensorMetadata) -> ModelOutput {
    ModelOutput {
        data_type: data_type(tensor.datatype).into(),
        dims: tensor.shape.dims().to_vec(),
        name: tensor.name,
        ..ModelOutput::default()
    }
}

const fn data_type(datatype: Datatype) -> DataType {
    match datatype {
        Datatype::Bool => DataType::TypeBool,
        Datatype::Uint8 => DataType::TypeUint8,
        Datatype::Uint16 => DataType::TypeUint16,
        Datatype::Uint32 => DataType::TypeUint32,
        Datatype::Uint64 => DataType::TypeUint64,
        Datatype::Int8 => DataType::TypeInt8,
        Datatype::Int16 => DataType::TypeInt16,
        Datatype::Int32 => DataType::TypeInt32,
        Datatype::Int64 => DataType::TypeInt64,
        Datatype::Fp16 => DataType::TypeFp16,
        Datatype::Fp32 => DataType::TypeFp32,
        Datatype::Fp64 => DataType::TypeFp64,
        Datatype::Bf16 => DataType::TypeBf16,
        Datatype::Bytes => DataType::TypeString,
    }
}
