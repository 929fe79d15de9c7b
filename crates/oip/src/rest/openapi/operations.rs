//! What each call does, takes and answers.

use serde_json::{Value, json};

use super::examples;

/// The description of one call, whatever paths it stands under.
pub(in crate::rest) struct Operation {
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
    pub(super) headers: &'static [Header],
    pub(super) body: Option<Content>,
    pub(super) body_required: bool,
    /// Whether body and answer have the binary form too.
    pub(super) binary: bool,
    /// What a good answer says, in words.
    pub(super) answers: &'static str,
    pub(super) answer: Content,
    /// The statuses of its failures.
    pub(super) failures: &'static [u16],
    /// The schema of the answer under 503, where that is one of its own.
    pub(super) not_ready: Option<&'static str>,
}

/// A body.
pub(super) struct Content {
    pub(super) media: &'static str,
    /// The schema's name; empty for plain text.
    pub(super) schema: &'static str,
    pub(super) example: Option<fn() -> Value>,
}

/// A header that a request may have.
pub(super) struct Header {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) schema: fn() -> Value,
}

const fn json_of(schema: &'static str, example: Option<fn() -> Value>) -> Content {
    Content {
        media: "application/json",
        schema,
        example,
    }
}

/// A call that only reads.
const fn reads(
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    answer: Content,
) -> Operation {
    Operation {
        id,
        tag,
        summary,
        description: "",
        headers: &[],
        body: None,
        body_required: false,
        binary: false,
        answers: "The answer",
        answer,
        failures: &[401, 403],
        not_ready: None,
    }
}

/// Run a model.
pub(in crate::rest) const INFER: Operation = Operation {
    description: "Tensors come and go as JSON, or as binary data behind the JSON: then \
        `Inference-Header-Content-Length` says how long the JSON is, each input has \
        `binary_data_size`, and `binary_data_output` or `binary_data` asks for binary outputs. \
        A header length of 0 makes the whole body the model's one input.",
    headers: &[
        Header {
            name: "Inference-Header-Content-Length",
            description: "Bytes of JSON before the tensors, in a binary request",
            schema: || json!({"type": "integer", "minimum": 0}),
        },
        Header {
            name: "X-OIP-Timeout-Ms",
            description: "How long the caller waits, in milliseconds",
            schema: || json!({"type": "integer", "minimum": 0}),
        },
        Header {
            name: "X-OIP-Server-Timing",
            description: "Asks for the header Server-Timing: how long each part took",
            schema: || json!({"type": "boolean"}),
        },
        Header {
            name: "traceparent",
            description: "Where the request stands in a trace (W3C Trace Context)",
            schema: || json!({"type": "string"}),
        },
        Header {
            name: "X-OIP-Non-Finite",
            description: "What becomes of NaN and infinities in a JSON answer",
            schema: || json!({"type": "string", "enum": ["null", "token", "error"]}),
        },
    ],
    body: Some(json_of("InferenceRequest", Some(examples::request))),
    body_required: true,
    binary: true,
    answers: "The outputs that were asked for, or all",
    failures: &[400, 401, 403, 404, 413, 415, 429, 500, 501, 503, 504],
    ..reads(
        "infer",
        "inference",
        "Run a model",
        json_of("InferenceResponse", Some(examples::response)),
    )
};

/// What the server says of itself.
pub(in crate::rest) const SERVER: Operation = reads(
    "serverMetadata",
    "metadata",
    "What this server is and which extensions work",
    json_of("ServerMetadata", Some(examples::server)),
);

/// What a model declares.
pub(in crate::rest) const MODEL: Operation = Operation {
    failures: &[401, 403, 404, 501, 503],
    ..reads(
        "modelMetadata",
        "metadata",
        "What a model declares: its inputs, outputs and versions",
        json_of("ModelMetadata", Some(examples::model)),
    )
};

/// Whether the server lives.
pub(in crate::rest) const LIVE: Operation = Operation {
    failures: &[],
    ..reads(
        "serverLive",
        "health",
        "Whether the server lives",
        json_of("ServerLive", Some(|| json!({"live": true}))),
    )
};

/// Whether the server is ready.
pub(in crate::rest) const READY: Operation = Operation {
    failures: &[503],
    not_ready: Some("ServerReady"),
    ..reads(
        "serverReady",
        "health",
        "Whether the server is ready: every model that should be loaded is",
        json_of("ServerReady", Some(|| json!({"ready": true, "live": true}))),
    )
};

/// Whether a model is ready.
pub(in crate::rest) const MODEL_READY: Operation = Operation {
    failures: &[401, 403, 404, 503],
    ..reads(
        "modelReady",
        "health",
        "Whether a model can answer now",
        json_of(
            "ModelReady",
            Some(|| json!({"name": "iris", "ready": true})),
        ),
    )
};

