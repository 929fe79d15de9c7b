//! Which inferences are traced, and where their traces go.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use oip_core::telemetry::Seen;
use oip_protocol::ModelRef;
use prost::Message as _;
use tokio::runtime::Handle;

use super::context::TraceContext;
use super::otlp::{self, ExportTraceServiceRequest, ResourceSpans, Scope, ScopeSpans};
use super::outbox::{Fates, Inbox, Next, Outbox};
use super::post::{Plain, Post, PostError, PostOptions};
use super::settings::{TraceSettings, TraceSwitch};
use super::spans::{Ending, Traced};

/// Traces that may wait to be sent, and bytes in them.
const MOST_WAITING: usize = 4096;
const MOST_BYTES: usize = 16 << 20;
/// Spans that are sent together at most, and how long they are gathered.
const BATCH: usize = 1024;
const GATHERED: Duration = Duration::from_secs(1);
/// How often a sender that fails says so.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// How a server traces.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TraceOptions {
    /// Where traces go, by OTLP (http/protobuf); `None` for the log.
    pub endpoint: Option<String>,
    /// Headers of what is sent there.
    pub headers: Vec<(HeaderName, String)>,
    /// A PEM file of the authorities to trust there, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// The name of the service in traces.
    pub service: String,
    /// What else is said of the service, by name.
    pub attributes: Vec<(String, String)>,
    /// The share of inferences that are traced, of those that bring no trace of their own.
    pub ratio: f64,
    /// Whether one that brings a trace is traced as its caller says; else the share is of all.
    pub follows_callers: bool,
}

impl Default for TraceOptions {
    fn default() -> Self {
        Self {
            endpoint: None,
            headers: Vec::new(),
            ca_file: None,
            service: "oip".to_owned(),
            attributes: Vec::new(),
            ratio: 1.0,
            follows_callers: true,
        }
    }
}

/// An inference that may be traced.
pub(super) struct Trace {
    context: TraceContext,
    begun: SystemTime,
}

/// The traces of one server.
pub(crate) struct Tracer {
    pub(crate) switch: TraceSwitch,
    outbox: Option<Arc<Outbox<Traced>>>,
    post: Option<Post>,
    resource: Vec<otlp::KeyValue>,
    follows_callers: bool,
    frequency: Arc<AtomicU64>,
}

impl Default for Tracer {
    fn default() -> Self {
        Self::to(&TraceOptions::default(), None)
    }
}

impl Tracer {
    /// Checks where traces go; nothing is sent yet.
    pub(super) fn new(options: &TraceOptions) -> Result<Self, PostError> {
        let post = options.endpoint.as_deref().map(|endpoint| {
            let secret = !options.headers.is_empty();
            let plain = match secret {
                true => Plain::Loopback,
                false => Plain::Anywhere,
            };
            let how = PostOptions {
                plain,
                headers: options.headers.clone(),
                ca_file: options.ca_file.clone(),
                token_file: None,
            };
            Post::new(&traces_url(endpoint), how)
        });
        Ok(Self::to(options, post.transpose()?))
    }

    fn to(options: &TraceOptions, post: Option<Post>) -> Self {
        Self {
            switch: TraceSwitch::new(TraceSettings {
                on: post.is_some(),
                ratio: options.ratio,
                left: None,
                frequency: 0,
            }),
            outbox: post
                .is_some()
                .then(|| Arc::new(Outbox::new(MOST_WAITING, MOST_BYTES))),
            post,
            resource: resource(options),
            follows_callers: options.follows_callers,
            frequency: Arc::default(),
        }
    }

    /// Starts the thread that sends.
    pub(super) fn start(&self, runtime: &Handle) {
        if let (Some(outbox), Some(post)) = (&self.outbox, &self.post) {
            let sender = Sender {
                post: post.clone(),
                resource: self.resource.clone(),
                runtime: runtime.clone(),
                frequency: Arc::clone(&self.frequency),
                said: None,
            };
            outbox.start("oip-traces", move |inbox| sender.run(&inbox));
        }
    }

    /// Sends what waits. Blocks until then.
    pub(super) fn close(&self) {
        if let Some(outbox) = &self.outbox {
            outbox.close();
        }
    }

    /// Gives up what waits.
    pub(super) fn abandon(&self) {
        if let Some(outbox) = &self.outbox {
            outbox.abandon();
        }
    }

