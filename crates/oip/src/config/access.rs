//! The settings of who may come in, what they may do, and what is written down of it.

use std::path::PathBuf;
use std::time::Duration;

use super::Config;
use super::error::{ConfigError, Faults};
use super::reader::Reader;
use super::secret::Secret;
use super::settings::unfit;

words! {
    /// Who decides what a caller may do.
    PdpKind {
        /// Policies in this process.
        Embedded = "embedded",
        /// A XACML 3.0 decision point.
        Xacml = "xacml",
        /// An OpenID AuthZEN decision point.
        Authzen = "authzen",
        /// Open Policy Agent.
        Opa = "opa",
    }
}

/// Who may come in, what they may do, and what is written down of it. Each field is the option
/// of its name.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "each field is described in the table of options"
)]
pub struct AccessSettings {
    pub auth_secret: Option<Secret>,
    pub auth_secret_file: Option<PathBuf>,
    pub auth_key_file: Option<PathBuf>,
    pub auth_jwks_file: Option<PathBuf>,
    pub auth_jwks_url: Option<String>,
    pub auth_algorithm: Vec<String>,
    pub auth_issuer: Option<String>,
    pub auth_audience: Vec<String>,
    pub auth_subject_claim: String,
    pub auth_roles_claim: String,
    pub auth_require_exp: bool,
    pub auth_leeway: Duration,
    pub auth_max_token_bytes: usize,
    pub auth_token_cache: usize,
    pub auth_jwks_refresh: Duration,
    pub auth_jwks_stale: Duration,
    pub auth_jwks_timeout: Duration,
    pub auth_jwks_ca_file: Option<PathBuf>,
    pub auth_jwks_token_file: Option<PathBuf>,
    pub auth_api_keys_file: Option<PathBuf>,
    /// Whether the doors verify client certificates (`tls_client_ca`).
    pub client_certificates: bool,
    /// `pdp`, or what follows from `pdp_url` where that is not given.
    pub pdp: PdpKind,
    /// Always there where `pdp` is remote.
    pub pdp_url: Option<String>,
    pub pdp_timeout: Duration,
    pub pdp_cache_ttl: Duration,
    pub pdp_ca_file: Option<PathBuf>,
    pub pdp_token_file: Option<PathBuf>,
    pub policy_file: Option<PathBuf>,
    /// Whether refusals are only logged (`policy_mode = shadow`).
    pub policy_shadow: bool,
    pub audit_file: Option<PathBuf>,
    pub audit_key_file: Option<PathBuf>,
    /// Whether calls go on whose line cannot be written (`audit_failure = continue`).
    pub audit_lossy: bool,
}

impl AccessSettings {
    pub(super) fn new(config: &Config) -> Result<Self, ConfigError> {
        let mut faults = Faults::default();
        let settings = Self::gather(&Reader(config), &mut faults);
        faults.but_for(&config.wrong).none().map(|()| settings)
    }

    /// The settings, and what is wrong with them.
    pub(super) fn gather(read: &Reader<'_>, faults: &mut Faults) -> Self {
        faults.or(jwks_times(read), ());
        faults.or(audit_that_cannot_refuse(read), ());
        Self {
            auth_secret: read.secret("auth_secret"),
            auth_secret_file: read.path("auth_secret_file"),
            auth_key_file: read.path("auth_key_file"),
            auth_jwks_file: read.path("auth_jwks_file"),
            auth_jwks_url: read.text("auth_jwks_url"),
            auth_algorithm: words_of(read.text("auth_algorithm")),
            auth_issuer: read.text("auth_issuer"),
            auth_audience: read.list("auth_audience"),
            auth_subject_claim: read.text("auth_subject_claim").unwrap_or_default(),
            auth_roles_claim: read.text("auth_roles_claim").unwrap_or_default(),
            auth_require_exp: read.bool("auth_require_exp"),
            auth_leeway: read.duration("auth_leeway"),
            auth_max_token_bytes: read.number("auth_max_token_bytes"),
            auth_token_cache: read.number("auth_token_cache"),
            auth_jwks_refresh: read.duration("auth_jwks_refresh"),
            auth_jwks_stale: read.duration("auth_jwks_stale"),
            auth_jwks_timeout: faults.or(some_time(read, "auth_jwks_timeout"), Duration::MAX),
            auth_jwks_ca_file: read.path("auth_jwks_ca_file"),
            auth_jwks_token_file: read.path("auth_jwks_token_file"),
            auth_api_keys_file: read.path("auth_api_keys_file"),
            client_certificates: read.path("tls_client_ca").is_some(),
            pdp: faults.or(pdp(read), PdpKind::Embedded),
            pdp_url: read.text("pdp_url"),
            pdp_timeout: faults.or(some_time(read, "pdp_timeout"), Duration::MAX),
            pdp_cache_ttl: read.duration("pdp_cache_ttl"),
            pdp_ca_file: read.path("pdp_ca_file"),
            pdp_token_file: read.path("pdp_token_file"),
            policy_file: read.path("policy_file"),
            policy_shadow: read.text("policy_mode").as_deref() == Some("shadow"),
            audit_file: read.path("audit_file"),
            audit_key_file: read.path("audit_key_file"),
            audit_lossy: read.text("audit_failure").as_deref() == Some("continue"),
        }
    }

