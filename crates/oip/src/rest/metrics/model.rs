//! What concerns models.

use oip_core::dataplane::Figures;
use oip_core::telemetry::{Histogram, ModelFigures, Queued, Telemetry, Way};
use oip_protocol::{ErrorKind, ModelState, ModelStatistics};

use super::text::{Text, Type, seconds};

/// A counter of each model version: its name, its help, and its lines.
struct Metric {
    name: &'static str,
    help: &'static str,
    /// A further label, and the value.
    lines: &'static [(Option<(&'static str, &'static str)>, Value)],
}

type Value = fn(&ModelStatistics) -> f64;

fn count(count: u64) -> f64 {
    count as f64
}

const fn part(name: &'static str, value: Value) -> (Option<(&'static str, &'static str)>, Value) {
    (Some(("part", name)), value)
}

const COUNTERS: [Metric; 4] = [
    Metric {
        name: "oip_inferences_total",
        help: "Inferences made: a request of batch size 8 counts 8.",
        lines: &[(None, |model| count(model.inference_count))],
    },
    Metric {
        name: "oip_executions_total",
        help: "Executions of a model.",
        lines: &[(None, |model| count(model.execution_count))],
    },
    Metric {
        name: "oip_inference_seconds_total",
        help: "Time spent on requests that were answered, by part; request is all of it.",
        lines: &[
            part("request", |model| seconds(model.success.ns)),
            part("queue", |model| seconds(model.queue.ns)),
            part("compute_input", |model| seconds(model.compute_input.ns)),
            part("compute_infer", |model| seconds(model.compute_infer.ns)),
            part("compute_output", |model| seconds(model.compute_output.ns)),
        ],
    },
    Metric {
        name: "oip_cache_requests_total",
        help: "Requests that a response cache was asked for.",
        lines: &[
            (Some(("outcome", "hit")), |model| {
                count(model.cache_hit.count)
            }),
            (Some(("outcome", "miss")), |model| {
                count(model.cache_miss.count)
            }),
        ],
    },
];

const REQUESTS: &str = "oip_inference_requests_total";
const CANCELLED: &str = "oip_requests_cancelled_total";
const RECEIVED: &str = "oip_received_bytes_total";
const SENT: &str = "oip_sent_bytes_total";
const DURATION: &str = "oip_inference_duration_seconds";
const BATCH_SIZE: &str = "oip_batch_size";

pub(super) fn write(text: &mut Text, telemetry: &Telemetry, figures: &Figures) {
    let models = &figures.models;
    write_requests(text, models);
    write_cancelled(text, telemetry, models);
    write_bytes(text, models);
    for metric in COUNTERS {
        text.metric(metric.name, Type::Counter, metric.help);
        for model in models {
            for (label, value) in metric.lines {
                let labels = label.iter().copied();
                let labels: Vec<_> = named(model).into_iter().chain(labels).collect();
                text.value(metric.name, &labels, value(&model.statistics));
            }
        }
    }
    write_durations(text, models);
    write_batch_sizes(text, models);
    write_queues(text, figures);
    write_states(text, figures);
    write_loads(text, figures);
}

fn named(model: &ModelFigures) -> [(&str, &str); 2] {
    let statistics = &model.statistics;
    [
        ("model", &statistics.name),
        ("version", &statistics.version),
    ]
}

fn with_door(model: &ModelFigures, way: Way) -> [(&str, &str); 3] {
    let [name, version] = named(model);
    [name, version, ("door", way.name())]
}

/// The code of an outcome as a door says it.
fn code(way: Way, failure: Option<ErrorKind>) -> String {
    match (way, failure) {
        (Way::Rest, None) => "200".to_owned(),
        (Way::Rest, Some(kind)) => kind.http_status().to_string(),
        (_, None) => "OK".to_owned(),
        (_, Some(kind)) => kind.grpc_name().to_owned(),
    }
}

fn write_requests(text: &mut Text, models: &[ModelFigures]) {
    let help = "Inference requests that were answered or failed.";
    text.metric(REQUESTS, Type::Counter, help);
    for model in models {
        for way in Way::ALL {
            let figures = model.way(way);
            let mut line = |code: &str, outcome, count| {
                let [name, version, door] = with_door(model, way);
                let labels = [name, version, door, ("code", code), ("outcome", outcome)];
                text.value(REQUESTS, &labels, count);
            };
            // In-process calls are those of an application of somebody's own.
            if way != Way::InProcess || figures.answered > 0 {
                line(&code(way, None), "success", figures.answered);
            }
            // Several kinds have one code.
            let mut failures: Vec<(String, u64)> = Vec::new();
            for kind in ErrorKind::ALL {
                let (code, count) = (code(way, Some(kind)), figures.failed(kind));
                match failures.iter_mut().find(|(known, _)| *known == code) {
                    Some((_, known)) => *known += count,
                    None => failures.push((code, count)),
                }
            }
            let failures = failures.iter().filter(|(_, count)| *count > 0);
            failures.for_each(|(code, count)| line(code, "failure", *count));
        }
    }
}

