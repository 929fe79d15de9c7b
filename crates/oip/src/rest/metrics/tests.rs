use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use oip_core::telemetry::Seen;
use oip_core::telemetry::Way;
use oip_core::{Access, Dataplane, DefaultModelHandler};
use oip_protocol::ErrorKind;

use super::*;
use oip_core::telemetry::{
    AuditFigures, DecisionFigures, Decisions, ModelFigures, ModelLoads, Queued,
};

fn door() -> Door {
    let dataplane = Dataplane::of_handler(DefaultModelHandler, Access::open());
    let door = Door::new(Arc::new(dataplane), crate::DoorOptions::default());
    door.telemetry.calls.rest(None, 404);
    door
}

fn figures() -> Figures {
    let mut model = ModelFigures::default();
    model.statistics.name = "a\"b\n".into();
    model.statistics.version = "1".into();
    model.statistics.success.add(1_500_000_000);
    for rows in [8, 8, 1, 1, 1, 300] {
        model.batch_sizes.add(rows);
    }
    model.ended(&Seen::new(Way::Rest), None);
    model.ended(&Seen::new(Way::Rest), Some(ErrorKind::Malformed));
    model.ended(&Seen::new(Way::Rest), Some(ErrorKind::DoesNotFit));
    model.ended(&Seen::new(Way::Grpc), Some(ErrorKind::TimedOut));
    let decisions = DecisionFigures {
        audit: Some(AuditFigures {
            written: 7,
            lost: 2,
            refused: 1,
        }),
        ..Decisions::default().read("embedded")
    };
    Figures {
        models: vec![model],
        states: vec![oip_protocol::RepositoryEntry {
            name: "m".into(),
            version: "2".into(),
            state: oip_protocol::ModelState::Loading,
            reason: String::new(),
        }],
        queues: vec![Queued {
            name: "m".into(),
            waiting: 3,
            ..Queued::default()
        }],
        loads: vec![ModelLoads::default()],
        decisions: Some(decisions),
    }
}

#[track_caller]
fn holds(lines: &[&str]) {
    let text = write(&door(), &figures(), true);
    for line in lines {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn requests_are_counted_by_model_version_door_and_code() {
    holds(&[
        "oip_inference_requests_total{model=\"a\\\"b\\n\",version=\"1\",door=\"rest\",code=\"200\",outcome=\"success\"} 1\n",
        "version=\"1\",door=\"rest\",code=\"400\",outcome=\"failure\"} 2\n",
        "version=\"1\",door=\"grpc\",code=\"DEADLINE_EXCEEDED\",outcome=\"failure\"} 1\n",
        "oip_requests_total{door=\"rest\",call=\"other\",code=\"404\"} 1\n",
        "part=\"request\"} 1.5\n",
        "oip_ready 1\n",
    ]);
}

#[test]
fn latencies_and_batch_sizes_are_histograms() {
    holds(&[
        "version=\"1\",part=\"encode\",le=\"0.0001\"} 1\n",
        "oip_inference_duration_seconds_count{model=\"a\\\"b\\n\",version=\"1\",part=\"request\"} 1\n",
        "oip_batch_size_bucket{model=\"a\\\"b\\n\",version=\"1\",le=\"4\"} 3\n",
        "version=\"1\",le=\"8\"} 5\n",
        "version=\"1\",le=\"+Inf\"} 6\n",
        "oip_batch_size_sum{model=\"a\\\"b\\n\",version=\"1\"} 319\n",
    ]);
}

#[test]
fn queues_states_and_the_process_are_gauges() {
    holds(&[
        "oip_queue_depth{model=\"m\"} 3\n",
        "oip_model_state{model=\"m\",version=\"2\",state=\"LOADING\"} 1\n",
        "oip_model_state{model=\"m\",version=\"2\",state=\"READY\"} 0\n",
        "oip_decisions_total{pdp=\"embedded\",decision=\"fault\"} 0\n",
        "oip_audit_lines_total{outcome=\"written\"} 7\n",
        "oip_audit_lines_total{outcome=\"lost\"} 2\n",
        "oip_audit_lines_total{outcome=\"refused\"} 1\n",
        "oip_in_flight{door=\"grpc\"} 0\n",
        "\nprocess_resident_memory_bytes ",
        "\nprocess_cpu_seconds_total ",
    ]);
}

/// Every metric with its type, as the text says it.
fn written() -> Vec<(String, String)> {
    let text = write(&door(), &figures(), true);
    let types = text.lines().filter_map(|line| {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        Some((name.to_owned(), kind.to_owned()))
    });
    types.collect()
}

#[test]
fn the_documentation_lists_every_metric_with_its_type_and_no_other() {
    let page = include_str!("../../../../../docs/metrics.md");
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.strip_suffix('`')?;
        Some((name.to_owned(), cells.next()?.to_owned()))
    });
    let mut documented: Vec<_> = rows.collect();
    let mut written = written();
    documented.sort();
    written.sort();
    assert_eq!(documented, written);
}

/// The labels of each metric, but for those that a histogram has by itself.
fn labels() -> BTreeMap<String, BTreeSet<String>> {
    let text = write(&door(), &figures(), true);
    let kinds: BTreeMap<String, String> = written().into_iter().collect();
    let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let end = line.find(['{', ' ']).unwrap_or(line.len());
        let (mut name, rest) = line.split_at(end);
        for suffix in ["_bucket", "_sum", "_count"] {
            let whole = name.strip_suffix(suffix);
            name = whole
                .filter(|name| kinds.contains_key(*name))
                .unwrap_or(name);
        }
        let own = labels.entry(name.to_owned()).or_default();
        let names = rest
            .split("=\"")
            .map(|part| part.rsplit(['{', ',', '"']).next());
        let count = rest.matches("=\"").count();
        own.extend(names.take(count).flatten().map(str::to_owned));
        own.remove("le");
    }
    labels
}

#[test]
fn the_documentation_lists_the_labels_of_every_metric() {
    let page = include_str!("../../../../../docs/metrics.md");
    let written = labels();
    let mut seen = 0;
    for line in page.lines() {
        let Some(rest) = line.strip_prefix("| `") else {
            continue;
        };
        let mut cells = rest.split(" | ");
        let name = cells.next().unwrap().trim_end_matches('`');
        let cell = rest.split('|').nth(2).unwrap_or_default();
        // What stands in brackets are values.
        let mut depth = 0;
        let plain: String = cell
            .chars()
            .filter(|letter| {
                depth += i32::from(*letter == '(') - i32::from(*letter == ')');
                depth == 0 && *letter != ')'
            })
            .collect();
        let documented: BTreeSet<String> = plain
            .split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect();
        let Some(found) = written.get(name) else {
            continue;
        };
        assert_eq!(&documented, found, "{name}");
        seen += 1;
    }
    assert!(seen > 20, "only {seen} rows were read");
}

#[test]
fn a_name_says_its_unit() {
    for (name, kind) in written() {
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        for other in [
            "_ms",
            "_us",
            "_ns",
            "milli",
            "micro",
            "nano",
            "kilobytes",
            "_mb",
        ] {
            assert!(
                !name.contains(other),
                "{name}: seconds and bytes are the units"
            );
        }
        if name.contains("duration") || name.contains("time_") {
            assert!(name.contains("seconds"), "{name}");
        }
    }
}

#[test]
fn every_metric_has_a_help_and_stands_once() {
    let text = write(&door(), &figures(), true);
    let mut names: Vec<String> = written().into_iter().map(|(name, _)| name).collect();
    for name in &names {
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}
