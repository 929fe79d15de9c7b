//! Inferences as CloudEvents: what was sent, what was answered, and the status, in one event.
//!
//! Off by default. What is kept holds tensors: whoever switches it on says so, and is told so at
//! the start. A request only leaves references behind; a thread of its own writes them.
//!
//! Source: CloudEvents 1.0, JSON format. The members of `data` are in `docs/observability.md`.

mod event;
mod sink;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderName;
use oip_core::telemetry::Way;
use oip_protocol::DecodeLimits;
use tokio::runtime::Handle;

use super::moment;
use super::outbox::{Fates, Inbox, Next, Outbox};
use super::post::PostError;
use super::settings::is_chosen;
use sink::Sink;

/// Events that may wait, and bytes in them, those of the one that is being written included.
const MOST_WAITING: usize = 1024;
const MOST_BYTES: usize = 64 << 20;

/// Where inferences are kept.
#[derive(Debug, Clone)]
pub struct PayloadOptions {
    /// An address that begins with `http://` or `https://`, or the path of a file.
    pub to: String,
    /// The share of inferences that are kept, from 0 to 1.
    pub sample: f64,
    /// Headers of what is sent to an address.
    pub headers: Vec<(HeaderName, String)>,
    /// A file of a bearer token to show there, read each time.
    pub token_file: Option<PathBuf>,
    /// A PEM file of the authorities to trust there, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether the address may be `http://` on another machine.
    pub plain_http: bool,
}

impl PayloadOptions {
    /// Every inference is kept here.
    #[must_use]
    pub fn new(to: impl Into<String>) -> Self {
        Self {
            to: to.into(),
            sample: 1.0,
            headers: Vec::new(),
            token_file: None,
            ca_file: None,
            plain_http: false,
        }
    }

    /// Whether that is an address, and no file.
    #[must_use]
    pub fn is_address(&self) -> bool {
        let schemes = ["http://", "https://"];
        schemes.iter().any(|scheme| self.to.starts_with(scheme))
    }
}

/// A body or message, as it came or goes.
pub(super) enum Content {
    /// Of the REST door: how long its JSON is, where tensors follow behind, and its pieces.
    Rest(Option<usize>, Vec<Bytes>),
    /// A protobuf message of the gRPC door, in pieces.
    Proto(Vec<Bytes>),
}

impl Content {
    fn length(&self) -> usize {
        match self {
            Self::Rest(_, pieces) | Self::Proto(pieces) => pieces.iter().map(Bytes::len).sum(),
        }
    }
}

/// One inference, as its door leaves it behind.
pub(super) struct Captured {
    way: Way,
    time: String,
    request_id: Option<String>,
    pub(super) model: String,
    pub(super) version: Option<String>,
    /// The version that its caller named.
    pub(super) asked_version: Option<String>,
    pub(super) request: Option<Content>,
    pub(super) response: Option<Content>,
    /// The code as the door says it, and the sentence of a failure.
    pub(super) code: String,
    /// The REST door's status of a failure at the other one.
    pub(super) rest_status: Option<u16>,
    pub(super) error: Option<String>,
    /// What its door takes in: what it has read can be read again.
    limits: DecodeLimits,
}

impl Captured {
    /// How many bytes it takes until it is written.
    fn bytes(&self) -> usize {
        let contents = [&self.request, &self.response].into_iter().flatten();
        let texts = [
            &self.request_id,
            &self.version,
            &self.asked_version,
            &self.error,
        ];
        let texts = texts.into_iter().flatten().map(String::len);
        let bytes: usize = contents.map(Content::length).chain(texts).sum();
        bytes + self.model.len()
    }
}

/// Keeps the inferences of one server.
pub(crate) struct Payloads {
    outbox: Arc<Outbox<Captured>>,
    sink: Sink,
    sample: f64,
}

impl Payloads {
    /// Opens the file, or checks the address.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(super) fn new(options: &PayloadOptions) -> Result<Self, PostError> {
        Ok(Self {
            outbox: Arc::new(Outbox::new(MOST_WAITING, MOST_BYTES)),
            sink: Sink::new(options)?,
            sample: options.sample,
        })
    }

    pub(crate) fn fates(&self) -> &Fates {
        &self.outbox.fates
    }

    /// Starts the thread that writes.
    pub(super) fn start(&self, runtime: &Handle) {
        let (mut sink, runtime) = (self.sink.clone(), runtime.clone());
        let run = move |inbox: Inbox<Captured>| {
            loop {
                match inbox.next(std::time::Duration::from_secs(3600)) {
                    Next::Thing(captured) => sink.write(&captured, &runtime, &inbox),
                    Next::Nothing => {}
                    Next::Closed => return,
                }
            }
        };
        self.outbox.start("oip-payloads", run);
    }

    /// Writes what waits. Blocks until then.
    pub(super) fn close(&self) {
        self.outbox.close();
    }

    /// Has the next event begin in the file that is at the path then.
    pub(super) fn reopen(&self) {
        self.sink.reopen();
    }

    /// Gives up what waits.
    pub(super) fn abandon(&self) {
        self.outbox.abandon();
    }

    /// A request has arrived, and may be one that is kept.
    pub(super) fn begin(&self, way: Way, headers: &http::HeaderMap) -> Option<Box<Captured>> {
        if !is_chosen(self.sample) {
            return None;
        }
        let id = headers.get("x-request-id");
        Some(Box::new(Captured {
            way,
            time: moment::now(),
            request_id: id.and_then(|id| Some(id.to_str().ok()?.to_owned())),
            model: String::new(),
            version: None,
            asked_version: None,
            request: None,
            response: None,
            code: String::new(),
            rest_status: None,
            error: None,
            limits: DecodeLimits::default(),
        }))
    }

    /// It has ended.
    pub(super) fn end(&self, mut captured: Captured, limits: &DecodeLimits) {
        captured.limits = limits.clone();
        let bytes = captured.bytes();
        self.outbox.put(captured, bytes, 1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    #[test]
    fn names_and_sentences_count_as_bytes_that_wait_too() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("payloads.jsonl");
        // Nobody takes them out.
        let payloads = Payloads::new(&PayloadOptions::new(to.to_str().unwrap())).unwrap();
        for _ in 0..10 {
            let captured = payloads.begin(Way::Grpc, &http::HeaderMap::new());
            let mut captured = captured.unwrap();
            captured.model = "m".repeat(MOST_BYTES / 8);
            captured.error = Some("e".repeat(MOST_BYTES / 8));
            payloads.end(*captured, &DecodeLimits::default());
        }
        assert_eq!(payloads.fates().dropped.load(Relaxed), 6);
    }
}
