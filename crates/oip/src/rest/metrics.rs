//! `/metrics`: what the statistics count, as Prometheus reads it.
//!
//! Source: Prometheus' text exposition format, version 0.0.4. Names and units are in
//! `docs/metrics.md`.

use std::fmt::Write as _;

use bytes::Bytes;
use http::HeaderValue;
use oip_core::access::actions;
use oip_protocol::{Limit, ModelStatistics, Result};

use super::Arrived;
use super::respond::Reply;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// One metric: its name, its help, and its value for a model.
struct Metric {
    name: &'static str,
    help: &'static str,
    lines: &'static [Line],
}

/// One line of a metric: its further labels, and its value.
struct Line {
    labels: &'static str,
    value: fn(&ModelStatistics) -> f64,
}

const fn line(labels: &'static str, value: fn(&ModelStatistics) -> f64) -> Line {
    Line { labels, value }
}

fn count(count: u64) -> f64 {
    count as f64
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

const METRICS: [Metric; 5] = [
    Metric {
        name: "oip_inference_requests_total",
        help: "Inference requests that were answered or failed.",
        lines: &[
            line(",outcome=\"success\"", |model| count(model.success.count)),
            line(",outcome=\"failure\"", |model| count(model.fail.count)),
        ],
    },
    Metric {
        name: "oip_inferences_total",
        help: "Inferences made: a request of batch size 8 counts 8.",
        lines: &[line("", |model| count(model.inference_count))],
    },
    Metric {
        name: "oip_executions_total",
        help: "Executions of a model.",
        lines: &[line("", |model| count(model.execution_count))],
    },
    Metric {
        name: "oip_inference_seconds_total",
        help: "Time spent on requests that were answered, by part; request is all of it.",
        lines: &[
            line(",part=\"request\"", |model| seconds(model.success.ns)),
            line(",part=\"queue\"", |model| seconds(model.queue.ns)),
            line(",part=\"compute_input\"", |model| {
                seconds(model.compute_input.ns)
            }),
            line(",part=\"compute_infer\"", |model| {
                seconds(model.compute_infer.ns)
            }),
            line(",part=\"compute_output\"", |model| {
                seconds(model.compute_output.ns)
            }),
        ],
    },
    Metric {
        name: "oip_cache_requests_total",
        help: "Requests that a response cache was asked for.",
        lines: &[
            line(",outcome=\"hit\"", |model| count(model.cache_hit.count)),
            line(",outcome=\"miss\"", |model| count(model.cache_miss.count)),
        ],
    },
];

/// What callers left unfinished.
const CUT_SHORT: &str = "oip_bodies_cut_short_total";
const CANCELLED: &str = "oip_requests_cancelled_total";

/// How often each limit was reached.
const LIMITS: &str = "oip_limit_reached_total";

/// The histogram of batch sizes, and its buckets.
const BATCH_SIZE: &str = "oip_batch_size";
const BUCKETS: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// The metrics of every model that is ready or was asked.
pub(super) async fn metrics(arrived: &mut Arrived) -> Result<Reply> {
    let permit = arrived.permit::<actions::Metrics>().await?;
    let dataplane = &arrived.rest.door.dataplane;
    let text = write(&dataplane.metrics(permit).await?, dataplane.ready().await);
    Ok(Reply::of(TEXT, vec![Bytes::from(text)]))
}

fn write(models: &[ModelStatistics], ready: bool) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "# HELP oip_ready Whether the server is ready: 1 or 0."
    );
    let _ = writeln!(
        text,
        "# TYPE oip_ready gauge\noip_ready {}",
        u8::from(ready)
    );
    let _ = writeln!(
        text,
        "# HELP oip_alignment_copies_total Bodies that were copied only so that their tensors lie \
         aligned.\n# TYPE oip_alignment_copies_total counter\noip_alignment_copies_total {}",
        super::alignment_copies()
    );
    let _ = writeln!(
        text,
        "# HELP {CUT_SHORT} Bodies that ended before they were whole.\n# TYPE {CUT_SHORT} \
         counter\n{CUT_SHORT} {}",
        super::bodies_cut_short()
    );
    let _ = writeln!(
        text,
        "# HELP {CANCELLED} Inferences whose callers left.\n# TYPE {CANCELLED} \
         counter\n{CANCELLED} {}",
        oip_core::execute::cancelled()
    );
    let _ = writeln!(
        text,
        "# HELP {LIMITS} How often a limit was reached.\n# TYPE {LIMITS} counter"
    );
    for limit in Limit::ALL {
        let _ = writeln!(
            text,
            "{LIMITS}{{limit=\"{}\"}} {}",
            limit.name(),
            limit.count()
        );
    }
    for metric in METRICS {
        let name = metric.name;
        let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} counter", metric.help);
        for model in models {
            let (label, version) = (escape(&model.name), escape(&model.version));
            for line in metric.lines {
                let (labels, value) = (line.labels, (line.value)(model));
                let _ = writeln!(
                    text,
                    "{name}{{model=\"{label}\",version=\"{version}\"{labels}}} {value}"
                );
            }
        }
    }
    write_batch_sizes(&mut text, models);
    text
}

