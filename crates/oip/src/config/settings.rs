//! The typed settings of one server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use oip_protocol::json::NonFinite;

use super::Config;
use super::access::AccessSettings;
use super::error::{ConfigError, Faults};
use super::listen::{Listen, Sockets, listen};
use super::otel;
use super::reader::Reader;
use super::source::Surroundings;
use super::tls::TlsSettings;
use crate::door::Network;
use crate::telemetry::{PayloadOptions, TraceOptions};

words! {
    /// Who loads and unloads models.
    ModelControl {
        /// Callers.
        Explicit = "explicit",
        /// Nobody.
        None = "none",
        /// Callers, and changes of the folder.
        Poll = "poll",
    }
}

words! {
    /// What is logged.
    LogLevel {
        /// Nothing.
        Off = "off",
        /// What went wrong on this side.
        Error = "error",
        /// What an operator should look at, too.
        Warn = "warn",
        /// What happens, too.
        Info = "info",
        /// Why, too.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

words! {
    /// The form of a log line.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object.
        Json = "json",
    }
}

words! {
    /// When callers are told how long the rooms of an inference took.
    ServerTiming {
        /// Never.
        Off = "off",
        /// When they ask for it.
        Request = "request",
        /// Always.
        Always = "always",
    }
}

words! {
    /// The form of the access log.
    AccessLogFormat {
        /// There is none.
        Off = "off",
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

/// Everything a server is built from. Each field is the option of its name.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "each field is described in the table of options"
)]
pub struct Settings {
    pub listen: Listen,
    /// The Unix sockets of the doors, in place of what `listen` says of them.
    pub sockets: Sockets,
    pub model_repository: Option<PathBuf>,
    pub model_name: Vec<String>,
    pub model_control: ModelControl,
    pub poll_interval: Duration,
    pub reload: bool,
    /// `None`: one for each processor.
    pub worker_threads: Option<usize>,
    /// `None`: one for each processor.
    pub threads: Option<usize>,
    pub workers: usize,
    /// `None`: by the number of processors.
    pub model_concurrency: Option<usize>,
    pub model_queue: usize,
    pub onnxruntime_library: Option<PathBuf>,
    /// Where ONNX Runtime is searched when no library is named.
    pub surroundings: Surroundings,
    pub json_non_finite: NonFinite,
    pub forward_headers: Vec<String>,
    pub cors_origins: Vec<String>,
    pub docs: bool,
    pub body_limit: usize,
    pub header_limit: usize,
    pub header_timeout: Duration,
    pub body_timeout: Duration,
    pub body_time: Duration,
    pub body_memory: usize,
    pub write_timeout: Duration,
    pub connection_idle: Duration,
    /// `None`: as old as it may become.
    pub connection_age: Option<Duration>,
    /// `None`: nobody is asked.
    pub keep_alive: Option<Duration>,
    pub streams: u32,
    pub connections: usize,
    pub in_flight: usize,
    /// `None`: as long as the caller waits.
    pub request_timeout: Option<Duration>,
    pub json_depth: usize,
    pub tensors_limit: usize,
    pub strings_limit: usize,
    pub rate_limit: usize,
    pub rate_burst: usize,
    pub parameters_limit: usize,
    pub shutdown_delay: Duration,
    pub shutdown_grace: Duration,
    pub log_level: LogLevel,
    pub log_format: LogFormat,
    pub access_log: AccessLogFormat,
    pub latency_log: bool,
    pub server_timing: ServerTiming,
    pub traces: TraceOptions,
    /// `None`: nothing is kept.
    pub payload_log: Option<PayloadOptions>,
    /// `None`: `/metrics` is served by the REST door.
    pub metrics: Option<SocketAddr>,
    /// `None`: the doors speak plain HTTP.
    pub tls: Option<TlsSettings>,
    pub auth_enabled: bool,
    /// In force where `auth_enabled` is true.
    pub access: AccessSettings,
    /// Whether probes are decided by the policy (`probe_access = policy`).
    pub probes_by_policy: bool,
    pub trusted_proxies: Vec<Network>,
}

impl Settings {
    pub(super) fn new(config: &Config) -> Result<Self, ConfigError> {
        let read = Reader(config);
        let mut faults = Faults::default();
        let nowhere = Listen::RestOnly(SocketAddr::new(read.address("rest_host"), 0));
        let access = AccessSettings::gather(&read, &mut faults);
        let settings = Self {
            listen: faults.or(listen(&read), nowhere),
            sockets: faults.or(Sockets::new(&read), Sockets::default()),
            model_repository: read.path("model_repository"),
            model_name: faults.or(model_name(&read), Vec::new()),
            model_control: model_control(&read),
            poll_interval: read.duration("poll_interval"),
            reload: read.bool("reload"),
            worker_threads: some(read.number("worker_threads")),
            threads: some(read.number("threads")),
            workers: read.number("workers"),
            model_concurrency: some(read.number("model_concurrency")),
            model_queue: read.number("model_queue"),
            onnxruntime_library: read.path("onnxruntime_library"),
            surroundings: config.surroundings.clone(),
            json_non_finite: read.word("json_non_finite", |word| word.parse().ok()),
            forward_headers: faults.or(header_names(&read), Vec::new()),
            cors_origins: faults.or(origins(&read), Vec::new()),
            docs: read.bool("docs"),
            body_limit: body_limit(&read),
            header_limit: read.number("header_limit"),
            header_timeout: read.duration("header_timeout"),
            body_timeout: read.duration("body_timeout"),
            body_time: read.duration("body_time"),
            body_memory: read.number("body_memory"),
            write_timeout: read.duration("write_timeout"),
            connection_idle: connection_idle(&read),
            connection_age: lasting(read.duration("connection_age")),
            keep_alive: lasting(read.duration("keep_alive")),
            streams: u32::try_from(read.number("streams")).unwrap_or(u32::MAX),
            connections: read.number("connections"),
            in_flight: read.number("in_flight"),
            request_timeout: lasting(read.duration("request_timeout")),
            json_depth: read.number("json_depth"),
            tensors_limit: read.number("tensors_limit"),
            strings_limit: read.number("strings_limit"),
            rate_limit: read.number("rate_limit"),
            rate_burst: read.number("rate_burst"),
            parameters_limit: read.number("parameters_limit"),
            shutdown_delay: read.duration("shutdown_delay"),
            shutdown_grace: read.duration("shutdown_grace"),
            log_level: log_level(config),
            log_format: read.word("log_format", LogFormat::of),
            access_log: access_log(&read),
            latency_log: read.bool("latency_log"),
            server_timing: read.word("server_timing", ServerTiming::of),
            metrics: metrics(&read),
            traces: faults.or(traces(&read), TraceOptions::default()),
            payload_log: faults.or(payloads(&read), None),
            tls: faults.or(TlsSettings::new(&read), None),
            auth_enabled: read.bool("auth_enabled"),
            access,
            probes_by_policy: read.text("probe_access").as_deref() == Some("policy"),
            trusted_proxies: faults.or(networks(&read), Vec::new()),
        };
        faults.or(settings.check_authentication(&read), ());
        faults.but_for(&config.wrong).none()?;
        Ok(settings)
    }

    fn check_authentication(&self, read: &Reader<'_>) -> Result<(), ConfigError> {
        if !self.auth_enabled {
            return Ok(());
        }
        let secret = self.access.auth_secret.as_ref();
        let blank = secret.is_some_and(|secret| secret.expose().trim().is_empty());
        let entry = read.entry("auth_secret");
        match (self.access.has_key(), blank) {
            (true, false) => Ok(()),
            // Another way in is there; whoever gave the secret believes that it is one, too.
            (true, true) => Err(super::unfit(
                entry.option,
                "",
                entry.origin.clone(),
                true,
                "a text that is not blank".to_owned(),
            )),
            (false, _) => Err(ConfigError::NoKey {
                origin: read.entry("auth_enabled").origin.clone(),
                blank: match blank {
                    true => format!(", auth_secret ({}) is blank", entry.origin),
                    false => String::new(),
                },
            }),
        }
    }
}

pub(super) fn log_level(config: &Config) -> LogLevel {
    Reader(config).word("log_level", LogLevel::of)
}

/// Zero stands for "not given" where none makes no sense.
fn some(number: usize) -> Option<usize> {
    Some(number).filter(|number| *number > 0)
}

/// No time stands for "not limited".
fn lasting(time: Duration) -> Option<Duration> {
    Some(time).filter(|time| !time.is_zero())
}

/// `reload` means a watched repository unless `model_control` says otherwise.
pub(super) fn model_control(read: &Reader<'_>) -> ModelControl {
    let entry = read.entry("model_control");
    match !entry.is_given() && read.bool("reload") {
        true => ModelControl::Poll,
        false => read.word("model_control", ModelControl::of),
    }
}

/// A limit of KServe's, which is for gRPC alone, never makes ours smaller: it holds for REST too.
pub(super) fn body_limit(read: &Reader<'_>) -> usize {
    let limit = read.number("body_limit");
    match read.entry("body_limit").is_given() {
        true => limit,
        false => limit.max(read.number("kserve_grpc_max_receive_message_length")),
    }
}

/// KServe's time never makes ours shorter.
pub(super) fn connection_idle(read: &Reader<'_>) -> Duration {
    let time = read.duration("connection_idle");
    // A year, as the longest time that an option takes.
    let seconds = read.number("kserve_timeout_keep_alive").min(31_536_000);
    match read.entry("connection_idle").is_given() {
        true => time,
        false => time.max(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))),
    }
}

