//! The one table of options.
//!
//! Flags, environment names, keys of `oip.properties`, `--help`, `oip config` and
//! `docs/configuration.md` all come from here.

use super::options::ConfigOption;
use super::options::Group::{Addresses, Compatibility, Logging, Models, Requests, Stopping};
use super::value::Kind::{
    Bool, Choice, Count, Duration, Host, HttpUrl, List, Path, Port, Ratio, Text,
};

mod kserve;
mod limits;
mod security;

const fn new(
    group: super::options::Group,
    key: &'static str,
    kind: super::value::Kind,
    default: &'static str,
    help: &'static str,
) -> ConfigOption {
    ConfigOption::new(group, key, kind, default, help)
}

/// Any whole number that fits the machine.
const ANY: super::value::Kind = Count { least: 0 };
/// Every option.
pub static OPTIONS: &[ConfigOption] =
    &together::<{ OURS.len() + kserve::KSERVE.len() }>(OURS, kserve::KSERVE);

/// Those that are not there for KServe's sake.
const OURS: &[ConfigOption] =
    &together::<{ UNGUARDED.len() + security::SECURITY.len() }>(UNGUARDED, security::SECURITY);

/// Those of them that are not about security.
const UNGUARDED: &[ConfigOption] =
    &together::<{ GENERAL.len() + limits::LIMITS.len() }>(GENERAL, limits::LIMITS);

/// Two tables as one.
const fn together<const N: usize>(
    first: &[ConfigOption],
    second: &[ConfigOption],
) -> [ConfigOption; N] {
    let mut all = [first[0]; N];
    let mut n = 0;
    while n < N {
        all[n] = match n < first.len() {
            true => first[n],
            false => second[n - first.len()],
        };
        n += 1;
    }
    all
}

