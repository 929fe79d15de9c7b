//! Where values come from. Nothing else in this project reads the process environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::otel::OpenTelemetry;

/// Everything that a configuration is resolved from, so that tests bring their own.
///
/// ```
/// use oip::config::{Config, Sources};
///
/// let sources = Sources::default()
///     .with_variable("FASTAPI_PORT", "9000")
///     .with_flag("rest-port", "9001")
///     .with_flag("auth-enabled", "false");
/// let config = Config::resolve(&sources)?;
/// assert_eq!(config.settings()?.listen.rest().port(), 9001);
/// # Ok::<(), oip::config::ConfigError>(())
/// ```
#[derive(Clone, Default)]
pub struct Sources {
    pub(super) flags: Vec<(String, String)>,
    pub(super) environment: BTreeMap<String, OsString>,
    pub(super) program_folder: Option<PathBuf>,
}

/// What there is to know of the process beside the options: to find shared libraries, who has
/// started it, and where its traces go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Surroundings {
    /// The active Python environment (`VIRTUAL_ENV`).
    pub virtual_env: Option<PathBuf>,
    /// The active conda environment (`CONDA_PREFIX`).
    pub conda_prefix: Option<PathBuf>,
    /// Where programs are looked for (`PATH`).
    pub path: Option<OsString>,
    /// The user's folder (`HOME`).
    pub home: Option<PathBuf>,
    /// The folder of this program.
    pub program_folder: Option<PathBuf>,
    /// What the service manager of this process has set.
    pub manager: Manager,
    /// What OpenTelemetry's variables say of traces.
    pub telemetry: OpenTelemetry,
}

/// What a service manager (systemd) tells a service that it starts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Manager {
    /// Where it wants to be told things (`NOTIFY_SOCKET`).
    pub notify_socket: Option<OsString>,
    /// The names of the sockets that it hands over (`LISTEN_FDNAMES`).
    pub socket_names: Option<String>,
    /// How often it wants to hear that the service is alive (`WATCHDOG_USEC`); `None` where it
    /// does not, or where it asks another process (`WATCHDOG_PID`).
    pub watchdog: Option<Duration>,
}

impl Sources {
    /// The environment of this process, and where its program lies.
    #[must_use]
    pub fn process() -> Self {
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let program = std::env::current_exe().ok();
        Self {
            flags: Vec::new(),
            environment: variables.collect(),
            program_folder: program.and_then(|path| Some(path.parent()?.to_owned())),
        }
    }

    /// Adds a flag, named without its dashes. A flag that takes a list may come again.
    #[must_use]
    pub fn with_flag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.flags.push((name.into(), value.into()));
        self
    }

    /// Adds a variable of the environment.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<String>, value: impl Into<OsString>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    pub(super) fn surroundings(&self) -> Surroundings {
        let path = |name| self.variable(name).map(PathBuf::from);
        Surroundings {
            virtual_env: path("VIRTUAL_ENV"),
            conda_prefix: path("CONDA_PREFIX"),
            path: self.variable("PATH").cloned(),
            home: path("HOME"),
            program_folder: self.program_folder.clone(),
            manager: self.manager(),
            telemetry: OpenTelemetry::of(self),
        }
    }

    fn manager(&self) -> Manager {
        let text = |name| self.variable(name)?.to_str().map(str::to_owned);
        let ours = text("WATCHDOG_PID").is_none_or(|id| id == std::process::id().to_string());
        let every = text("WATCHDOG_USEC").and_then(|every| every.parse().ok());
        Manager {
            notify_socket: self.variable("NOTIFY_SOCKET").cloned(),
            socket_names: text("LISTEN_FDNAMES"),
            watchdog: every.filter(|_| ours).map(Duration::from_micros),
        }
    }

    /// A variable that is set and not empty: an empty one counts as not set.
    pub(super) fn variable(&self, name: &str) -> Option<&OsString> {
        self.environment.get(name).filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for Sources {
    /// Names only: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags: Vec<&String> = self.flags.iter().map(|(name, _)| name).collect();
        f.debug_struct("Sources")
            .field("flags", &flags)
            .field("environment", &self.environment.keys())
            .finish()
    }
}

/// Where a value came from, the stronger the later.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody gave one.
    Default,
    /// A properties file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A variable of the environment.
    Environment(String),
    /// The command line: a flag without its dashes.
    Flag(String),
}

impl Origin {
    /// The level of precedence, from 0 for a default to 3 for the command line.
    #[must_use]
    pub const fn level(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File { .. } => 1,
            Self::Environment(_) => 2,
            Self::Flag(_) => 3,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}