/// `metrics_port` opens an address of its own.
fn metrics(read: &Reader<'_>) -> Option<SocketAddr> {
    let given = read.entry("metrics_port").is_given();
    given.then(|| SocketAddr::new(read.address("metrics_host"), read.port("metrics_port")))
}

fn traces(read: &Reader<'_>) -> Result<TraceOptions, ConfigError> {
    let mut traces = TraceOptions {
        endpoint: read.text("otlp_endpoint"),
        ratio: read.ratio("trace_sample_ratio"),
        ..TraceOptions::default()
    };
    if let Some(name) = read.text("service_name") {
        traces.service = name;
    }
    traces.headers = headers(read, "otlp_headers")?;
    traces.ca_file = read.path("otlp_ca_file");
    otel::apply(read, &mut traces);
    Ok(traces)
}

fn payloads(read: &Reader<'_>) -> Result<Option<PayloadOptions>, ConfigError> {
    let Some(to) = read.text("payload_log") else {
        return Ok(None);
    };
    Ok(Some(PayloadOptions {
        sample: read.ratio("payload_log_sample"),
        headers: headers(read, "payload_log_headers")?,
        token_file: read.path("payload_log_token_file"),
        ca_file: read.path("payload_log_ca_file"),
        plain_http: read.bool("payload_log_plain_http"),
        ..PayloadOptions::new(to)
    }))
}

