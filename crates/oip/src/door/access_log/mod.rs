//! The access log: a line for every request of both doors, when its answer has ended.
//!
//! | file | what is there |
//! |---|---|
//! | `line` | what stands in a line, as text or JSON |
//! | `body` | the body of an answer, counted until its end |
//!
//! A line never holds a tensor, a header's value but the request's id, or the query of a path,
//! where some clients put tokens. It stands around the doors, so that refusals have lines too.
//! The thread that writes all logs to standard error writes this one.

mod body;
mod line;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use http::{Extensions, Request};
use oip_core::Caller;

use self::body::Counted;
use self::line::Line;
use super::request_id;
use super::{Answering, Network, Remote, Served, Serves, caller};
use crate::config::AccessLogFormat;
use crate::door::Body;
use crate::logging::{Writer, standard_error};

/// Writes the access log of one server. Clones write to the same.
#[derive(Clone)]
pub(crate) struct AccessLog {
    format: AccessLogFormat,
    trusted: Arc<[Network]>,
    writer: Writer,
}

impl AccessLog {
    /// A log to standard error; `None` where nothing is to be written.
    pub(crate) fn start(format: AccessLogFormat, trusted: &[Network]) -> Option<Self> {
        if format == AccessLogFormat::Off {
            return None;
        }
        let writer = standard_error()
            .inspect_err(|error| tracing::error!(%error, "there is no access log"))
            .ok()?;
        Some(Self {
            format,
            trusted: trusted.into(),
            writer,
        })
    }

    /// Puts the log around a door.
    pub(crate) fn around(&self, door: &'static str, inner: Served) -> Served {
        let log = self.clone();
        Served::new(Logged { log, door, inner })
    }

    /// The same log, which believes these proxies from now on.
    pub(crate) fn trusting(&self, trusted: &[Network]) -> Self {
        Self {
            trusted: trusted.into(),
            ..self.clone()
        }
    }

    /// What is known of a request before its answer. Gives it an id where it has none.
    fn begin(&self, door: &'static str, request: &mut Request<Body>, remote: &Remote) -> Line {
        let headers = request.headers();
        let peer = remote.peer;
        let peer = peer.and_then(|peer| caller(peer.ip(), headers, &self.trusted));
        let taken = request_id::taken(headers).cloned();
        let id = taken.unwrap_or_else(|| request_id::give(request.headers_mut()));
        let note = Arc::new(Note::default());
        request.extensions_mut().insert(Arc::clone(&note));
        Line {
            door,
            peer,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            received: length(request.headers()),
            id,
            note,
            begun: Instant::now(),
        }
    }
}

fn length(headers: &http::HeaderMap) -> Option<u64> {
    let value = headers.get(http::header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// Who was asking, left behind by the gates for the log.
#[derive(Debug, Default)]
pub(crate) struct Note {
    subject: OnceLock<String>,
}

/// Tells the access log, where there is one, who is asking.
pub(crate) fn note_caller(extensions: &Extensions, caller: &Caller) {
    if let Some(note) = extensions.get::<Arc<Note>>() {
        // A request has one caller; a second note would be the same.
        let _ = note.subject.set(caller.id().to_owned());
    }
}

/// Whether a request has passed the access log, which has given it an id.
pub(super) fn is_logged(extensions: &Extensions) -> bool {
    extensions.get::<Arc<Note>>().is_some()
}

/// A door with the log around it.
struct Logged {
    log: AccessLog,
    door: &'static str,
    inner: Served,
}

impl Serves for Logged {
    fn answer(&self, mut request: Request<Body>, remote: Arc<Remote>) -> Answering {
        let log = self.log.clone();
        let line = log.begin(self.door, &mut request, &remote);
        let id = line.id.clone();
        let mut ended = log.ending(line);
        let answer = self.inner.answer(request, remote);
        Box::pin(async move {
            let mut response = answer.await?;
            request_id::show(id, response.headers_mut());
            ended.answered(&response);
            Ok(response.map(|body| Body::new(Counted::new(body, ended))))
        })
    }
}

#[cfg(test)]
mod tests;
