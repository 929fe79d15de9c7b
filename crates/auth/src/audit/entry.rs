//! What stands in a line.

use std::time::Duration;

use oip_core::access::{Decision, Question, TurnedAway};
use oip_protocol::ErrorKind;
use serde::Serialize;

use crate::moment::Moment;
use crate::pdp::remote::plain;

/// The longest text of a field, in characters; what is longer ends in `...`.
const LONGEST: usize = 512;

/// One decision, as the audit writes it down. It never holds a credential: the claims of a token
/// are left out, and so is the query of a path.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// When, in UTC.
    pub time: String,
    /// Who: the subject's id, or `Anonymous`.
    pub subject: String,
    /// The action, such as `infer`.
    pub action: String,
    /// The model, where it concerns one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The model's version, where the caller named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// From where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The path of the URL or of the gRPC method.
    pub path: String,
    /// `permit`, `deny` or `fault`.
    pub decision: &'static str,
    /// `false` in shadow mode: the decision had no effect.
    pub enforced: bool,
    /// Why.
    pub reason: String,
    /// Which decision point.
    pub pdp: &'static str,
    /// How long the decision took, in microseconds.
    pub latency_us: u64,
    /// The request's `X-Request-Id`, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Entry {
    /// The entry of a decision that took effect.
    #[must_use]
    pub fn of(
        question: &Question<'_>,
        decision: &Decision,
        pdp: &'static str,
        took: Duration,
    ) -> Self {
        let caller = question.caller;
        let model = question.model;
        Self {
            time: Moment::now().rfc3339(),
            subject: short(caller.id()),
            action: question.action.name().to_owned(),
            model: model.map(|model| short(&model.name)),
            version: model.and_then(|model| model.version.as_deref()).map(short),
            ip: caller.peer().map(|ip| plain(ip).to_string()),
            path: without_query(caller.path()),
            decision: match decision {
                Decision::Permit { .. } => "permit",
                Decision::Deny { .. } => "deny",
                Decision::Fault { .. } => "fault",
            },
            enforced: true,
            reason: short(decision.reason()),
            pdp,
            latency_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            request_id: caller.request_id().map(short),
        }
    }

    /// The entry of a caller who was refused before the policy was asked: nobody knows who it is.
    #[must_use]
    pub fn turned_away(who: &TurnedAway<'_>) -> Self {
        let kind = who.error.kind();
        let reason = match who.error.cause() {
            Some(cause) => format!("authentication: {cause}"),
            None => "authentication".to_owned(),
        };
        Self {
            time: Moment::now().rfc3339(),
            subject: "Anonymous".to_owned(),
            action: who.action.map_or("", |action| action.name()).to_owned(),
            model: who.model.map(|model| short(&model.name)),
            version: who
                .model
                .and_then(|model| model.version.as_deref())
                .map(short),
            ip: who.peer.map(|ip| plain(ip).to_string()),
            path: without_query(who.path),
            decision: match kind {
                ErrorKind::Unauthenticated => "deny",
                _ => "fault",
            },
            enforced: true,
            reason: short(&reason),
            pdp: "authentication",
            latency_us: 0,
            request_id: who.request_id.map(short),
        }
    }

    /// The line of lines that were lost.
    pub(super) fn lost(count: u64) -> Self {
        Self {
            time: Moment::now().rfc3339(),
            subject: String::new(),
            action: "audit".to_owned(),
            model: None,
            version: None,
            ip: None,
            path: String::new(),
            decision: "lost",
            enforced: false,
            reason: format!("{count} decisions before this line were not written down"),
            pdp: "audit",
            latency_us: 0,
            request_id: None,
        }
    }

    /// The members of the line but for its number and its code. Nothing but printable ASCII stands
    /// in it, whatever the fields hold: no line breaks, no terminal codes, no letters that look
    /// like others.
    pub(super) fn members(&self) -> Result<String, serde_json::Error> {
        let mut json = serde_json::to_string(self)?;
        json.pop();
        json.remove(0);
        if json.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Ok(json);
        }
        let mut members = String::with_capacity(json.len());
        let mut rest = json.as_str();
        while let Some(at) = rest.bytes().position(|byte| !(b' '..=b'~').contains(&byte)) {
            let (plain, odd) = rest.split_at(at);
            members.push_str(plain);
            let Some(c) = odd.chars().next() else { break };
            for unit in c.encode_utf16(&mut [0; 2]) {
                members.push_str(&format!("\\u{unit:04x}"));
            }
            rest = odd.get(c.len_utf8()..).unwrap_or_default();
        }
        members.push_str(rest);
        Ok(members)
    }
}

fn without_query(path: &str) -> String {
    short(path.split(['?', '#']).next().unwrap_or_default())
}

fn short(text: &str) -> String {
    // Most texts have fewer bytes than that, and so fewer characters.
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
    }
}
