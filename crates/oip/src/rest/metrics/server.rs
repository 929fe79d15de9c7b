//! What concerns the server as a whole.

use std::sync::atomic::Ordering::Relaxed;

use oip_core::dataplane::Figures;
use oip_core::telemetry::{Way, alignment_copies};
use oip_protocol::Limit;

use super::text::{Text, Type};
use crate::door::Door;
use crate::logging::{self, Log};
use crate::rest::bodies_cut_short;
use crate::telemetry::Fates;

/// The doors, as labels name them.
const DOORS: [Way; 2] = [Way::Rest, Way::Grpc];

pub(super) fn write(text: &mut Text, door: &Door, ready: bool) {
    let telemetry = door.dataplane.telemetry();
    text.metric(
        "oip_build_info",
        Type::Gauge,
        "The version that runs; always 1.",
    );
    let version = env!("CARGO_PKG_VERSION");
    text.value("oip_build_info", &[("version", version)], 1);
    text.single(
        "oip_ready",
        Type::Gauge,
        "Whether the server is ready: 1 or 0.",
        u8::from(ready),
    );
    text.metric(
        "oip_requests_total",
        Type::Counter,
        "Calls of every kind that a door has answered, refusals included.",
    );
    for (door, call, code, count) in door.telemetry.calls.read() {
        let labels = [("door", door), ("call", call), ("code", &*code)];
        text.value("oip_requests_total", &labels, count);
    }
    text.metric(
        "oip_in_flight",
        Type::Gauge,
        "Inferences between the arrival of their head and their answer.",
    );
    for way in DOORS {
        let count = telemetry.in_flight(way);
        text.value("oip_in_flight", &[("door", way.name())], count);
    }
    write_room(text, door);
    write_fates(
        text,
        "oip_trace_spans_total",
        "Spans of traces that were sent, dropped as too many waited, or lost in sending.",
        door.telemetry.tracer.fates(),
    );
    write_fates(
        text,
        "oip_payloads_total",
        "Inferences that were kept (payload_log), dropped as too many waited, or lost in writing.",
        door.telemetry
            .payloads
            .as_ref()
            .map(|payloads| payloads.fates()),
    );
    let name = "oip_log_lines_lost_total";
    text.metric(
        name,
        Type::Counter,
        "Lines that standard error did not take, or not in time.",
    );
    for log in Log::ALL {
        text.value(name, &[("log", log.name())], logging::lost(log));
    }
    text.single(
        "oip_bodies_cut_short_total",
        Type::Counter,
        "Bodies that ended before they were whole.",
        bodies_cut_short(),
    );
    let name = "oip_limit_reached_total";
    text.metric(name, Type::Counter, "How often a limit was reached.");
    for limit in Limit::ALL {
        text.value(name, &[("limit", limit.name())], limit.count());
    }
    text.single(
        "oip_alignment_copies_total",
        Type::Counter,
        "Bodies and tensors that were copied only so that their elements lie aligned.",
        alignment_copies(),
    );
}

/// What is taken of what there is for all.
fn write_room(text: &mut Text, door: &Door) {
    let (connections, memory) = (&door.telemetry.connections, door.dataplane.memory());
    for (name, help, value) in [
        (
            "oip_connections",
            "Connections that are open.",
            connections.open(),
        ),
        (
            "oip_connections_limit",
            "Connections that may be open (connections).",
            connections.most(),
        ),
        (
            "oip_body_memory_bytes",
            "Bytes of bodies and answers that are held.",
            memory.held(),
        ),
        (
            "oip_body_memory_limit_bytes",
            "Bytes that may be held (body_memory).",
            memory.most(),
        ),
    ] {
        text.single(name, Type::Gauge, help, value);
    }
    text.single(
        "oip_tls_handshakes_failed_total",
        Type::Counter,
        "TLS handshakes that failed or took too long.",
        connections.failed_handshakes(),
    );
}

fn write_fates(text: &mut Text, name: &str, help: &str, fates: Option<&Fates>) {
    text.metric(name, Type::Counter, help);
    let none = Fates::default();
    let fates = fates.unwrap_or(&none);
    for (outcome, count) in [
        ("done", &fates.done),
        ("dropped", &fates.dropped),
        ("failed", &fates.failed),
    ] {
        text.value(name, &[("outcome", outcome)], count.load(Relaxed));
    }
}

/// What the policy decided; nothing where there is none.
pub(super) fn write_decisions(text: &mut Text, figures: &Figures) {
    let Some(decisions) = &figures.decisions else {
        return;
    };
    let name = "oip_decisions_total";
    text.metric(name, Type::Counter, "Decisions on access.");
    for (outcome, count) in decisions.outcomes {
        let labels = [("pdp", decisions.pdp), ("decision", outcome.name())];
        text.value(name, &labels, count);
    }
    let name = "oip_decision_seconds";
    text.metric(name, Type::Histogram, "How long a decision on access took.");
    text.histogram(name, &[("pdp", decisions.pdp)], &decisions.took);
    let Some(audit) = &decisions.audit else {
        return;
    };
    let name = "oip_audit_lines_total";
    let help = "Lines of the audit that were written, or could not be and were lost or had their call refused.";
    text.metric(name, Type::Counter, help);
    for (outcome, count) in [
        ("written", audit.written),
        ("lost", audit.lost),
        ("refused", audit.refused),
    ] {
        text.value(name, &[("outcome", outcome)], count);
    }
}
