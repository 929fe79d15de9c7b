//! Why a configuration is refused.

use super::source::Origin;

/// Why a configuration is refused. Each message is one line that names the key, where its value
/// came from and what is allowed; it never shows a secret.
#[derive(Debug, thiserror::Error)]
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
    /// Two options that do not go together.
    #[error("{0}")]
    Conflict(String),
    /// Authentication is on and there is nothing to authenticate with.
    #[error(
        "auth_enabled is true ({origin}) and there is no key to check callers with: set auth_secret \
         (OIP_AUTH_SECRET), auth_secret_file, auth_key_file, auth_jwks_file, auth_jwks_url, \
         auth_issuer, auth_api_keys_file or tls_client_ca, or switch authentication off with auth_enabled = false \
         (--auth-enabled false), which lets everyone do everything"
    )]
    NoKey {
        /// Where `auth_enabled` came from.
        origin: Origin,
    },
}
