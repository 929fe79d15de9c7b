//! What the log says of an audit and of its decisions.

use std::sync::Mutex;

use oip_core::access::Decision;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

use super::*;
use crate::pdp::testing::{Always, decide, model};
use crate::pdp::{Enforced, PolicyMode};

/// Keeps each line's fields as the log's JSON would show them.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<String>>>);

impl Subscriber for Shown {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Fields(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Fields(String);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.extend([field.name(), "=", value, ";"]);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!("{}={value:?};", field.name()));
    }
}

impl Shown {
    /// Holds one line against what it should have.
    fn holds(&self, fields: &[&str]) {
        let lines = self.0.lock().unwrap();
        let all = |line: &String| fields.iter().all(|field| line.contains(field));
        assert!(lines.iter().any(all), "{fields:?}: {lines:?}");
    }
}

#[test]
fn the_log_has_the_path_as_a_plain_value() {
    let lines = Shown::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("aud");
    let options = AuditOptions {
        target: AuditTarget::File(path.clone()),
        ..AuditOptions::default()
    };
    let mut writer = Writer::open(options, Arc::default()).unwrap();
    writer.log_head();
    writer.note(&Err("why".to_owned()));
    writer.note(&Ok(()));
    let path = format!("path={};", path.display());
    lines.holds(&["audit head", &path]);
    lines.holds(&["cannot be written", &path, "fault=why;"]);
    lines.holds(&["written again", &path]);
}

#[tokio::test]
async fn the_log_has_what_shadow_mode_lets_pass_as_plain_values() {
    let lines = Shown::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let reason = "no \"rule\"".to_owned();
    let fault = Decision::Fault {
        cause: reason.clone(),
        unreachable: false,
    };
    for refused in [Decision::Deny { reason }, fault] {
        let gate = Enforced::new(Arc::new(Always(Some(refused)))).mode(PolicyMode::Shadow);
        decide(&gate, "alice", &[], "infer", Some(model("iris", None))).await;
        let fields = ["subject=alice;", "model=iris;", "reason=no \"rule\";"];
        lines.holds(&fields);
    }
    lines.holds(&["cause=no \"rule\";"]);
}
