//! What stands in a line.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use oip_core::access::{Decision, Question, TurnedAway};
use oip_protocol::ErrorKind;

use super::writer::push_number;
use crate::moment::Moment;
use crate::pdp::remote::plain;

/// The longest text of a field, in characters; what is longer ends in `...`.
const LONGEST: usize = 512;

/// One decision, as the audit writes it down. It never holds a credential: the claims of a token
/// are left out, and so is the query of a path.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// When, in UTC.
    pub time: String,
    /// Who: the subject's id, or `Anonymous`.
    pub subject: Cow<'a, str>,
    /// The action, such as `infer`.
    pub action: &'static str,
    /// The model, where it concerns one.
    pub model: Option<Cow<'a, str>>,
    /// The model's version, where the caller named one.
    pub version: Option<Cow<'a, str>>,
    /// From where.
    pub ip: Option<IpAddr>,
    /// The path of the URL or of the gRPC method.
    pub path: Cow<'a, str>,
    /// `permit`, `deny` or `fault`.
    pub decision: &'static str,
    /// `false` in shadow mode: the decision had no effect.
    pub enforced: bool,
    /// Why.
    pub reason: Cow<'a, str>,
    /// Which decision point.
    pub pdp: &'static str,
    /// How long the decision took, in microseconds.
    pub latency_us: u64,
    /// The request's `X-Request-Id`, where it has one.
    pub request_id: Option<Cow<'a, str>>,
}

impl<'a> Entry<'a> {
    /// The entry of a decision that took effect.
    #[must_use]
    pub fn of(
        question: &Question<'a>,
        decision: &'a Decision,
        pdp: &'static str,
        took: Duration,
    ) -> Self {
        let caller = question.caller;
        let model = question.model;
        Self {
            time: Moment::now().rfc3339(),
            subject: short(caller.id()),
            action: question.action.name(),
            model: model.map(|model| short(&model.name)),
            version: model.and_then(|model| model.version.as_deref()).map(short),
            ip: caller.peer().map(plain),
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
    pub fn turned_away(who: &TurnedAway<'a>) -> Self {
        let kind = who.error.kind();
        let reason = match who.error.cause() {
            Some(cause) => format!("authentication: {cause}"),
            None => "authentication".to_owned(),
        };
        Self {
            time: Moment::now().rfc3339(),
            subject: "Anonymous".into(),
            action: who.action.map_or("", |action| action.name()),
            model: who.model.map(|model| short(&model.name)),
            version: who
                .model
                .and_then(|model| model.version.as_deref())
                .map(short),
            ip: who.peer.map(plain),
            path: without_query(who.path),
            decision: match kind {
                ErrorKind::Unauthenticated => "deny",
                _ => "fault",
            },
            enforced: true,
            reason: short(&reason).into_owned().into(),
            pdp: "authentication",
            latency_us: 0,
            request_id: who.request_id.map(short),
        }
    }

    /// The line of lines that were lost.
    pub(super) fn lost(count: u64) -> Self {
        Self {
            time: Moment::now().rfc3339(),
            subject: "".into(),
            action: "audit",
            model: None,
            version: None,
            ip: None,
            path: "".into(),
            decision: "lost",
            enforced: false,
            reason: format!("{count} decisions before this line were not written down").into(),
            pdp: "audit",
            latency_us: 0,
            request_id: None,
        }
    }

    /// The members of the line but for its number and its code. Nothing but printable ASCII stands
    /// in it, whatever the fields hold: no line breaks, no terminal codes, no letters that look
    /// like others.
    ///
    /// Put together here and not by a library, as every request of an audited server waits for it.
    pub(super) fn members(&self) -> Result<String, serde_json::Error> {
        let mut line = String::with_capacity(ROOM);
        let text = &mut line;
        text.extend(["\"time\":\"", &self.time, "\""]);
        push(text, ",\"subject\":", &self.subject)?;
        text.extend([",\"action\":\"", self.action, "\""]);
        push_some(text, ",\"model\":", self.model.as_deref())?;
        push_some(text, ",\"version\":", self.version.as_deref())?;
        if let Some(ip) = self.ip {
            text.push_str(",\"ip\":\"");
            push_address(text, ip);
            text.push('"');
        }
        push(text, ",\"path\":", &self.path)?;
        text.extend([",\"decision\":\"", self.decision, "\""]);
        text.push_str(match self.enforced {
            true => ",\"enforced\":true",
            false => ",\"enforced\":false",
        });
        push(text, ",\"reason\":", &self.reason)?;
        push(text, ",\"pdp\":", self.pdp)?;
        text.push_str(",\"latency_us\":");
        push_number(text, self.latency_us);
        push_some(text, ",\"request_id\":", self.request_id.as_deref())?;
        Ok(line)
    }
}

/// What most lines have room in, in bytes.
const ROOM: usize = 384;

fn push_some(line: &mut String, name: &str, value: Option<&str>) -> Result<(), serde_json::Error> {
    match value {
        Some(value) => push(line, name, value),
        None => Ok(()),
    }
}

/// Adds a member whose value is text, with its comma, name and colon before it.
fn push(line: &mut String, name: &str, value: &str) -> Result<(), serde_json::Error> {
    line.push_str(name);
    let plain = |byte: u8| (b' '..=b'~').contains(&byte) & (byte != b'"') & (byte != b'\\');
    // Without leaving early, which the compiler turns into a look at many bytes at once.
    if value.bytes().fold(true, |all, byte| all & plain(byte)) {
        line.push('"');
        line.push_str(value);
        line.push('"');
        return Ok(());
    }
    push_odd(line, &serde_json::to_string(value)?);
    Ok(())
}

/// Adds a JSON string in printable ASCII.
#[cold]
fn push_odd(line: &mut String, json: &str) {
    for c in json.chars() {
        match c {
            ' '..='~' => line.push(c),
            odd => {
                for unit in odd.encode_utf16(&mut [0; 2]) {
                    line.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
}

fn push_address(line: &mut String, address: IpAddr) {
    let IpAddr::V4(address) = address else {
        return line.push_str(&address.to_string());
    };
    for (place, number) in address.octets().into_iter().enumerate() {
        if place > 0 {
            line.push('.');
        }
        push_number(line, u64::from(number));
    }
}

fn without_query(path: &str) -> Cow<'_, str> {
    short(path.split(['?', '#']).next().unwrap_or_default())
}

fn short(text: &str) -> Cow<'_, str> {
    // Most texts have fewer bytes than that, and so fewer characters.
    if text.len() <= LONGEST {
        return text.into();
    }
    match text.char_indices().nth(LONGEST) {
        None => text.into(),
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()).into(),
    }
}