/// All that is about neither security nor limits.
const GENERAL: &[ConfigOption] = &[
    new(
        Addresses,
        "rest_host",
        Host,
        "127.0.0.1",
        "Address of the REST door.",
    )
    .also(&["FASTAPI_HOST"], &["fastapi_host"], &[]),
    new(
        Addresses,
        "rest_port",
        Port,
        "8082",
        "Port of the REST door; 0 lets the system choose.",
    )
    .also(
        &["FASTAPI_PORT", "KSERVE_HTTP_PORT"],
        &["fastapi_port", "kserve_http_port"],
        &["http_port"],
    ),
    new(
        Addresses,
        "grpc_host",
        Host,
        "127.0.0.1",
        "Address of the gRPC door.",
    )
    .also(&["GRPC_HOST"], &[], &[]),
    new(
        Addresses,
        "grpc_port",
        Port,
        "8081",
        "Port of the gRPC door; 0 lets the system choose.",
    )
    .also(
        &["GRPC_PORT", "KSERVE_GRPC_PORT"],
        &["kserve_grpc_port"],
        &["grpc_port"],
    ),
    new(
        Addresses,
        "port",
        Port,
        "",
        "One port for REST and gRPC together, on rest_host, instead of two.",
    ),
    new(
        Addresses,
        "grpc",
        Bool,
        "true",
        "Whether the gRPC door opens.",
    )
    .also(
        &["KSERVE_ENABLE_GRPC"],
        &["kserve_enable_grpc"],
        &["enable_grpc"],
    ),
    new(
        Addresses,
        "metrics_port",
        Port,
        "",
        "A port for /metrics alone; the REST door has none then. 0 lets the system choose.",
    ),
    new(
        Addresses,
        "metrics_host",
        Host,
        "127.0.0.1",
        "Address of that port.",
    ),
    new(
        Addresses,
        "rest_socket",
        Path,
        "",
        "Unix socket of the REST door, in place of its address and port. The file goes at the \
         stop; one that nobody listens on is replaced.",
    ),
    new(
        Addresses,
        "grpc_socket",
        Path,
        "",
        "Unix socket of the gRPC door, in place of its address and port. The same as rest_socket \
         serves both doors on one.",
    ),
    new(
        Addresses,
        "socket_mode",
        Text,
        "660",
        "Permissions of Unix sockets, as chmod takes them in octal.",
    ),
    new(
        Models,
        "model_repository",
        Path,
        "",
        "Folder of models: DIR/<model>/<version>/model.onnx or DIR/<model>/model.onnx. May also \
         stand as a plain argument. Without one nothing is served but health and metadata.",
    )
    .also(&[], &[], &["model_dir"]),
    new(
        Models,
        "model_name",
        List,
        "",
        "The one model to serve of the repository, which may itself be the model: \
         DIR/model.onnx. Without a repository, the names to answer for.",
    )
    .also(&[], &[], &["model_name"]),
    new(
        Models,
        "model_control",
        Choice(&["explicit", "none", "poll"]),
        "explicit",
        "Who loads and unloads models: callers by the API (explicit), nobody (none), or callers \
         and changes of the folder (poll).",
    ),
    new(
        Models,
        "poll_interval",
        Duration,
        "1s",
        "How often a watched repository is looked at, and watched configuration files.",
    ),
    new(
        Models,
        "reload",
        Bool,
        "false",
        "Watches the repository (model_control poll, unless that is given) and the configuration \
         files, and applies what can change without a restart.",
    )
    .also(&["FASTAPI_RELOAD"], &["fastapi_reload"], &[]),
    new(
        Models,
        "worker_threads",
        ANY,
        "0",
        "Threads that serve connections; 0 is one for each processor.",
    ),
    new(
        Models,
        "threads",
        ANY,
        "0",
        "Threads that one inference may use; 0 is one for each processor.",
    ),
    new(
        Models,
        "workers",
        ANY,
        "0",
        "Processes that share the work of a Python program (serve main.py), each with a handler \
         of its own; 0 leaves it to threads of the server. Without effect on a folder of models.",
    )
    .also(&["KSERVE_WORKERS"], &["kserve_workers"], &[]),
    new(
        Models,
        "model_concurrency",
        ANY,
        "0",
        "Inferences that one model runs at once; 0 leaves it to the number of processors. With ONNX \
         Runtime never more than the model has sessions. Of a handler in code 0 allows model_queue \
         and one for each of its threads.",
    ),
    new(
        Models,
        "model_queue",
        ANY,
        "1000",
        "Inferences that wait for one model at most; one more is refused with 429.",
    ),
    new(
        Models,
        "onnxruntime_library",
        Path,
        "",
        "The shared library of ONNX Runtime, or 'off' for the embedded engine alone. Without one \
         the usual places are searched, and the embedded engine serves where it is not found.",
    ),
    new(
        Requests,
        "json_non_finite",
        Choice(&["null", "token", "error"]),
        "null",
        "How NaN and infinities are written in JSON answers: null, as the tokens NaN and \
         Infinity, or not at all (500).",
    )
    .hot(),
    new(
        Requests,
        "forward_headers",
        List,
        "",
        "Request headers (gRPC: metadata) that handlers may see.",
    )
    .hot(),
    new(
        Requests,
        "cors_origins",
        List,
        "",
        "Origins of web pages that may call this server, such as https://console.example. Pages \
         at its own addresses always may; where it is reached by a name or through a proxy, that \
         origin belongs here, for /docs as well.",
    )
    .hot(),
    new(Requests, "docs", Bool, "true", "Whether /docs is served.")
        .also(
            &["KSERVE_ENABLE_DOCS_URL"],
            &["kserve_enable_docs_url"],
            &["enable_docs_url"],
        )
        .hot(),
    new(
        Stopping,
        "shutdown_delay",
        Duration,
        "0s",
        "How long new connections are still taken after the signal to stop, while readiness says \
         503 already.",
    ),
    new(
        Stopping,
        "shutdown_grace",
        Duration,
        "30s",
        "How long what is in flight may take to finish after that.",
    ),
    new(
        Logging,
        "log_level",
        Choice(&["off", "error", "warn", "info", "debug", "trace"]),
        "info",
        "What is logged, to standard error.",
    )
    .hot(),
    new(
        Logging,
        "log_format",
        Choice(&["text", "json"]),
        "text",
        "Form of a log line.",
    ),
    new(
        Logging,
        "access_log",
        Choice(&["off", "text", "json"]),
        "off",
        "A line for every request of both doors, to standard error, when its answer has ended. \
         With it every answer carries an X-Request-Id, as it does with authentication on.",
    ),
    new(
        Logging,
        "latency_log",
        Bool,
        "false",
        "A line in the log for every inference, with the parts of its time.",
    )
    .also(
        &["KSERVE_ENABLE_LATENCY_LOGGING"],
        &["kserve_enable_latency_logging"],
        &["enable_latency_logging"],
    )
    .hot(),
    new(
        Logging,
        "server_timing",
        Choice(&["off", "request", "always"]),
        "request",
        "When an inference is answered with how long each part of it took (Server-Timing): never, \
         when the request has the header X-OIP-Server-Timing, or always.",
    )
    .hot(),
    new(
        Logging,
        "otlp_endpoint",
        HttpUrl,
        "",
        "Collector that traces of inferences are sent to, by OTLP (http/protobuf), such as \
         http://localhost:4318. Without one nothing is traced, until a caller asks for it.",
    )
    .also(&["OTEL_EXPORTER_OTLP_ENDPOINT"], &[], &[]),
    new(
        Logging,
        "otlp_headers",
        Text,
        "",
        "Headers of what is sent there, as name=value separated by commas. Needs https, but on \
         this machine.",
    )
    .also(&["OTEL_EXPORTER_OTLP_HEADERS"], &[], &[])
    .secret(),
    new(
        Logging,
        "otlp_ca_file",
        Path,
        "",
        "File of the authorities to trust when traces are sent, in place of the system's, in PEM.",
    )
    .also(&["OTEL_EXPORTER_OTLP_CERTIFICATE"], &[], &[]),
    new(
        Logging,
        "service_name",
        Text,
        "oip",
        "The name of this service in traces.",
    )
    .also(&["OTEL_SERVICE_NAME"], &[], &[]),
    new(
        Logging,
        "trace_sample_ratio",
        Ratio,
        "1",
        "Share of inferences that are traced, of those that bring no traceparent; one that does \
         is traced as its caller says.",
    ),
    new(
        Logging,
        "payload_log",
        Text,
        "",
        "Keeps every inference with its tensors, as CloudEvents: a file, a line each, or an \
         address (https, but on this machine).",
    ),
    new(
        Logging,
        "payload_log_sample",
        Ratio,
        "1",
        "Share of inferences that are kept.",
    ),
    new(
        Logging,
        "payload_log_headers",
        Text,
        "",
        "Headers of what is kept at an address, as name=value separated by commas.",
    )
    .secret(),
    new(
        Logging,
        "payload_log_token_file",
        Path,
        "",
        "File of a bearer token to show there, read each time.",
    ),
    new(
        Logging,
        "payload_log_ca_file",
        Path,
        "",
        "File of the authorities to trust there, in place of the system's, in PEM.",
    ),
    new(
        Logging,
        "payload_log_plain_http",
        Bool,
        "false",
        "Lets that address be http on another machine: tensors, headers and tokens can be read on \
         the way.",
    ),
    new(
        Compatibility,
        "grpc_workers",
        ANY,
        "",
        "Threads follow the processors; see worker_threads and threads.",
    )
    .also(&["GRPC_WORKERS"], &[], &[])
    .accepted(),
];
