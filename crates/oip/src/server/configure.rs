//! A server as the configuration describes it.

use std::path::Path;
use std::sync::Arc;

use oip_core::models::{Bounds, Handled};
use oip_core::{DefaultModelHandler, Limits, Models};
use oip_protocol::DecodeLimits;

use super::{ConnectionLimits, Server};
use crate::config::{Listen, Settings};
use crate::door::DoorOptions;
use crate::telemetry::{PostError, Telemetry};

/// Why a configured server cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The repository is not there or cannot be read, or the engine that was named cannot be used.
    #[cfg(feature = "runtime")]
    #[error(transparent)]
    Repository(#[from] oip_runtime::OpenError),
    /// There is a repository, and nothing that could run its models.
    #[error("model_repository {} cannot be served: this build has no engine (feature 'runtime')", .0.display())]
    NoRuntime(std::path::PathBuf),
    /// Keys, policies or the audit are wrong.
    #[cfg(feature = "auth")]
    #[error(transparent)]
    Gates(#[from] crate::gates::GateError),
    /// The files of TLS are wrong.
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    /// TLS is configured, and this build has none.
    #[cfg(not(feature = "tls"))]
    #[error("tls_cert is set and this build speaks no TLS (feature 'tls')")]
    NoTls,
    /// Traces or payloads cannot be sent or written where they should be.
    #[error("otlp_endpoint or payload_log: {0}")]
    Telemetry(#[from] PostError),
    /// Authentication is on, and this build has none.
    #[cfg(not(feature = "auth"))]
    #[error(
        "auth_enabled is true and this build cannot authenticate (feature 'auth'); auth_enabled = \
         false lets everyone do everything, on purpose"
    )]
    NoAuthentication,
}

impl Server {
    /// Applies the settings that concern any server: addresses, limits, doors, shutdown, and the
    /// gates where authentication is switched off. Models stay those of this server.
    ///
    /// Where authentication is on, the server does not start until [`access`](Self::access) or
    /// `gates` says who may come in. TLS is not set up, as its files must be read: see `tls`.
    #[must_use]
    pub fn configure(self, settings: &Settings) -> Self {
        let server = match settings.listen {
            Listen::Two { rest, grpc } => self.rest(rest).grpc(grpc),
            Listen::One(address) => self.one_port(address),
            Listen::RestOnly(address) => self.rest_only(address),
        };
        let server = match settings.auth_enabled {
            true => server,
            false => server.without_authentication(),
        };
        let sockets = &settings.sockets;
        let server = match &sockets.rest {
            Some(path) => server.rest_socket(path),
            None => server,
        };
        let server = match (&sockets.grpc, settings.listen) {
            (Some(path), Listen::Two { .. }) => server.grpc_socket(path),
            _ => server,
        };
        let server = Self {
            settings: Some(Box::new(settings.clone())),
            ..server
        };
        server
            .socket_mode(sockets.mode)
            .limits(limits(settings))
            .bounds(bounds(settings))
            .options(options(settings))
            .connections(connections(settings))
            .metrics(settings.metrics)
            .shutdown(settings.shutdown_delay, settings.shutdown_grace)
    }

    /// A server for the models that the settings name: those of the repository, or without one
    /// the default handler, which answers that nothing is implemented. The models are returned
    /// too, so that whoever starts the server can say what it serves.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_settings(settings: &Settings) -> Result<(Self, Arc<dyn Models>), StartError> {
        let models = models(settings)?;
        Self::before(models, settings)
    }

    /// The same, where the repository may also hold programs that these engines load.
    ///
    /// # Errors
    /// [`StartError`].
    #[cfg(feature = "runtime")]
    pub fn from_settings_with(
        settings: &Settings,
        programs: Vec<oip_runtime::engine::Programs>,
    ) -> Result<(Self, Arc<dyn Models>), StartError> {
        let models = match &settings.model_repository {
            Some(folder) => repository(folder, settings, programs)?,
            None => models(settings)?,
        };
        Self::before(models, settings)
    }

    fn before(
        models: Arc<dyn Models>,
        settings: &Settings,
    ) -> Result<(Self, Arc<dyn Models>), StartError> {
        let server = Self::of_models(Arc::clone(&models)).configure(settings);
        Ok((server.guarded(settings)?, models))
    }

    /// Puts what the settings describe before this server: TLS, and the gates where
    /// authentication is on.
    ///
    /// # Errors
    /// [`StartError`]: certificates, keys or policies are wrong.
    pub fn guarded(self, settings: &Settings) -> Result<Self, StartError> {
        let payloads = settings.payload_log.as_ref();
        let telemetry = Telemetry::new(&settings.traces, payloads)?;
        let server = self.telemetry(telemetry).secured(settings)?;
        match settings.auth_enabled {
            true => server.with_gates(settings),
            false => Ok(server),
        }
    }

    #[cfg(feature = "tls")]
    fn secured(self, settings: &Settings) -> Result<Self, StartError> {
        let Some(files) = settings.tls.clone() else {
            return Ok(self);
        };
        let tls = crate::tls::Tls::open(files)?;
        for warning in tls.warnings() {
            tracing::warn!("{warning}");
        }
        Ok(self.tls(tls))
    }

    #[cfg(not(feature = "tls"))]
    fn secured(self, settings: &Settings) -> Result<Self, StartError> {
        match settings.tls {
            None => Ok(self),
            Some(_) => Err(StartError::NoTls),
        }
    }

    #[cfg(feature = "auth")]
    fn with_gates(self, settings: &Settings) -> Result<Self, StartError> {
        let gates = crate::gates::Gates::new(settings)?;
        for warning in gates.warnings() {
            tracing::warn!("{warning}");
        }
        Ok(self.gates(gates))
    }

    #[cfg(not(feature = "auth"))]
    fn with_gates(self, _: &Settings) -> Result<Self, StartError> {
        Err(StartError::NoAuthentication)
    }
}

