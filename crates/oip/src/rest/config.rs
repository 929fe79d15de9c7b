//! The model configuration extension.
//!
//! Source: Triton's `extension_model_configuration.md` and `model_config.proto`, in protobuf's
//! JSON form with the field names as they stand there.

use std::collections::BTreeMap;

use oip_core::access::actions;
use oip_protocol::{
    Datatype, DynamicBatching, ModelConfig, Result, TensorMetadata, VersionChoice, WarmupData,
    WarmupRequest, WarmupTensor,
};
use serde::Serialize;

use super::Arrived;
use super::respond::Reply;

#[derive(Serialize)]
struct Config {
    name: String,
    platform: String,
    backend: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_policy: Option<VersionPolicy>,
    max_batch_size: u32,
    input: Vec<Tensor>,
    output: Vec<Tensor>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    instance_group: Vec<InstanceGroup>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dynamic_batching: Option<Batching>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    model_warmup: Vec<Warmup>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_cache: Option<ResponseCache>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    parameters: BTreeMap<String, Parameter>,
}

#[derive(Serialize)]
struct Batching {
    preferred_batch_size: Vec<u32>,
    max_queue_delay_microseconds: u64,
    priority_levels: u64,
    default_priority_level: u64,
    default_queue_policy: QueuePolicy,
}

#[derive(Serialize)]
struct QueuePolicy {
    max_queue_size: u32,
}

#[derive(Serialize)]
struct Warmup {
    name: String,
    batch_size: u32,
    inputs: BTreeMap<String, WarmupInput>,
}

#[derive(Serialize)]
struct WarmupInput {
    data_type: String,
    dims: Vec<u64>,
    #[serde(flatten)]
    data: Source,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    ZeroData(bool),
    RandomData(bool),
    InputDataFile(String),
}

