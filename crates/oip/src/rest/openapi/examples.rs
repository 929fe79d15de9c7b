//! Examples: the iris model of `examples/models`.

use serde_json::{Value, json};

/// Measures of three flowers.
pub(super) fn request() -> Value {
    json!({
        "id": "three-flowers",
        "inputs": [{
            "name": "input", "shape": [3, 4], "datatype": "FP32",
            "data": [4.8, 3.0, 1.4, 0.3, 6.4, 3.2, 4.5, 1.5, 6.7, 3.3, 5.7, 2.1],
        }],
    })
}

/// Their species.
pub(super) fn response() -> Value {
    json!({
        "model_name": "iris", "model_version": "1", "id": "three-flowers",
        "outputs": [
            {"name": "label", "shape": [3], "datatype": "INT64", "data": [0, 1, 2]},
            {"name": "probabilities", "shape": [3, 3], "datatype": "FP32", "data": [
                0.9902063, 0.009793725, 2.5199229e-12,
                0.00116482, 0.97291374, 0.025921494,
                2.6759275e-7, 0.006221143, 0.9937785,
            ]},
        ],
    })
}

pub(super) fn server() -> Value {
    json!({
        "name": "oip", "version": env!("CARGO_PKG_VERSION"),
        "extensions": ["binary_tensor_data", "classification", "statistics", "model_repository"],
    })
}

pub(super) fn model() -> Value {
    json!({
        "name": "iris", "versions": ["1"], "platform": "onnx_onnxv1",
        "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]},
        ],
    })
}

pub(super) fn index() -> Value {
    json!([{"name": "iris", "version": "1", "state": "READY", "reason": ""}])
}

pub(super) fn statistics() -> Value {
    let took = |count: u64, ns: u64| json!({"count": count, "ns": ns});
    json!({"model_stats": [{
        "name": "iris", "version": "1", "last_inference": 1_764_000_000_000_u64,
        "inference_count": 3, "execution_count": 1,
        "inference_stats": {
            "success": took(1, 210_000), "fail": took(0, 0), "queue": took(1, 2_000),
            "compute_input": took(1, 4_000), "compute_infer": took(1, 60_000),
            "compute_output": took(1, 3_000),
        },
        "batch_stats": [{
            "batch_size": 3, "compute_input": took(1, 4_000), "compute_infer": took(1, 60_000),
            "compute_output": took(1, 3_000),
        }],
    }]})
}

pub(super) fn configuration() -> Value {
    json!({
        "name": "iris", "platform": "onnx_onnxv1", "backend": "tract",
        "version_policy": {"all": {}}, "max_batch_size": 0,
        "input": [{"name": "input", "data_type": "TYPE_FP32", "dims": [-1, 4]}],
        "output": [
            {"name": "label", "data_type": "TYPE_INT64", "dims": [-1]},
            {"name": "probabilities", "data_type": "TYPE_FP32", "dims": [-1, 3]},
        ],
        "instance_group": [{"count": 1, "kind": "KIND_CPU"}],
    })
}

/// Log settings.
pub(super) fn log_settings() -> Value {
    json!({
        "log_file": "",
        "log_info": true,
        "log_warnings": true,
        "log_errors": true,
        "log_verbose_level": 0,
        "log_format": "default"
    })
}

/// Trace settings.
pub(super) fn trace_settings() -> Value {
    json!({
        "trace_file": "",
        "trace_level": ["OFF"],
        "trace_rate": "1",
        "trace_count": "-1",
        "log_frequency": "0"
    })
}