fn models(settings: &Settings) -> Result<Arc<dyn Models>, StartError> {
    match &settings.model_repository {
        Some(folder) => repository(folder, settings, Vec::new()),
        None => {
            let names = settings.model_name.clone();
            Ok(Arc::new(Handled::new(DefaultModelHandler, names)))
        }
    }
}

#[cfg(feature = "runtime")]
fn repository(
    folder: &Path,
    settings: &Settings,
    programs: Vec<oip_runtime::engine::Programs>,
) -> Result<Arc<dyn Models>, StartError> {
    use oip_runtime::{ModelControl, Repository, RepositoryOptions};

    let mut options = RepositoryOptions::new(folder);
    options.programs = programs;
    options.single_model = settings.model_name.first().cloned();
    options.control = match settings.model_control {
        crate::config::ModelControl::Explicit => ModelControl::Explicit,
        crate::config::ModelControl::None => ModelControl::None,
        crate::config::ModelControl::Poll => ModelControl::Poll,
    };
    options.onnxruntime = onnxruntime(settings);
    options.threads = settings.threads;
    options.concurrency = settings.model_concurrency;
    options.queue = settings.model_queue;
    options.poll_interval = settings.poll_interval;
    Ok(Repository::open(options)?)
}

/// Which ONNX Runtime the settings ask for.
#[cfg(feature = "runtime")]
#[must_use]
pub fn onnxruntime(settings: &Settings) -> oip_runtime::OnnxRuntime {
    use oip_runtime::{OnnxRuntime, Surroundings};

    let around = &settings.surroundings;
    match &settings.onnxruntime_library {
        Some(word) if word.as_os_str() == "off" => OnnxRuntime::Off,
        Some(library) => OnnxRuntime::Library(library.clone()),
        None => OnnxRuntime::Find(Surroundings {
            virtual_env: around.virtual_env.clone(),
            conda_prefix: around.conda_prefix.clone(),
            path: around.path.clone(),
            home: around.home.clone(),
            program_folder: around.program_folder.clone(),
        }),
    }
}

#[cfg(not(feature = "runtime"))]
fn repository(folder: &Path, _: &Settings, _: Vec<()>) -> Result<Arc<dyn Models>, StartError> {
    Err(StartError::NoRuntime(folder.to_owned()))
}

/// What each model of a handler in code may take: by default as many as may wait, and one for each
/// thread. Where nothing is said a handler in Python has four threads and one for each processor.
#[must_use]
pub fn bounds(settings: &Settings) -> Bounds {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = || settings.threads.unwrap_or_else(|| processors() + 4);
    match settings.model_concurrency {
        Some(at_once) => Bounds {
            at_once,
            queue: settings.model_queue,
        },
        None => Bounds {
            at_once: settings.model_queue.saturating_add(threads()),
            queue: 0,
        },
    }
}

fn limits(settings: &Settings) -> Limits {
    let mut limits = Limits::default();
    limits.in_flight = settings.in_flight;
    limits.request_timeout = settings.request_timeout;
    // One body that is not over its limit must fit.
    limits.body_memory = settings.body_memory.max(settings.body_limit);
    limits.rate_limit = settings.rate_limit;
    limits.rate_burst = settings.rate_burst;
    limits
}

pub(super) fn options(settings: &Settings) -> DoorOptions {
    let mut decode = DecodeLimits::default();
    decode.json_depth = settings.json_depth;
    decode.tensors = settings.tensors_limit;
    decode.strings = settings.strings_limit;
    decode.parameters = settings.parameters_limit;
    DoorOptions {
        body_limit: settings.body_limit,
        body_timeout: settings.body_timeout,
        body_time: settings.body_time,
        decode,
        forward_headers: settings.forward_headers.clone(),
        cors_origins: settings.cors_origins.clone(),
        non_finite: settings.json_non_finite,
        docs: settings.docs,
        probes_by_policy: settings.probes_by_policy,
        trusted_proxies: settings.trusted_proxies.clone(),
        access_log: settings.access_log,
        server_timing: settings.server_timing,
        // As the server's own `metrics` says.
        metrics_elsewhere: false,
    }
}

fn connections(settings: &Settings) -> ConnectionLimits {
    ConnectionLimits {
        connections: settings.connections,
        header_bytes: settings.header_limit,
        header_timeout: settings.header_timeout,
        write_timeout: settings.write_timeout,
        idle: settings.connection_idle,
        age: settings.connection_age,
        keep_alive: settings.keep_alive,
        streams: settings.streams,
    }
}