    /// What became of spans; `None` where they go to the log.
    pub(crate) fn fates(&self) -> Option<&Fates> {
        self.outbox.as_ref().map(|outbox| &*outbox.fates)
    }

    /// A request has arrived. Whoever is behind reads our span as its parent.
    pub(super) fn begin(&self, headers: &mut HeaderMap) -> Option<Box<Trace>> {
        if !self.switch.is_on() {
            return None;
        }
        let context = match TraceContext::of(headers) {
            Some(context) if self.follows_callers => context,
            Some(context) => TraceContext {
                sampled: self.switch.may_trace(&context.trace),
                ..context
            },
            None => {
                let context = TraceContext::begin();
                if !self.switch.may_trace(&context.trace) {
                    return None;
                }
                context
            }
        };
        context.write(headers);
        Some(Box::new(Trace {
            context,
            begun: SystemTime::now(),
        }))
    }

    /// It has ended.
    pub(super) fn end(
        &self,
        mut trace: Trace,
        seen: &Seen,
        model: Option<&ModelRef>,
        ending: Ending,
        headers: Option<&mut HeaderMap>,
    ) {
        let decides = trace.context.parent.is_none() || !self.follows_callers;
        let name = model.map(|model| model.name.as_str());
        let taken = match trace.context.sampled {
            true => {
                let trace = decides.then_some(&trace.context.trace);
                self.switch.takes(name, trace)
            }
            false => None,
        };
        if decides {
            trace.context.sampled = taken.is_some();
        }
        if let Some(headers) = headers {
            trace.context.write(headers);
        }
        let Some(frequency) = taken else {
            return;
        };
        let traced = Traced::new(trace.context, trace.begun, seen, model, ending);
        match &self.outbox {
            None => traced.log(),
            Some(outbox) => {
                self.frequency.store(frequency, Relaxed);
                let (bytes, spans) = (traced.bytes(), traced.spans());
                outbox.put(traced, bytes, spans);
            }
        }
    }
}

impl Trace {
    /// Whether the rooms of the inference are to be timed.
    pub(super) fn is_timed(&self) -> bool {
        self.context.sampled
    }
}

/// What is said of this service with every trace.
fn resource(options: &TraceOptions) -> Vec<otlp::KeyValue> {
    let mut said = vec![otlp::text("service.name", options.service.as_str())];
    let given = options.attributes.iter();
    said.extend(given.map(|(name, value)| otlp::text(name, value.as_str())));
    let version = "service.version";
    if !said.iter().any(|attribute| attribute.key == version) {
        said.push(otlp::text(version, env!("CARGO_PKG_VERSION")));
    }
    said
}

/// The address of the collector as it is configured, and that of its traces.
/// Source: OpenTelemetry's specification of the OTLP exporter.
fn traces_url(endpoint: &str) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    match endpoint.ends_with("/v1/traces") {
        true => endpoint.to_owned(),
        false => format!("{endpoint}/v1/traces"),
    }
}

/// The thread that sends.
struct Sender {
    post: Post,
    resource: Vec<otlp::KeyValue>,
    runtime: Handle,
    frequency: Arc<AtomicU64>,
    /// When a failure was last said.
    said: Option<Instant>,
}

impl Sender {
    fn run(mut self, inbox: &Inbox<Traced>) {
        let (mut spans, mut traces) = (Vec::new(), 0_u64);
        let mut since = Instant::now();
        loop {
            let (closed, mut due) = match inbox.next(GATHERED.saturating_sub(since.elapsed())) {
                Next::Thing(traced) => {
                    if spans.is_empty() {
                        since = Instant::now();
                    }
                    traced.write(&mut spans);
                    traces += 1;
                    (false, false)
                }
                Next::Nothing => (false, true),
                Next::Closed => (true, true),
            };
            let frequency = self.frequency.load(Relaxed);
            due |= spans.len() >= BATCH || (frequency > 0 && traces >= frequency);
            due |= since.elapsed() >= GATHERED;
            if due {
                if !spans.is_empty() {
                    self.send(std::mem::take(&mut spans), inbox);
                }
                traces = 0;
                since = Instant::now();
            }
            if closed {
                return;
            }
        }
    }