/// Of each execution, how many rows it had.
fn write_batch_sizes(text: &mut String, models: &[ModelStatistics]) {
    let _ = writeln!(
        text,
        "# HELP {BATCH_SIZE} Rows of each execution of a model.\n# TYPE {BATCH_SIZE} histogram"
    );
    for model in models {
        let (name, version) = (escape(&model.name), escape(&model.version));
        let labels = format!("model=\"{name}\",version=\"{version}\"");
        let rows = || model.batches.iter();
        for most in BUCKETS {
            let small = rows().filter(|row| row.batch_size <= most);
            let runs: u64 = small.map(|row| row.compute_infer.count).sum();
            let _ = writeln!(text, "{BATCH_SIZE}_bucket{{{labels},le=\"{most}\"}} {runs}");
        }
        let runs: u64 = rows().map(|row| row.compute_infer.count).sum();
        let sum: u64 = rows()
            .map(|row| row.batch_size * row.compute_infer.count)
            .sum();
        let _ = writeln!(text, "{BATCH_SIZE}_bucket{{{labels},le=\"+Inf\"}} {runs}");
        let _ = writeln!(text, "{BATCH_SIZE}_sum{{{labels}}} {sum}");
        let _ = writeln!(text, "{BATCH_SIZE}_count{{{labels}}} {runs}");
    }
}

/// A label's value as the format writes it.
fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use oip_protocol::{BatchStatistics, DurationStatistic};

    use super::*;

    #[test]
    fn a_model_has_a_line_for_each_outcome_and_its_name_is_escaped() {
        let mut model = ModelStatistics {
            name: "a\"b\n".into(),
            version: "1".into(),
            ..ModelStatistics::default()
        };
        model.success.add(1_500_000_000);
        let text = write(&[model], true);
        let line =
            "oip_inference_requests_total{model=\"a\\\"b\\n\",version=\"1\",outcome=\"success\"} 1";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("part=\"request\"} 1.5\n") && text.contains("oip_ready 1\n"));
    }

    #[test]
    fn batch_sizes_are_a_histogram_over_executions() {
        let batch = |batch_size, count| BatchStatistics {
            batch_size,
            compute_infer: DurationStatistic { count, ns: 1 },
            ..BatchStatistics::default()
        };
        let model = ModelStatistics {
            name: "m".into(),
            version: "1".into(),
            batches: vec![batch(8, 2), batch(1, 3), batch(300, 1)],
            ..ModelStatistics::default()
        };
        let text = write(&[model], true);
        for line in [
            "oip_batch_size_bucket{model=\"m\",version=\"1\",le=\"4\"} 3\n",
            "oip_batch_size_bucket{model=\"m\",version=\"1\",le=\"8\"} 5\n",
            "oip_batch_size_bucket{model=\"m\",version=\"1\",le=\"+Inf\"} 6\n",
            "oip_batch_size_sum{model=\"m\",version=\"1\"} 319\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }

    #[test]
    fn every_metric_is_in_the_documentation() {
        let page = include_str!("../../../../docs/metrics.md");
        assert!(page.contains(&format!("`{BATCH_SIZE}`")));
        for name in [LIMITS, CUT_SHORT, CANCELLED] {
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
        for metric in METRICS {
            assert!(
                page.contains(&format!("`{}`", metric.name)),
                "{}",
                metric.name
            );
        }
    }
}
