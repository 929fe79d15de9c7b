//! The arguments of KServe's `ModelServer` (0.21) that are not another name of an option of ours,
//! so that the arguments of a ServingRuntime start this server.

use super::super::options::ConfigOption;
use super::super::options::Group::{Compatibility, Limits, Logging};
use super::super::value::Kind::{self, Bool, Choice, Integer, Path, Text};

const fn new(key: &'static str, kind: Kind, help: &'static str) -> ConfigOption {
    ConfigOption::new(Compatibility, key, kind, "", help)
}

/// Any whole number that fits the machine.
const ANY: Kind = super::ANY;

/// The versions of the protocol that a transformer of KServe's can speak to its predictor.
const PROTOCOLS: Kind = Choice(&["v1", "v2", "grpc-v2"]);

const NO_PREDICTOR: &str = "This server runs models itself and calls no predictor.";

pub(super) const KSERVE: &[ConfigOption] = &[
    ConfigOption::new(
        Logging,
        "kserve_access_log_format",
        Text,
        "",
        "Switches the access log on, as text in our own form; see access_log.",
    )
    .also(&["KSERVE_ACCESS_LOG_FORMAT"], &[], &["access_log_format"]),
    ConfigOption::new(
        Limits,
        "kserve_grpc_max_receive_message_length",
        Integer,
        "",
        "Raises body_limit to so many bytes where that is not given and is smaller.",
    )
    .also(&[], &[], &["grpc_max_receive_message_length"]),
    ConfigOption::new(
        Limits,
        "kserve_timeout_keep_alive",
        Integer,
        "",
        "Raises connection_idle to so many seconds where that is not given and is shorter.",
    )
    .also(&[], &[], &["timeout-keep-alive"]),
    new(
        "kserve_max_threads",
        ANY,
        "Threads follow the processors; see worker_threads and threads.",
    )
    .also(&["KSERVE_MAX_THREADS"], &[], &["max_threads"])
    .accepted(),
    new(
        "kserve_max_asyncio_workers",
        ANY,
        "Threads follow the processors; see worker_threads and threads.",
    )
    .also(
        &["KSERVE_MAX_ASYNCIO_WORKERS"],
        &[],
        &["max_asyncio_workers"],
    )
    .accepted(),
    new(
        "kserve_grpc_max_send_message_length",
        Integer,
        "Answers have no limit here.",
    )
    .also(&[], &[], &["grpc_max_send_message_length"])
    .accepted(),
    new(
        "kserve_configure_logging",
        Bool,
        "Logging is configured by log_level, log_format and access_log.",
    )
    .also(&[], &[], &["configure_logging"])
    .accepted(),
    new(
        "kserve_log_config_file",
        Path,
        "Logging is configured by log_level, log_format and access_log.",
    )
    .also(&[], &[], &["log_config_file"])
    .accepted(),
    new(
        "kserve_event_loop",
        Choice(&["auto", "asyncio", "uvloop"]),
        "There is no event loop of Python here.",
    )
    .also(&[], &[], &["event-loop"])
    .accepted(),
    new("kserve_predictor_host", Text, NO_PREDICTOR)
        .also(&[], &[], &["predictor_host"])
        .accepted(),
    new("kserve_protocol", PROTOCOLS, NO_PREDICTOR)
        .also(&[], &[], &["protocol"])
        .accepted(),
    new("kserve_predictor_protocol", PROTOCOLS, NO_PREDICTOR)
        .also(&[], &[], &["predictor_protocol"])
        .accepted(),
    new("kserve_predictor_use_ssl", Bool, NO_PREDICTOR)
        .also(&[], &[], &["predictor_use_ssl"])
        .accepted(),
    new(
        "kserve_predictor_request_timeout_seconds",
        Integer,
        NO_PREDICTOR,
    )
    .also(&[], &[], &["predictor_request_timeout_seconds"])
    .accepted(),
    new("kserve_predictor_request_retries", Integer, NO_PREDICTOR)
        .also(&[], &[], &["predictor_request_retries"])
        .accepted(),
    new("kserve_enable_predictor_health_check", Bool, NO_PREDICTOR)
        .also(&[], &[], &["enable_predictor_health_check"])
        .bare()
        .accepted(),
];
