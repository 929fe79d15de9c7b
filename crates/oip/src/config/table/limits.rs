//! The limits.

use super::ANY;
use super::new;
use crate::config::options::ConfigOption;
use crate::config::options::Group::Limits;
use crate::config::value::Kind::{self, Count, Duration, Size};

/// A whole number of which there must be one.
const SOME: Kind = Count { least: 1 };

/// Every limit.
pub(super) const LIMITS: &[ConfigOption] = &[
    new(
        Limits,
        "body_limit",
        Size { least: 1 },
        "64MiB",
        "Largest body, also after decompression, and largest gRPC message.",
    )
    .hot(),
    new(
        Limits,
        "header_limit",
        Size { least: 1024 },
        "64KiB",
        "Largest head of a request: its path and headers, of which there may be 100.",
    ),
    new(
        Limits,
        "header_timeout",
        Duration,
        "30s",
        "Longest that the head of a request may take to arrive; for the first one of a connection from \
         its beginning, the handshake of TLS included.",
    ),
    new(
        Limits,
        "body_timeout",
        Duration,
        "30s",
        "Longest that nothing may arrive of a body, or of a gRPC message, that has begun.",
    )
    .hot(),
    new(
        Limits,
        "body_time",
        Duration,
        "5m",
        "Longest that a body, or a gRPC message, may take to arrive in all; that of a call that is no \
         inference has 5 s at most.",
    )
    .hot(),
    new(
        Limits,
        "body_memory",
        Size { least: 1024 },
        "1GiB",
        "Memory that the bodies of all requests, until they are answered, and all answers that \
         were not sent yet may take together, at least one body of body_limit; more are refused \
         with 429.",
    ),
    new(
        Limits,
        "write_timeout",
        Duration,
        "30s",
        "Longest that a client may take nothing of what is sent to it, with HTTP/2 of any one \
         answer; then its connection is closed.",
    ),
    new(
        Limits,
        "connection_idle",
        Duration,
        "75s",
        "How long a connection is kept without a request.",
    ),
    new(
        Limits,
        "connection_age",
        Duration,
        "1h",
        "Age at which a connection is asked to end after what is in flight (GOAWAY, Connection: \
         close), so that clients spread anew; at twice the age it is cut. 0s for never.",
    ),
    new(
        Limits,
        "keep_alive",
        Duration,
        "60s",
        "How often a quiet HTTP/2 connection is asked whether its client is still there; one that \
         does not answer in 20 s is closed. 0s for never.",
    ),
    new(
        Limits,
        "streams",
        SOME,
        "256",
        "Requests at once on one HTTP/2 connection; further ones wait at the client.",
    ),
    new(
        Limits,
        "connections",
        SOME,
        "10000",
        "Connections at once, of both doors together; for a further one, the one that has rested \
         longest is closed. Where none rests, it is told at once that there is no place (503), \
         but for probes and /metrics.",
    ),
    new(
        Limits,
        "in_flight",
        SOME,
        "4096",
        "Inferences at once, running or waiting; one more is refused with 429.",
    ),
    new(
        Limits,
        "request_timeout",
        Duration,
        "5min",
        "Longest that one request may take, but for loads and unloads; 0s leaves it to the caller.",
    )
    .hot(),
    new(
        Limits,
        "json_depth",
        SOME,
        "64",
        "Deepest nesting of a JSON body.",
    )
    .hot(),
    new(
        Limits,
        "tensors_limit",
        SOME,
        "1024",
        "Tensors in one request.",
    )
    .hot(),
    new(
        Limits,
        "strings_limit",
        SOME,
        "4194304",
        "BYTES elements in one request, all tensors together.",
    )
    .hot(),
    new(
        Limits,
        "parameters_limit",
        ANY,
        "1024",
        "Parameters on one object of a request; a whole request may have sixteen times as many.",
    )
    .hot(),
    new(
        Limits,
        "rate_limit",
        ANY,
        "0",
        "Inferences a second that one caller may ask of one model; one more is refused with 429. \
         0 for no limit. All anonymous callers count as one.",
    ),
    new(
        Limits,
        "rate_burst",
        ANY,
        "0",
        "How many of them may come at once after a rest; 0 for as many as in one second.",
    ),
];
