//! What stands in a line.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderValue, Method, StatusCode};
use serde::Serialize;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use super::Note;
use crate::config::AccessLogFormat;

/// What is known of a request from its head.
pub(super) struct Line {
    pub(super) door: &'static str,
    pub(super) peer: Option<IpAddr>,
    pub(super) method: Method,
    pub(super) path: String,
    /// The length that the request's body was announced with.
    pub(super) received: Option<u64>,
    pub(super) id: HeaderValue,
    pub(super) note: Arc<Note>,
    pub(super) begun: Instant,
}

/// What became of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// `None` where the caller left before there was an answer.
    pub(super) status: Option<StatusCode>,
    pub(super) grpc: Option<u16>,
    /// Bytes of the answer's body.
    pub(super) sent: u64,
    /// Whether the answer was sent to its end.
    pub(super) whole: bool,
}

/// One line as JSON. Members without a value are left out.
#[derive(Serialize)]
struct Row<'a> {
    time: &'a str,
    request_id: &'a str,
    door: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    method: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<u64>,
    sent: u64,
    duration_us: u64,
    whole: bool,
}

impl Line {
    /// The line, with its line break. Nothing that a caller sends can add another.
    pub(super) fn text(&self, outcome: &Outcome, format: AccessLogFormat) -> String {
        let time = now();
        let took = self.begun.elapsed().as_micros();
        let row = Row {
            time: &time,
            request_id: self.id.to_str().unwrap_or("-"),
            door: self.door,
            ip: self.peer,
            subject: self.note.subject.get().map(String::as_str),
            method: self.method.as_str(),
            path: &self.path,
            status: outcome.status.map(|status| status.as_u16()),
            grpc_status: outcome.grpc,
            received: self.received,
            sent: outcome.sent,
            duration_us: u64::try_from(took).unwrap_or(u64::MAX),
            whole: outcome.whole,
        };
        let mut text = match format {
            AccessLogFormat::Json => serde_json::to_string(&row).unwrap_or_default(),
            AccessLogFormat::Text | AccessLogFormat::Off => row.text(),
        };
        text.push('\n');
        text
    }
}

impl Row<'_> {
    /// `TIME DOOR IP SUBJECT "METHOD PATH" STATUS received=N sent=N 1234us id=ID`
    fn text(&self) -> String {
        let mut text = String::with_capacity(192);
        let _ = write!(text, "{} {} ", self.time, self.door);
        let _ = match self.ip {
            Some(ip) => write!(text, "{ip} "),
            None => write!(text, "- "),
        };
        let subject = self.subject.unwrap_or("-");
        match subject.contains(' ') {
            true => text.push_str(&plain(subject).replace(' ', "\\u{20}")),
            false => text.push_str(&plain(subject)),
        }
        text.extend([" \"", self.method, " ", &plain(self.path), "\" "]);
        match self.status {
            Some(status) => _ = write!(text, "{status}"),
            None => text.push('-'),
        }
        if let Some(code) = self.grpc_status {
            let _ = write!(text, " grpc={code}");
        }
        if let Some(received) = self.received {
            let _ = write!(text, " received={received}");
        }
        let _ = write!(text, " sent={} {}us", self.sent, self.duration_us);
        if !self.whole {
            text.push_str(" aborted");
        }
        let _ = write!(text, " id={}", self.request_id);
        text
    }
}

/// Printable ASCII without quotes, whatever it was.
fn plain(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) & !matches!(byte, b'"' | b'\'' | b'\\');
    // Most texts are; without leaving early, so that many bytes are looked at at once.
    match text.bytes().fold(true, |all, byte| all & is_plain(byte)) {
        true => text.into(),
        false => text.escape_default().to_string().into(),
    }
}

fn now() -> String {
    let mut time = String::with_capacity(32);
    // Writing to a string does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    time
}