/// Headers that may hold a token.
fn headers(
    read: &Reader<'_>,
    key: &'static str,
) -> Result<Vec<(http::HeaderName, String)>, ConfigError> {
    let Some(given) = read.secret(key) else {
        return Ok(Vec::new());
    };
    pairs(given.expose()).ok_or_else(|| ConfigError::Value {
        key,
        shown: "***".to_owned(),
        origin: read.entry(key).origin.clone(),
        allowed: "headers as name=value, separated by commas".to_owned(),
    })
}

fn pairs(text: &str) -> Option<Vec<(http::HeaderName, String)>> {
    let headers = text
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty());
    let headers = headers.map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let name = http::HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        http::HeaderValue::from_str(value.trim()).ok()?;
        Some((name, value.trim().to_owned()))
    });
    headers.collect()
}

/// A format in Python's words asks for an access log; its form is ours.
pub(super) fn access_log(read: &Reader<'_>) -> AccessLogFormat {
    let asked = read.entry("kserve_access_log_format").is_given();
    match !read.entry("access_log").is_given() && asked {
        true => AccessLogFormat::Text,
        false => read.word("access_log", AccessLogFormat::of),
    }
}

/// A repository serves all its models, or one under a name.
fn model_name(read: &Reader<'_>) -> Result<Vec<String>, ConfigError> {
    let names = read.list("model_name");
    match (names.len(), read.path("model_repository")) {
        (2.., Some(_)) => Err(ConfigError::Conflict {
            sentence: format!(
                "model_name ({}) names {} models: of the repository {} all are served, or one",
                read.entry("model_name").origin,
                names.len(),
                read.entry("model_repository").shown()
            ),
            keys: &["model_name", "model_repository"],
        }),
        _ => Ok(names),
    }
}

fn header_names(read: &Reader<'_>) -> Result<Vec<String>, ConfigError> {
    let names = read.list("forward_headers");
    let names = names.into_iter().map(|name| name.to_ascii_lowercase());
    let names: Vec<String> = names.collect();
    let bad = names
        .iter()
        .find(|name| http::HeaderName::from_bytes(name.as_bytes()).is_err());
    match bad {
        Some(name) => Err(unfit(
            read,
            "forward_headers",
            name,
            "names of headers separated by commas",
        )),
        None => Ok(names),
    }
}

/// Origins as browsers write them: what has another form would never be found equal to one.
fn origins(read: &Reader<'_>) -> Result<Vec<String>, ConfigError> {
    let origins = read.list("cors_origins");
    let is_origin = |text: &str| {
        let text = text.strip_suffix('/').unwrap_or(text);
        let host = text
            .split_once("://")
            .filter(|(scheme, _)| !scheme.is_empty());
        host.is_some_and(|(_, host)| {
            let odd = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '*' | '@');
            !host.is_empty() && !host.contains(odd)
        })
    };
    match origins.iter().find(|text| !is_origin(text)) {
        Some(bad) => Err(unfit(
            read,
            "cors_origins",
            bad,
            "origins such as https://console.example, without a path, separated by commas",
        )),
        None => Ok(origins),
    }
}

fn networks(read: &Reader<'_>) -> Result<Vec<Network>, ConfigError> {
    let networks = read.list("trusted_proxies").into_iter().map(|text| {
        let allowed = "IP addresses and networks such as 10.0.0.0/8, separated by commas";
        text.parse()
            .map_err(|()| unfit(read, "trusted_proxies", &text, allowed))
    });
    networks.collect()
}

/// A value, or a part of it, that its option does not take.
pub(super) fn unfit(read: &Reader<'_>, key: &str, text: &str, allowed: &str) -> ConfigError {
    let entry = read.entry(key);
    super::unfit(
        entry.option,
        text,
        entry.origin.clone(),
        entry.hidden,
        allowed.to_owned(),
    )
}