/// The doors, as labels name them.
const DOORS: [Way; 2] = [Way::Rest, Way::Grpc];

fn write_cancelled(text: &mut Text, telemetry: &Telemetry, models: &[ModelFigures]) {
    let help = "Inferences whose caller left before there was an answer.";
    text.metric(CANCELLED, Type::Counter, help);
    for way in DOORS {
        // Left before it was known which model they ask.
        let labels = [("model", ""), ("version", ""), ("door", way.name())];
        text.value(CANCELLED, &labels, telemetry.cancelled(way));
    }
    for model in models {
        for way in DOORS {
            let labels = with_door(model, way);
            text.value(CANCELLED, &labels, model.way(way).cancelled);
        }
    }
}

fn write_bytes(text: &mut Text, models: &[ModelFigures]) {
    type Of = fn(&ModelFigures, Way) -> u64;
    let received = "Bytes of the bodies and messages of inferences.";
    let sent = "Bytes of the answers of inferences, before compression.";
    let counters: [(&str, &str, Of); 2] = [
        (RECEIVED, received, |model, way| model.way(way).received),
        (SENT, sent, |model, way| model.way(way).sent),
    ];
    for (name, help, value) in counters {
        text.metric(name, Type::Counter, help);
        for model in models {
            for way in DOORS {
                text.value(name, &with_door(model, way), value(model, way));
            }
        }
    }
}

fn write_durations(text: &mut Text, models: &[ModelFigures]) {
    let help = "How long inferences that were answered took, by part; request is all of it.";
    text.metric(DURATION, Type::Histogram, help);
    type Of = fn(&ModelFigures) -> &Histogram;
    let parts: [(&str, Of); 4] = [
        ("request", |model| &model.request),
        ("queue", |model| &model.queue),
        ("compute", |model| &model.compute),
        ("encode", |model| &model.encode),
    ];
    for model in models {
        for (part, histogram) in parts {
            let [name, version] = named(model);
            text.histogram(DURATION, &[name, version, ("part", part)], histogram(model));
        }
    }
}

/// Of each execution, how many rows it had.
fn write_batch_sizes(text: &mut Text, models: &[ModelFigures]) {
    text.metric(
        BATCH_SIZE,
        Type::Histogram,
        "Rows of each execution of a model.",
    );
    for model in models {
        let (labels, sizes) = (named(model), &model.batch_sizes);
        for (most, runs) in sizes.up_to() {
            text.bucket(BATCH_SIZE, &labels, &most.to_string(), runs);
        }
        text.bucket(BATCH_SIZE, &labels, "+Inf", sizes.count());
        text.sum(BATCH_SIZE, &labels, sizes.sum(), sizes.count());
    }
}

fn write_queues(text: &mut Text, figures: &Figures) {
    type Of = fn(&Queued) -> usize;
    let gauges: [(&str, &str, Of); 4] = [
        (
            "oip_queue_depth",
            "Requests that wait for a model now.",
            |queue| queue.waiting,
        ),
        (
            "oip_queue_limit",
            "Requests that may wait for a model.",
            |queue| queue.most_waiting,
        ),
        ("oip_running", "Requests that a model runs now.", |queue| {
            queue.running
        }),
        (
            "oip_instances",
            "Runs that a model does side by side.",
            |queue| queue.instances,
        ),
    ];
    for (name, help, value) in gauges {
        text.metric(name, Type::Gauge, help);
        for queue in &figures.queues {
            text.value(name, &[("model", &queue.name)], value(queue));
        }
    }
}

fn write_states(text: &mut Text, figures: &Figures) {
    let name = "oip_model_state";
    let help = "Whether a model version is in a state: 1 for the one it is in, else 0.";
    text.metric(name, Type::Gauge, help);
    let states = [
        ModelState::Ready,
        ModelState::Loading,
        ModelState::Unavailable,
        ModelState::Unknown,
    ];
    for entry in &figures.states {
        for state in states {
            let labels = [
                ("model", &*entry.name),
                ("version", &entry.version),
                ("state", state.name()),
            ];
            text.value(name, &labels, u8::from(entry.state == state));
        }
    }
}

fn write_loads(text: &mut Text, figures: &Figures) {
    let name = "oip_model_load_seconds";
    let help = "How often models were loaded and how long that took, warm-up included.";
    text.metric(name, Type::Summary, help);
    for model in &figures.loads {
        for (outcome, loads) in [("success", model.done), ("failure", model.failed)] {
            let labels = [("model", &*model.name), ("outcome", outcome)];
            text.sum(name, &labels, loads.took.as_secs_f64(), loads.count);
        }
    }
}
