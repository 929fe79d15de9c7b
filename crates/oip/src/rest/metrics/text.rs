//! The text format.

use std::fmt::{Display, Write as _};

use oip_core::telemetry::Histogram;

/// Metrics as text.
#[derive(Default)]
pub(super) struct Text(String);

/// What a metric is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Type {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

impl Text {
    /// Begins a metric. Its values follow.
    pub(super) fn metric(&mut self, name: &str, kind: Type, help: &str) {
        let kind = match kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
            Type::Summary => "summary",
        };
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A value.
    pub(super) fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        self.labels(labels, None);
        let _ = writeln!(self.0, " {value}");
    }

    /// A metric that has one value.
    pub(super) fn single(&mut self, name: &str, kind: Type, help: &str, value: impl Display) {
        self.metric(name, kind, help);
        self.value(name, &[], value);
    }

    /// The buckets, the sum and the count of durations, in seconds.
    pub(super) fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let count = histogram.count();
        let bounded = histogram
            .up_to()
            .map(|(bound, count)| (seconds(bound), count));
        for (bound, count) in bounded {
            self.bucket(name, labels, &bound.to_string(), count);
        }
        self.bucket(name, labels, "+Inf", count);
        self.sum(name, labels, seconds(histogram.sum_ns()), count);
    }

    pub(super) fn bucket(&mut self, name: &str, labels: &[(&str, &str)], bound: &str, count: u64) {
        let _ = write!(self.0, "{name}_bucket");
        self.labels(labels, Some(bound));
        let _ = writeln!(self.0, " {count}");
    }

    /// How much together, and how many.
    pub(super) fn sum(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        sum: impl Display,
        count: u64,
    ) {
        let _ = write!(self.0, "{name}_sum");
        self.labels(labels, None);
        let _ = write!(self.0, " {sum}\n{name}_count");
        self.labels(labels, None);
        let _ = writeln!(self.0, " {count}");
    }

    fn labels(&mut self, labels: &[(&str, &str)], bound: Option<&str>) {
        let bound = bound.map(|bound| ("le", bound));
        let mut before = '{';
        for (name, value) in labels.iter().copied().chain(bound) {
            let _ = write!(self.0, "{before}{name}=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
            before = ',';
        }
        if before == ',' {
            self.0.push('}');
        }
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

pub(super) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
