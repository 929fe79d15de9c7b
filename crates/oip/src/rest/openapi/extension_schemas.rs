//! The JSON objects of the extensions. Source: Triton's `extension_*.md`.

use serde_json::{Map, Value, json};

use super::schemas::{count, flag, list_of, named, object, reference, text};

/// Names and schemas.
pub(super) fn schemas() -> Map<String, Value> {
    let mut schemas = Map::new();
    schemas.extend(repository().into_iter().map(named));
    schemas.extend(statistics().into_iter().map(named));
    schemas.extend(settings().into_iter().map(named));
    schemas.extend(configuration().into_iter().map(named));
    schemas
}

fn settings() -> [(&'static str, Value); 2] {
    let level = json!({"type": "string", "enum": ["OFF", "TIMESTAMPS"]});
    [
        (
            "LogSettings",
            object(&[
                ("log_file?", text("Always empty: the log is standard error")),
                ("log_info?", flag("What happens")),
                ("log_warnings?", flag("What an operator should look at")),
                ("log_warning?", flag("The same, by another name")),
                ("log_errors?", flag("What went wrong on this side")),
                ("log_error?", flag("The same, by another name")),
                ("log_verbose_level?", count("1: why; 2: everything")),
                (
                    "log_format?",
                    text("default or ISO8601; times are ISO 8601 in both"),
                ),
            ]),
        ),
        (
            "TraceSettings",
            object(&[
                (
                    "trace_file?",
                    text("Always empty: traces go to a collector or to the log"),
                ),
                ("trace_level?", list_of(level)),
                ("trace_rate?", text("One of how many inferences is traced")),
                (
                    "trace_count?",
                    text("How many more are traced; -1 for no end"),
                ),
                (
                    "log_frequency?",
                    text("How many are gathered before they are sent"),
                ),
            ]),
        ),
    ]
}

fn repository() -> [(&'static str, Value); 5] {
    let states = ["UNKNOWN", "READY", "UNAVAILABLE", "LOADING", "UNLOADING"];
    [
        (
            "RepositoryIndexRequest",
            object(&[("ready?", flag("Only models that are ready"))]),
        ),
        ("RepositoryIndex", list_of(reference("RepositoryEntry"))),
        (
            "RepositoryEntry",
            object(&[
                ("name", text("The model's name")),
                ("version?", text("The version")),
                ("state", json!({"type": "string", "enum": states})),
                ("reason", text("Why it is in that state; may be empty")),
            ]),
        ),
        (
            "RepositoryLoadRequest",
            object(&[("parameters?", reference("Parameters"))]),
        ),
        (
            "RepositoryUnloadRequest",
            object(&[("parameters?", reference("Parameters"))]),
        ),
    ]
}

fn statistics() -> [(&'static str, Value); 5] {
    let duration = || reference("Duration");
    let compute = || {
        [
            ("compute_input", duration()),
            ("compute_infer", duration()),
            ("compute_output", duration()),
        ]
    };
    let inferences = [
        ("success", duration()),
        ("fail", duration()),
        ("queue", duration()),
    ];
    let cache = [("cache_hit", duration()), ("cache_miss", duration())];
    let batch = [("batch_size", count("The size of the batch"))];
    [
        (
            "Statistics",
            object(&[("model_stats", list_of(reference("ModelStatistics")))]),
        ),
        (
            "ModelStatistics",
            object(&[
                ("name", text("The model's name")),
                ("version?", text("The version")),
                (
                    "last_inference",
                    count("Milliseconds since the epoch; 0 when there was none"),
                ),
                (
                    "inference_count",
                    count("Inferences, each row of a batch counted"),
                ),
                ("execution_count", count("Executions of the model")),
                ("inference_stats", reference("InferenceStatistics")),
                ("batch_stats", list_of(reference("BatchStatistics"))),
            ]),
        ),
        (
            "InferenceStatistics",
            object(&[&inferences[..], &compute(), &cache].concat()),
        ),
        (
            "BatchStatistics",
            object(&[&batch[..], &compute()].concat()),
        ),
        (
            "Duration",
            object(&[
                ("count", count("How often")),
                ("ns", count("How long together, in nanoseconds")),
            ]),
        ),
    ]
}

fn configuration() -> [(&'static str, Value); 2] {
    let dims = list_of(json!({"type": "integer", "format": "int64"}));
    let tensors = list_of(reference("ConfiguredTensor"));
    let group = object(&[("count", count("How many")), ("kind", text("On what"))]);
    let parameter = object(&[("string_value", text("The value"))]);
    let versions = list_of(count("A version"));
    let batching = object(&[
        ("preferred_batch_size", list_of(count("A size"))),
        (
            "max_queue_delay_microseconds",
            count("Longest wait for others"),
        ),
        ("priority_levels", count("How many")),
        ("default_priority_level", count("1 is the highest")),
        (
            "default_queue_policy",
            object(&[("max_queue_size", count("Requests that may wait"))]),
        ),
    ]);
    let input = object(&[
        ("data_type", text("Such as TYPE_FP32")),
        ("dims", dims.clone()),
        ("zero_data?", flag("Zeros")),
        ("random_data?", flag("Made up")),
        ("input_data_file?", text("The file of the whole request")),
    ]);
    let warmup = object(&[
        ("name", text("Which one")),
        ("batch_size", count("Its rows, where requests are gathered")),
        (
            "inputs",
            json!({"type": "object", "additionalProperties": input}),
        ),
    ]);
    let cache = object(&[("enable", flag("Whether answers are kept"))]);
    [
        (
            "ModelConfiguration",
            object(&[
                ("name", text("The model's name")),
                ("platform", text("What kind of model it is")),
                ("backend", text("The engine that runs it")),
                (
                    "version_policy?",
                    object(&[
                        ("all?", object(&[])),
                        ("specific?", object(&[("versions", versions)])),
                        ("latest?", object(&[("num_versions", count("How many"))])),
                    ]),
                ),
                (
                    "max_batch_size",
                    count("Largest batch; 0 when requests are not batched"),
                ),
                ("input", tensors.clone()),
                ("output", tensors),
                ("instance_group?", list_of(group)),
                ("dynamic_batching?", batching),
                ("model_warmup?", list_of(warmup)),
                ("response_cache?", cache),
                (
                    "parameters?",
                    json!({"type": "object", "additionalProperties": parameter}),
                ),
            ]),
        ),
        (
            "ConfiguredTensor",
            object(&[
                ("name", text("The tensor's name")),
                ("data_type", text("Such as TYPE_FP32")),
                ("dims", dims),
            ]),
        ),
    ]
}
