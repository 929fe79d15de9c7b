//! Why a configuration is refused.

use super::source::Origin;

/// Why a configuration is refused. Each message is one line that names the key, where its value
/// came from and what is allowed; it never shows a secret.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value that its option does not take.
    #[error("{key} is {shown} ({origin}): expected {allowed}")]
    Value {
        /// The option.
        key: &'static str,
        /// The value in quotes, or `***`.
        shown: String,
        /// Where it came from.
        origin: Origin,
        /// What the option takes.
        allowed: String,
    },
    /// A value of the environment that is no text.
    #[error("{key} (environment variable {variable}) is not UTF-8")]
    NotText {
        /// The option.
        key: &'static str,
        /// The variable.
        variable: String,
    },
    /// A flag that no option has.
    #[error("--{0} is not known")]
    Flag(String),
    /// A properties file that cannot be read.
    #[error("cannot read {path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// An encrypted value that cannot be decrypted.
    #[error("{key} ({origin}) is ENC(...) and cannot be decrypted: {reason}")]
    Encrypted {
        /// The option.
        key: &'static str,
        /// Where it came from.
        origin: Origin,
        /// Why.
        reason: &'static str,
    },
    /// A secret of a file that is the name of a variable which is not set.
    #[error(
        "{key} ({origin}) is only the name of a variable of the environment, and that is not set: \
         the name itself would be the secret; set the variable, or give a secret that really \
         reads like this in {instead}, which is taken literally"
    )]
    Unset {
        /// The option.
        key: &'static str,
        /// Where it came from.
        origin: Origin,
        /// Where it would be taken literally.
        instead: String,
    },
    /// Options that do not go together.
    #[error("{sentence}")]
    Conflict {
        /// What is wrong.
        sentence: String,
        /// The options.
        keys: &'static [&'static str],
    },
    /// Authentication is on and there is nothing to authenticate with.
    #[error(
        "auth_enabled is true ({origin}){blank} and there is no key to check callers with: set auth_secret \
         (OIP_AUTH_SECRET), auth_secret_file, auth_key_file, auth_jwks_file, auth_jwks_url, \
         auth_issuer, auth_api_keys_file or tls_client_ca, or switch authentication off with auth_enabled = false \
         (--auth-enabled false), which lets everyone do everything"
    )]
    NoKey {
        /// Where `auth_enabled` came from.
        origin: Origin,
        /// What is to be said of a secret that was given and is blank; empty where none was.
        blank: String,
    },
    /// Several of them, one a line.
    #[error("{}", lines(.0))]
    Several(Vec<ConfigError>),
}

impl ConfigError {
    /// Each error by itself.
    #[must_use]
    pub fn each(&self) -> &[Self] {
        match self {
            Self::Several(errors) => errors,
            one => std::slice::from_ref(one),
        }
    }
}

fn lines(errors: &[ConfigError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Gathers what is wrong, so that all of it is told at once.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<ConfigError>);

impl Faults {
    /// Adds a fault; one that is told already is not told twice.
    pub(super) fn add(&mut self, error: ConfigError) {
        for error in error.each() {
            let known = self.0.iter().map(ToString::to_string);
            if !known.into_iter().any(|known| known == error.to_string()) {
                self.0.push(error.clone());
            }
        }
    }

    /// What was found; `None` where a fault was, which is added.
    pub(super) fn take<T>(&mut self, found: Result<T, ConfigError>) -> Option<T> {
        found.map_err(|error| self.add(error)).ok()
    }

    /// What was found, and something in its place where a fault was.
    pub(super) fn or<T>(&mut self, found: Result<T, ConfigError>, instead: T) -> T {
        self.take(found).unwrap_or(instead)
    }

    /// Leaves out what may be wrong only because an option's value makes no sense.
    pub(super) fn but_for(mut self, wrong: &[&'static str]) -> Self {
        self.0.retain(|error| match error {
            ConfigError::Conflict { keys, .. } => !keys.iter().any(|key| wrong.contains(key)),
            ConfigError::NoKey { .. } => !wrong.iter().any(|key| key.starts_with("auth_")),
            _ => true,
        });
        self
    }

    /// # Errors
    /// What is wrong, if anything is.
    pub(super) fn none(mut self) -> Result<(), ConfigError> {
        match self.0.len() {
            0 => Ok(()),
            1 => Err(self.0.swap_remove(0)),
            _ => Err(ConfigError::Several(self.0)),
        }
    }
}
