//! What is to be configured about who may come in, and what is wrong with a configuration.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::http::HttpError;
use crate::jwt::{Algorithm, AlgorithmError, PemError, RemoteOptions};
use crate::secret::Secret;

/// Who may come in, as plain data. Fields bear the names of the options that set them.
///
/// Exactly one of `secret`, `secret_file`, `key_file`, `jwks_file`, `jwks_url` is the key of bearer
/// tokens; with none of them but an `issuer`, its key set is found by OpenID Connect Discovery.
#[derive(Debug, Clone)]
pub struct AuthenticationConfig {
    /// `auth_algorithm`: the only ones whose tokens are accepted. Empty means HS256.
    pub algorithms: Vec<String>,
    /// `auth_secret`: a shared secret (HS*) or a PEM public key or certificate. Blank means none.
    pub secret: Option<Secret>,
    /// `auth_secret_file`: the same in a file, taken literally but for one line break at its end.
    pub secret_file: Option<PathBuf>,
    /// `auth_key_file`: a PEM public key or certificate.
    pub key_file: Option<PathBuf>,
    /// `auth_jwks_file`: a JSON Web Key Set.
    pub jwks_file: Option<PathBuf>,
    /// `auth_jwks_url`: a JSON Web Key Set; https unless on this machine.
    pub jwks_url: Option<String>,
    /// `auth_issuer`: the `iss` that tokens must have.
    pub issuer: Option<String>,
    /// `auth_audience`: tokens must have one of these in `aud`. When empty, a token that has an
    /// `aud` is refused.
    pub audience: Vec<String>,
    /// `auth_subject_claim`: the path of the claim that names the caller.
    pub subject_claim: String,
    /// `auth_roles_claim`: the path of the claim that lists the caller's roles.
    pub roles_claim: String,
    /// `auth_require_exp`: whether a token without `exp` is refused.
    pub require_exp: bool,
    /// `auth_leeway`: clock skew that is forgiven; to the second.
    pub leeway: Duration,
    /// `auth_max_token_bytes`: the longest token.
    pub max_token_bytes: usize,
    /// `auth_token_cache`: how many checked tokens are remembered; 0 for none.
    pub token_cache: usize,
    /// How a key set behind a URL is kept: `auth_jwks_refresh`, `auth_jwks_stale`,
    /// `auth_jwks_token_file`.
    pub jwks: RemoteOptions,
    /// `auth_jwks_timeout`: for fetching a key set.
    pub jwks_timeout: Duration,
    /// `auth_jwks_ca_file`: PEM file of the authorities to trust when fetching a key set, in place of the system's.
    pub jwks_ca_file: Option<PathBuf>,
    /// `auth_api_keys_file`: hashed API keys.
    pub api_keys_file: Option<PathBuf>,
    /// Whether the doors verify client certificates: a way in of its own.
    pub client_certificates: bool,
}

impl Default for AuthenticationConfig {
    /// No way in at all, and the defaults of everything else.
    fn default() -> Self {
        Self {
            algorithms: Vec::new(),
            secret: None,
            secret_file: None,
            key_file: None,
            jwks_file: None,
            jwks_url: None,
            issuer: None,
            audience: Vec::new(),
            subject_claim: "sub".to_owned(),
            roles_claim: "roles".to_owned(),
            require_exp: true,
            leeway: Duration::from_secs(30),
            max_token_bytes: 16 << 10,
            token_cache: 10_000,
            jwks: RemoteOptions::default(),
            jwks_timeout: Duration::from_secs(5),
            jwks_ca_file: None,
            api_keys_file: None,
            client_certificates: false,
        }
    }
}

/// Why a server must not start with this configuration.
#[derive(Debug, Error)]
pub enum AuthConfigError {
    /// No way in.
    #[error(
        "auth_enabled is true and there is no key to check callers with: set one (auth_secret, \
         auth_secret_file, auth_key_file, auth_jwks_file, auth_jwks_url, auth_issuer, or \
         auth_api_keys_file for API keys, tls_client_ca for client certificates), or switch authentication off with auth_enabled = false, \
         which lets everyone do everything"
    )]
    NoKey,
    /// More than one key for bearer tokens.
    #[error("{0} and {1} both name the key of bearer tokens: leave one of them out")]
    SeveralKeys(&'static str, &'static str),
    /// An algorithm that is none.
    #[error(transparent)]
    Algorithm(#[from] AlgorithmError),
    /// Algorithms that need different kinds of keys, with one key.
    #[error(
        "auth_algorithm names {0} and {1}, which need different kinds of keys, and {2} is one key"
    )]
    MixedFamilies(Algorithm, Algorithm, &'static str),
    /// An HS algorithm with a public key.
    #[error(
        "{key} is a public key and auth_algorithm is {algorithm}, which needs a shared secret: set \
         auth_algorithm to what the tokens are signed with (RS256, ES256, EdDSA, ...)"
    )]
    PublicKeyForSecret {
        /// The option that holds the key.
        key: &'static str,
        /// The algorithm.
        algorithm: Algorithm,
    },
    /// A public-key algorithm with a key of another kind.
    #[error("auth_algorithm is {algorithm}, and {key} holds a key of another kind ({found})")]
    OtherKind {
        /// The option that holds the key.
        key: &'static str,
        /// The algorithm.
        algorithm: Algorithm,
        /// What was found.
        found: &'static str,
    },
    /// A public-key algorithm and no usable key.
    #[error("auth_algorithm is {algorithm}, and {key} {fault}")]
    Pem {
        /// The option that holds the key.
        key: &'static str,
        /// The algorithm.
        algorithm: Algorithm,
        /// What is wrong.
        fault: PemError,
    },
    /// A file that cannot be read or is wrong.
    #[error("{key}: {}: {fault}", path.display())]
    File {
        /// The option that names the file.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: String,
    },
    /// A URL that is not called, or a file of what is shown there.
    #[error("{key}: {fault}")]
    Url {
        /// The option that holds it.
        key: &'static str,
        /// What is wrong.
        fault: HttpError,
    },
    /// A claim without a name.
    #[error("{0} is empty")]
    EmptyClaim(&'static str),
}