    fn send(&mut self, spans: Vec<otlp::Span>, inbox: &Inbox<Traced>) {
        let fates = &inbox.fates;
        let count = spans.len() as u64;
        let version = env!("CARGO_PKG_VERSION");
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(otlp::Resource {
                    attributes: self.resource.clone(),
                }),
                scope_spans: vec![ScopeSpans {
                    scope: Some(Scope {
                        name: "oip".to_owned(),
                        version: version.to_owned(),
                    }),
                    spans,
                }],
            }],
        };
        let body = Bytes::from(request.encode_to_vec());
        let sending = self.post.send("application/x-protobuf", body);
        match inbox.block_on(&self.runtime, sending) {
            Ok(()) => _ = fates.done.fetch_add(count, Relaxed),
            Err(error) => {
                fates.failed.fetch_add(count, Relaxed);
                if self.said.is_none_or(|said| said.elapsed() >= SAID_EVERY) {
                    tracing::warn!(spans = count, "traces cannot be sent: {error}");
                    self.said = Some(Instant::now());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_collector_may_name_its_path_or_not() {
        for endpoint in ["http://c:4318", "http://c:4318/", "http://c:4318/v1/traces"] {
            assert_eq!(traces_url(endpoint), "http://c:4318/v1/traces");
        }
    }

    #[test]
    fn a_caller_that_does_not_sample_is_not_traced_and_its_context_goes_on() {
        let tracer = Tracer::default();
        let on = vec![(
            "trace_level".to_owned(),
            Some(vec!["TIMESTAMPS".to_owned()]),
        )];
        tracer.switch.update(None, &on).unwrap();
        let mut headers = HeaderMap::new();
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let value = format!("00-{trace}-00f067aa0ba902b7-00");
        headers.insert("traceparent", value.parse().unwrap());
        let begun = tracer.begin(&mut headers).unwrap();
        assert!(!begun.is_timed());
        let shown = headers["traceparent"].to_str().unwrap();
        assert!(shown.contains(trace) && shown.ends_with("-00"), "{shown}");
        assert!(tracer.begin(&mut HeaderMap::new()).unwrap().is_timed());
    }

    #[test]
    fn one_that_does_not_follow_its_callers_decides_by_the_share_and_alike_for_a_trace() {
        let traced = |ratio: f64, flags: &str, trace: &str| {
            let options = TraceOptions {
                ratio,
                follows_callers: false,
                ..TraceOptions::default()
            };
            let tracer = Tracer::to(&options, None);
            let on = vec![(
                "trace_level".to_owned(),
                Some(vec!["TIMESTAMPS".to_owned()]),
            )];
            tracer.switch.update(None, &on).unwrap();
            let mut headers = HeaderMap::new();
            let value = format!("00-4bf92f3577b34da6{trace}-00f067aa0ba902b7-{flags}");
            headers.insert("traceparent", value.parse().unwrap());
            let begun = tracer.begin(&mut headers).unwrap();
            let shown = headers["traceparent"].to_str().unwrap().ends_with("-01");
            assert_eq!(begun.is_timed(), shown);
            shown
        };
        let (low, high) = ("1000000000000000", "f000000000000000");
        for flags in ["00", "01"] {
            assert!(traced(1.0, flags, high) && !traced(0.0, flags, low));
            assert!(traced(0.5, flags, low) && !traced(0.5, flags, high));
        }
    }

    #[test]
    fn traces_that_wait_take_no_more_memory_than_there_is_for_them() {
        let options = TraceOptions {
            endpoint: Some("http://127.0.0.1:9".to_owned()),
            ..TraceOptions::default()
        };
        // Nobody takes them out.
        let tracer = Tracer::new(&options).unwrap();
        let model = ModelRef::new("m".repeat(MOST_BYTES / 4));
        for _ in 0..10 {
            let trace = tracer.begin(&mut HeaderMap::new()).unwrap();
            let seen = Seen::new(oip_core::telemetry::Way::Grpc);
            tracer.end(*trace, &seen, Some(&model), Ending::Cancelled, None);
        }
        assert_eq!(tracer.fates().unwrap().dropped.load(Relaxed), 7);
    }

    #[test]
    fn the_version_of_the_service_is_ours_where_no_other_is_given() {
        let mut options = TraceOptions::default();
        let versions = |options: &TraceOptions| {
            let said = resource(options).into_iter();
            said.filter(|one| one.key == "service.version")
                .collect::<Vec<_>>()
        };
        let own = otlp::text("service.version", env!("CARGO_PKG_VERSION"));
        assert_eq!(versions(&options), [own]);
        options
            .attributes
            .push(("service.version".into(), "7".into()));
        assert_eq!(versions(&options), [otlp::text("service.version", "7")]);
    }
}
