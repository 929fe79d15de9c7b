//! What the remote decision points have in common: the exchange, and what counts as an answer.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Uri, header};
use oip_core::access::{Decision, Question};
use serde_json::{Map, Value, json};

use super::strict;
use crate::http::{HttpClient, HttpError};
use crate::moment::Moment;

/// One address of a remote decision point.
pub(super) struct Remote {
    client: Arc<HttpClient>,
    uri: Uri,
    media: &'static str,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("host", &self.uri.host())
            .field("media", &self.media)
            .finish_non_exhaustive()
    }
}

impl Remote {
    /// An address, checked; `path` stands in where it has none of its own. A query stays.
    pub(super) fn new(
        client: Arc<HttpClient>,
        url: &str,
        path: &str,
        media: &'static str,
    ) -> Result<Self, HttpError> {
        match client.check(url)?.path() {
            "/" => Self::under(client, url, path, media),
            _ => Self::under(client, url, "", media),
        }
    }

    /// A base to which `path` is added, checked. A query stays.
    pub(super) fn under(
        client: Arc<HttpClient>,
        url: &str,
        path: &str,
        media: &'static str,
    ) -> Result<Self, HttpError> {
        // As it was given first: what is wrong with it is told in the operator's words.
        let mut uri = client.check(url)?;
        if !path.is_empty() {
            uri = client.check(&completed(url, path))?;
        }
        Ok(Self { client, uri, media })
    }

    /// What would be posted, for `explain`.
    pub(super) fn shown(&self, body: &Value) -> String {
        let (uri, media) = (&self.uri, self.media);
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let scheme = uri.scheme_str().unwrap_or_default();
        format!(
            "POST {scheme}://{host}{}\nContent-Type: {media}\n\n{body:#}",
            uri.path()
        )
    }

    /// Posts a question and hands back the answer as JSON.
    ///
    /// # Errors
    /// A [`Decision::Fault`] for everything but a 200 that carries one JSON value.
    pub(super) async fn ask(&self, body: &Value) -> Result<Value, Decision> {
        let headers = [
            (header::CONTENT_TYPE, self.media),
            (header::ACCEPT, self.media),
        ];
        let posted = Bytes::from(body.to_string());
        let answer = match self.client.post(&self.uri, &headers, posted).await {
            Ok(answer) => answer,
            Err(HttpError::TooLarge(limit)) => {
                return Err(wrong(format!("the answer is longer than {limit} bytes")));
            }
            Err(error @ HttpError::Coded) => return Err(wrong(error.to_string())),
            Err(error) => return Err(unreachable(error.to_string())),
        };
        match answer.status {
            200 => {}
            status @ 502..=504 => return Err(unreachable(format!("it answered HTTP {status}"))),
            status @ 300..=399 => {
                return Err(wrong(format!(
                    "it answered HTTP {status}, and redirects are not followed"
                )));
            }
            status => return Err(wrong(format!("it answered HTTP {status}, not 200"))),
        }
        if !answer.content_type.as_deref().is_some_and(is_json) {
            return Err(wrong("the answer's content type is not JSON".to_owned()));
        }
        strict::parse(&answer.body).map_err(wrong)
    }
}

/// A base with a path behind its own, before its query.
pub(super) fn completed(base: &str, path: &str) -> String {
    let base = base.split('#').next().unwrap_or(base);
    let (base, query) = base.split_at(base.find('?').unwrap_or(base.len()));
    format!("{}{path}{query}", base.trim_end_matches('/'))
}

/// `application/json`, or another type whose suffix is `+json`; parameters do not matter.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let Some((kind, subtype)) = essence.split_once('/') else {
        return false;
    };
    let subtype = subtype.to_ascii_lowercase();
    kind.eq_ignore_ascii_case("application") && (subtype == "json" || subtype.ends_with("+json"))
}

/// An answer came and is none.
pub(super) fn wrong(cause: String) -> Decision {
    Decision::Fault {
        cause,
        unreachable: false,
    }
}

fn unreachable(cause: String) -> Decision {
    Decision::Fault {
        cause,
        unreachable: true,
    }
}

/// Longest part of a decision point's own reason that is kept, in characters.
const LONGEST_REASON: usize = 200;

/// What was decided, and the reason that the decision point gives, cut and on one line: it is the
/// other side's text, and ends in the log, the audit and on terminals.
pub(super) fn with_reason(decided: &str, given: Option<&Value>) -> String {
    let Some(given) = given.and_then(first_text).map(str::trim) else {
        return decided.to_owned();
    };
    let mut short: String = given.chars().take(LONGEST_REASON).collect();
    if short.len() < given.len() {
        short.push_str("...");
    }
    match short.is_empty() {
        true => decided.to_owned(),
        false => format!("{decided}: {}", short.escape_debug()),
    }
}

/// A text, the first of a list, or the first of an object (texts by language, say).
fn first_text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Array(several) => several.iter().find_map(Value::as_str),
        Value::Object(named) => named.values().find_map(Value::as_str),
        _ => None,
    }
}

/// The subject's id and its properties: roles, and the claims where there are any.
pub(super) fn subject(question: &Question<'_>) -> (String, Map<String, Value>) {
    let mut properties = Map::new();
    let roles = question.caller.subject().map(|subject| &subject.roles[..]);
    properties.insert("roles".to_owned(), json!(roles.unwrap_or_default()));
    if let Some(subject) = question.caller.subject()
        && !subject.claims.is_empty()
    {
        properties.insert("claims".to_owned(), Value::Object(subject.claims.clone()));
    }
    (question.caller.id().to_owned(), properties)
}

/// From where, for what path, when.
pub(super) fn context(question: &Question<'_>) -> Map<String, Value> {
    let mut context = Map::new();
    if let Some(ip) = question.caller.peer() {
        context.insert("ip".to_owned(), json!(plain(ip).to_string()));
    }
    context.insert("path".to_owned(), json!(question.caller.path()));
    context.insert("time".to_owned(), json!(Moment::now().seconds()));
    context
}

/// An IPv4 address that arrived on an IPv6 socket, as IPv4: policies and readers know it so.
pub(crate) fn plain(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}
