//! What a server says of itself when it starts.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use oip::config::{Config, LogFormat, Settings, Standing};
use oip::models::Models;
use oip::{ModelRef, ModelState, RepositoryEntry};

use super::sample;

/// Where the doors listen.
pub(super) struct Doors {
    pub(super) rest: Option<SocketAddr>,
    pub(super) grpc: Option<SocketAddr>,
    pub(super) rest_socket: Option<PathBuf>,
    pub(super) grpc_socket: Option<PathBuf>,
    pub(super) docs: bool,
    pub(super) tls: bool,
}

impl Doors {
    /// For a person who reads.
    pub(super) fn as_text(&self) -> String {
        let mut text = format!("oip {} is listening\n", env!("CARGO_PKG_VERSION"));
        let (http, grpcs) = match self.tls {
            true => ("https", "grpcs://"),
            false => ("http", ""),
        };
        if let Some(rest) = self.rest {
            let _ = writeln!(text, "  REST  {http}://{rest}");
            if self.docs {
                let _ = writeln!(text, "  docs  {http}://{}/docs", reachable(rest));
            }
        }
        if let Some(grpc) = self.grpc {
            let _ = writeln!(text, "  gRPC  {grpcs}{grpc}");
        }
        for (door, socket) in [("REST", &self.rest_socket), ("gRPC", &self.grpc_socket)] {
            if let Some(socket) = socket {
                let _ = writeln!(text, "  {door}  unix:{}", socket.display());
            }
        }
        text
    }

    /// For a program that reads.
    pub(super) fn log(&self) {
        let shown = |address: Option<SocketAddr>| address.map(|address| address.to_string());
        tracing::info!(
            rest = shown(self.rest),
            grpc = shown(self.grpc),
            rest_socket = self
                .rest_socket
                .as_deref()
                .map(Path::to_string_lossy)
                .as_deref(),
            grpc_socket = self
                .grpc_socket
                .as_deref()
                .map(Path::to_string_lossy)
                .as_deref(),
            tls = self.tls,
            "listening"
        );
    }
}

/// An address that a client on this machine can use.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip().is_unspecified() {
        true => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port()),
        false => address,
    }
}

/// Which options were given that change nothing, as nobody is asked who they are.
pub(crate) fn unused_without_authentication(config: &Config) -> Option<String> {
    let given = config.entries().iter().filter(|entry| {
        let key = entry.option.key;
        let gates = ["auth_", "pdp", "policy_", "audit_"];
        let concerns_gates = gates.iter().any(|prefix| key.starts_with(prefix));
        entry.is_given() && concerns_gates && key != "auth_enabled"
    });
    let given: Vec<&str> = given.map(|entry| entry.option.key).collect();
    (!given.is_empty()).then(|| {
        let given = given.join(", ");
        format!("not used, as authentication is off: {given}")
    })
}

/// Says which options were given that change nothing.
pub(super) fn accepted_without_effect(config: &Config, of_program: bool) {
    for entry in config.entries().iter().filter(|entry| entry.is_given()) {
        let (key, origin) = (entry.option.key, entry.origin.to_string());
        let why = match (entry.option.standing, key) {
            (Standing::Accepted, _) => entry.option.help,
            (_, "workers") if !of_program => FOR_PROGRAMS,
            _ => continue,
        };
        tracing::info!(key, origin, "accepted without effect: {why}");
    }
}

const FOR_PROGRAMS: &str = "only a Python program is shared by processes, and models of a folder \
    follow the processors; see worker_threads and threads.";

/// Says what is served, once everything was tried.
pub(super) async fn models(models: &dyn Models, settings: &Settings, rest: Option<SocketAddr>) {
    let entries = models.index().await.unwrap_or_default();
    let mut lines = Vec::with_capacity(entries.len());
    for entry in &entries {
        lines.push(Line::of(models, entry).await);
    }
    if settings.log_format == LogFormat::Json {
        lines.iter().for_each(Line::log);
        return;
    }
    let mut text = table(&lines, settings);
    let ready = entries
        .iter()
        .find(|entry| entry.state == ModelState::Ready);
    // Without a repository the default handler answers "not implemented": nothing to try.
    let served = settings.model_repository.is_some();
    if let (Some(entry), Some(rest), true) = (ready, rest, served) {
        let body = sample::body(models, entry, settings).await;
        let http = settings.tls.as_ref().map_or("http", |_| "https");
        let url = format!(
            "{http}://{}/v2/models/{}/infer",
            reachable(rest),
            segment(&entry.name)
        );
        let _ = writeln!(text, "Try it:\n  curl -s {url} -d {body}");
    }
    // A closed pipe must not end the server, and one that nobody reads must not hold it up.
    tokio::task::spawn_blocking(move || {
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
    });
}