/// The repository's index.
pub(in crate::rest) const INDEX: Operation = Operation {
    body: Some(json_of(
        "RepositoryIndexRequest",
        Some(|| json!({"ready": false})),
    )),
    failures: &[400, 401, 403, 404, 413, 415],
    ..reads(
        "repositoryIndex",
        "repository",
        "Every model version and its state",
        json_of("RepositoryIndex", Some(examples::index)),
    )
};

/// Loads a model.
pub(in crate::rest) const LOAD: Operation = Operation {
    description: "Requests in flight finish on the old model; when the load fails, the old model \
        goes on. Uploads (`config`, `file:` parameters) are refused.",
    body: Some(json_of("RepositoryLoadRequest", Some(|| json!({})))),
    failures: &[400, 401, 403, 404, 413, 415, 500, 501, 503],
    ..reads(
        "repositoryModelLoad",
        "repository",
        "Load a model, or load it again",
        json_of("Done", Some(|| json!({}))),
    )
};

/// Unloads a model.
pub(in crate::rest) const UNLOAD: Operation = Operation {
    description: "Requests in flight finish first; then the model is not found.",
    body: Some(json_of("RepositoryUnloadRequest", Some(|| json!({})))),
    failures: &[400, 401, 403, 404, 413, 415, 500, 501, 503],
    ..reads(
        "repositoryModelUnload",
        "repository",
        "Unload a model",
        json_of("Done", Some(|| json!({}))),
    )
};

/// Statistics.
pub(in crate::rest) const STATISTICS: Operation = Operation {
    failures: &[401, 403, 404],
    ..reads(
        "modelStatistics",
        "extensions",
        "How often each model was asked and how long it took",
        json_of("Statistics", Some(examples::statistics)),
    )
};

/// Configuration.
pub(in crate::rest) const CONFIG: Operation = Operation {
    failures: &[401, 403, 404, 501, 503],
    ..reads(
        "modelConfiguration",
        "extensions",
        "How a model is served",
        json_of("ModelConfiguration", Some(examples::configuration)),
    )
};

/// Log settings, read.
pub(in crate::rest) const LOG_SETTINGS: Operation = Operation {
    failures: &[401, 403, 404],
    ..reads(
        "logSettings",
        "extensions",
        "What is logged",
        json_of("LogSettings", Some(examples::log_settings)),
    )
};

/// Log settings, changed.
pub(in crate::rest) const SET_LOG_SETTINGS: Operation = Operation {
    body: Some(json_of(
        "LogSettings",
        Some(|| json!({"log_verbose_level": 1})),
    )),
    failures: &[400, 401, 403, 404, 413, 415],
    ..reads(
        "updateLogSettings",
        "extensions",
        "Change what is logged; what is not named stays",
        json_of("LogSettings", Some(examples::log_settings)),
    )
};

/// Trace settings, read.
pub(in crate::rest) const TRACE_SETTINGS: Operation = Operation {
    failures: &[401, 403, 404],
    ..reads(
        "traceSettings",
        "extensions",
        "Which inferences are traced, of all models or of one",
        json_of("TraceSettings", Some(examples::trace_settings)),
    )
};

/// Trace settings, changed.
pub(in crate::rest) const SET_TRACE_SETTINGS: Operation = Operation {
    description: "What is not named stays; `null` takes a setting back to its default. An empty \
        object takes a model's own settings away.",
    body: Some(json_of(
        "TraceSettings",
        Some(|| json!({"trace_level": ["TIMESTAMPS"], "trace_rate": "10"})),
    )),
    failures: &[400, 401, 403, 404, 413, 415, 429],
    ..reads(
        "updateTraceSettings",
        "extensions",
        "Change which inferences are traced, of all models or of one",
        json_of("TraceSettings", Some(examples::trace_settings)),
    )
};

/// The metrics.
pub(in crate::rest) const METRICS: Operation = reads(
    "metrics",
    "extensions",
    "What the statistics count, as Prometheus reads it",
    Content {
        media: "text/plain",
        schema: "",
        example: None,
    },
);

/// This document.
pub(in crate::rest) const OPENAPI: Operation = reads(
    "openapi",
    "description",
    "This document",
    json_of("Object", None),
);

/// The page that shows it.
pub(in crate::rest) const DOCS: Operation = Operation {
    failures: &[404],
    ..reads(
        "docs",
        "description",
        "A page that shows this document",
        Content {
            media: "text/html",
            schema: "",
            example: None,
        },
    )
};