    /// Whether there is anything to check a caller with.
    #[must_use]
    pub fn has_key(&self) -> bool {
        let secret = self.auth_secret.as_ref();
        secret.is_some_and(|secret| !secret.expose().trim().is_empty())
            || self.auth_secret_file.is_some()
            || self.auth_key_file.is_some()
            || self.auth_jwks_file.is_some()
            || self.auth_jwks_url.is_some()
            || self.auth_issuer.is_some()
            || self.auth_api_keys_file.is_some()
            || self.client_certificates
    }
}

/// Refusal that is asked for where nothing tells whether a line was written. That it is the
/// default promises nothing; whoever writes it relies on it.
fn audit_that_cannot_refuse(read: &Reader<'_>) -> Result<(), ConfigError> {
    let [file, failure] = ["audit_file", "audit_failure"].map(|key| read.entry(key));
    let refuses = failure.is_given() && read.text("audit_failure").as_deref() == Some("refuse");
    if !refuses || file.is_given() || !read.bool("auth_enabled") {
        return Ok(());
    }
    Err(ConfigError::Conflict {
        sentence: format!(
            "audit_failure is refuse ({}) and audit_file is not set: audit lines go to the log \
             then, and nobody could be refused when it cannot be written; set audit_file, or \
             leave audit_failure out",
            failure.origin
        ),
        keys: &["audit_failure", "audit_file", "auth_enabled"],
    })
}

fn words_of(text: Option<String>) -> Vec<String> {
    let text = text.unwrap_or_default();
    text.split(',').map(|word| word.trim().to_owned()).collect()
}

/// A time within which nothing can be done would refuse everybody.
fn some_time(read: &Reader<'_>, key: &'static str) -> Result<Duration, ConfigError> {
    match read.duration(key) {
        time if time.is_zero() => {
            let shown = read.entry(key).shown();
            Err(unfit(read, key, shown, "a time of more than 0s"))
        }
        time => Ok(time),
    }
}

/// Least time between two fetches of a key set, however short `auth_jwks_refresh` is.
const LEAST_REFRESH: Duration = Duration::from_secs(10);

/// A key set is in force at least until it may be fetched again, else callers would be refused in
/// between.
fn jwks_times(read: &Reader<'_>) -> Result<(), ConfigError> {
    let [refresh, stale] = ["auth_jwks_refresh", "auth_jwks_stale"].map(|key| read.entry(key));
    if read.duration("auth_jwks_stale") < LEAST_REFRESH {
        let allowed = "a time of 10s or more: a key set is fetched once in 10s at most";
        return Err(unfit(read, "auth_jwks_stale", stale.shown(), allowed));
    }
    if read.duration("auth_jwks_stale") < read.duration("auth_jwks_refresh") {
        return Err(ConfigError::Conflict {
            sentence: format!(
                "auth_jwks_stale is {} ({}) and auth_jwks_refresh is {} ({}): a key set must stay \
                 in force until it is fetched again, so auth_jwks_stale must be as long or longer",
                stale.shown(),
                stale.origin,
                refresh.shown(),
                refresh.origin
            ),
            keys: &["auth_jwks_refresh", "auth_jwks_stale"],
        });
    }
    Ok(())
}

/// What says who decides.
const DECIDES: &[&str] = &["pdp", "pdp_url", "policy_file"];

/// Who decides: never two at once, and never one that cannot be asked.
pub(super) fn pdp(read: &Reader<'_>) -> Result<PdpKind, ConfigError> {
    let (url, file) = (read.entry("pdp_url"), read.entry("policy_file"));
    if read.entry("pdp").is_given() {
        let kind = read.word("pdp", PdpKind::of);
        if kind != PdpKind::Embedded && !url.is_given() {
            return Err(ConfigError::Conflict {
                sentence: format!(
                    "pdp is {} ({}) and pdp_url does not say where it is",
                    kind.as_str(),
                    read.entry("pdp").origin
                ),
                keys: DECIDES,
            });
        }
        return Ok(kind);
    }
    match (url.is_given(), file.is_given()) {
        (true, true) => Err(ConfigError::Conflict {
            sentence: format!(
                "pdp_url ({}) and policy_file ({}) both say who decides: set pdp to embedded, \
                 xacml, authzen or opa",
                url.origin, file.origin
            ),
            keys: DECIDES,
        }),
        (true, false) => Ok(PdpKind::Xacml),
        (false, _) => Ok(PdpKind::Embedded),
    }
}