/// One model version, as it is shown.
struct Line {
    name: String,
    version: String,
    engine: String,
    state: String,
}

impl Line {
    async fn of(models: &dyn Models, entry: &RepositoryEntry) -> Self {
        let engine = match entry.state {
            ModelState::Ready => {
                let mut model = ModelRef::new(entry.name.clone());
                model.version = Some(entry.version.clone()).filter(|version| !version.is_empty());
                models
                    .config(&model)
                    .await
                    .map(|config| config.backend)
                    .ok()
            }
            _ => None,
        };
        let state = match entry.reason.as_str() {
            "" => entry.state.name().to_owned(),
            reason => {
                let plain = reason.replace(char::is_control, " ");
                format!("{}: {plain}", entry.state.name())
            }
        };
        Self {
            name: entry.name.clone(),
            version: entry.version.clone(),
            engine: engine.unwrap_or_else(|| "-".to_owned()),
            state,
        }
    }

    fn log(&self) {
        let Self {
            name,
            version,
            engine,
            state,
        } = self;
        tracing::info!(model = name, version, engine, state, "serving");
    }
}

fn table(lines: &[Line], settings: &Settings) -> String {
    if lines.is_empty() {
        return match &settings.model_repository {
            Some(program) if program.is_file() => {
                format!("{}: one handler for every name\n", program.display())
            }
            Some(folder) => format!("no models in {}\n", folder.display()),
            None => {
                "no model repository: only health and server metadata are answered\n".to_owned()
            }
        };
    }
    let width = |of: fn(&Line) -> &str, heading: &str| {
        let widths = lines.iter().map(|line| of(line).chars().count());
        widths.max().unwrap_or(0).max(heading.len())
    };
    let name = width(|line| &line.name, "model");
    let version = width(|line| &line.version, "version");
    let engine = width(|line| &line.engine, "engine");
    let mut text = format!(
        "  {:name$}  {:version$}  {:engine$}  state\n",
        "model", "version", "engine"
    );
    for line in lines {
        let _ = writeln!(
            text,
            "  {:name$}  {:version$}  {:engine$}  {}",
            line.name, line.version, line.engine, line.state
        );
    }
    text
}

/// A model's name as one segment of a path.
fn segment(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    name.bytes().fold(String::new(), |mut text, byte| {
        match plain(byte) {
            true => text.push(char::from(byte)),
            false => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_doors_are_shown_where_a_client_reaches_them() {
        let doors = Doors {
            rest: Some("0.0.0.0:8082".parse().unwrap()),
            grpc: Some("127.0.0.1:8081".parse().unwrap()),
            rest_socket: None,
            grpc_socket: Some("/run/oip/grpc.sock".into()),
            docs: true,
            tls: false,
        };
        let text = doors.as_text();
        assert!(text.contains("REST  http://0.0.0.0:8082"), "{text}");
        assert!(text.contains("http://127.0.0.1:8082/docs"), "{text}");
        assert!(text.contains("gRPC  127.0.0.1:8081"), "{text}");
        assert!(text.contains("gRPC  unix:/run/oip/grpc.sock"), "{text}");
        let text = Doors { tls: true, ..doors }.as_text();
        assert!(text.contains("REST  https://0.0.0.0:8082"), "{text}");
        assert!(text.contains("https://127.0.0.1:8082/docs"), "{text}");
        assert!(text.contains("gRPC  grpcs://127.0.0.1:8081"), "{text}");
    }

    #[test]
    fn a_models_name_is_one_segment_of_the_curl_line() {
        assert_eq!(segment("iris-2.0"), "iris-2.0");
        assert_eq!(segment("a b/c'"), "a%20b%2Fc%27");
    }
}