#[derive(Serialize)]
struct ResponseCache {
    enable: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum VersionPolicy {
    Specific(Versions),
    All {},
    Latest { num_versions: u32 },
}

#[derive(Serialize)]
struct Versions {
    versions: Vec<u64>,
}

#[derive(Serialize)]
struct Tensor {
    name: String,
    data_type: String,
    dims: Vec<i64>,
}

#[derive(Serialize)]
struct InstanceGroup {
    count: u32,
    kind: &'static str,
}

#[derive(Serialize)]
struct Parameter {
    string_value: String,
}

/// How a model is served.
pub(super) async fn config(arrived: &mut Arrived) -> Result<Reply> {
    let permit = arrived.permit::<actions::Config>().await?;
    let config = arrived.rest.door.dataplane.model_config(permit).await?;
    Reply::json(&Config::from(config))
}

impl From<ModelConfig> for Config {
    fn from(config: ModelConfig) -> Self {
        let numbers = config.versions.iter().map(|version| version.parse().ok());
        // Versions that are no numbers have no place in Triton's form.
        let versions: Option<Vec<u64>> = numbers.collect();
        let versions = versions.filter(|versions| !versions.is_empty());
        let group = |count| InstanceGroup {
            count,
            kind: "KIND_CPU",
        };
        let parameter = |(name, string_value)| (name, Parameter { string_value });
        Self {
            name: config.name,
            platform: config.platform,
            backend: config.backend,
            version_policy: match config.version_choice {
                VersionChoice::Served => {
                    versions.map(|versions| VersionPolicy::Specific(Versions { versions }))
                }
                VersionChoice::All => Some(VersionPolicy::All {}),
                VersionChoice::Latest(num_versions) => Some(VersionPolicy::Latest { num_versions }),
            },
            max_batch_size: config.max_batch_size,
            input: config.inputs.into_iter().map(Tensor::from).collect(),
            output: config.outputs.into_iter().map(Tensor::from).collect(),
            instance_group: (config.instances > 0)
                .then(|| group(config.instances))
                .into_iter()
                .collect(),
            dynamic_batching: config.batching.map(Batching::from),
            model_warmup: (1..).zip(config.warmup).map(Warmup::from).collect(),
            response_cache: config
                .response_cache
                .then_some(ResponseCache { enable: true }),
            parameters: config.parameters.into_iter().map(parameter).collect(),
        }
    }
}

impl From<DynamicBatching> for Batching {
    fn from(batching: DynamicBatching) -> Self {
        Self {
            preferred_batch_size: batching.preferred_batch_sizes,
            max_queue_delay_microseconds: batching.max_queue_delay_us,
            priority_levels: batching.priority_levels,
            default_priority_level: batching.default_priority,
            default_queue_policy: QueuePolicy {
                max_queue_size: batching.max_queue_size,
            },
        }
    }
}

impl From<(u32, WarmupRequest)> for Warmup {
    fn from((number, request): (u32, WarmupRequest)) -> Self {
        let input = |input: WarmupTensor| {
            let shown = WarmupInput {
                data_type: data_type(input.datatype),
                dims: input.dims,
                data: match input.data {
                    WarmupData::Zeros => Source::ZeroData(true),
                    WarmupData::Random => Source::RandomData(true),
                    WarmupData::File(file) => Source::InputDataFile(file),
                },
            };
            (input.name, shown)
        };
        Self {
            name: format!("warmup {number}"),
            batch_size: request.batch_size,
            inputs: request.inputs.into_iter().map(input).collect(),
        }
    }
}

fn data_type(datatype: Datatype) -> String {
    match datatype {
        Datatype::Bytes => "TYPE_STRING".to_owned(),
        other => format!("TYPE_{other}"),
    }
}

impl From<TensorMetadata> for Tensor {
    fn from(tensor: TensorMetadata) -> Self {
        Self {
            data_type: data_type(tensor.datatype),
            dims: tensor.shape.dims().to_vec(),
            name: tensor.name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warmed(name: &str, datatype: Datatype, data: WarmupData) -> WarmupTensor {
        WarmupTensor {
            name: name.into(),
            datatype,
            dims: vec![4],
            data,
        }
    }

    #[test]
    fn a_configuration_reads_as_tritons() {
        let config = ModelConfig {
            name: "m".into(),
            platform: "onnx_onnxv1".into(),
            backend: "tract".into(),
            versions: vec!["1".into(), "3".into()],
            inputs: vec![TensorMetadata::new("x", Datatype::Fp32, [-1, 4])],
            outputs: vec![TensorMetadata::new("label", Datatype::Bytes, [-1])],
            instances: 2,
            max_batch_size: 8,
            batching: Some(DynamicBatching {
                preferred_batch_sizes: vec![4, 8],
                max_queue_delay_us: 500,
                priority_levels: 1,
                default_priority: 1,
                max_queue_size: 100,
            }),
            warmup: vec![WarmupRequest {
                batch_size: 8,
                inputs: vec![
                    warmed("x", Datatype::Fp32, WarmupData::Random),
                    warmed("y", Datatype::Bytes, WarmupData::File("w.json".into())),
                ],
            }],
            response_cache: true,
            parameters: vec![("threads".into(), "4".into())],
            ..ModelConfig::default()
        };
        let json = serde_json::to_value(Config::from(config)).unwrap();
        let expected = serde_json::json!({
            "name": "m", "platform": "onnx_onnxv1", "backend": "tract",
            "version_policy": {"specific": {"versions": [1, 3]}},
            "max_batch_size": 8,
            "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 4]}],
            "output": [{"name": "label", "data_type": "TYPE_STRING", "dims": [-1]}],
            "instance_group": [{"count": 2, "kind": "KIND_CPU"}],
            "dynamic_batching": {
                "preferred_batch_size": [4, 8], "max_queue_delay_microseconds": 500,
                "priority_levels": 1, "default_priority_level": 1,
                "default_queue_policy": {"max_queue_size": 100},
            },
            "model_warmup": [{"name": "warmup 1", "batch_size": 8, "inputs": {
                "x": {"data_type": "TYPE_FP32", "dims": [4], "random_data": true},
                "y": {"data_type": "TYPE_STRING", "dims": [4], "input_data_file": "w.json"},
            }}],
            "response_cache": {"enable": true},
            "parameters": {"threads": {"string_value": "4"}},
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn how_versions_were_chosen_is_told_as_triton_tells_it() {
        for (version_choice, expected) in [
            (VersionChoice::All, serde_json::json!({"all": {}})),
            (
                VersionChoice::Latest(2),
                serde_json::json!({"latest": {"num_versions": 2}}),
            ),
        ] {
            let config = ModelConfig {
                version_choice,
                ..ModelConfig::default()
            };
            let json = serde_json::to_value(Config::from(config)).unwrap();
            assert_eq!(json["version_policy"], expected);
        }
    }

    #[test]
    fn what_has_no_value_is_left_out() {
        let json = serde_json::to_value(Config::from(ModelConfig::default())).unwrap();
        for name in [
            "version_policy",
            "instance_group",
            "dynamic_batching",
            "model_warmup",
            "response_cache",
            "parameters",
        ] {
            assert!(json.get(name).is_none(), "{name}");
        }
    }
}
