//! The gates as the configuration describes them: who may come in, what they may do, and what is
//! written down of it.
//!
//! Keys, policies and addresses are read and checked at once ([`Gates::new`]); the audit is opened
//! when a server binds its doors, as one process alone keeps a file.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use oip_auth::audit::{AuditError, AuditFailure, AuditKey, AuditLog, AuditOptions, AuditTarget};
use oip_auth::http::{HttpClient, HttpError, HttpOptions};
use oip_auth::pdp::authzen::AuthZen;
#[cfg(feature = "cedar")]
use oip_auth::pdp::embedded::{Embedded, PolicyError};
use oip_auth::pdp::opa::Opa;
use oip_auth::pdp::xacml::Xacml;
use oip_auth::pdp::{Enforced, Explain, GuardOptions, Guarded, PolicyMode, ProbeAccess};
use oip_auth::{AuthConfigError, Authentication, AuthenticationConfig, RemoteOptions};
use oip_core::Access;

use crate::config::{AccessSettings, PdpKind, Settings};

/// How often the policy file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

#[cfg(unix)]
fn is_device(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_char_device())
}

#[cfg(not(unix))]
fn is_device(_: &Path) -> bool {
    false
}

/// Why there are no gates. A server must not start then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// Callers cannot be checked like this.
    #[error(transparent)]
    Authentication(#[from] AuthConfigError),
    /// The policies are wrong.
    #[cfg(feature = "cedar")]
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The policy decision point is not one that can be called.
    #[error("{key}: {fault}")]
    Pdp {
        /// The option that names what is wrong.
        key: &'static str,
        /// What is wrong.
        fault: HttpError,
    },
    /// The audit cannot be kept.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Policies are to be decided here, and this build cannot.
    #[error("pdp is embedded, and this build has no policies of its own (feature 'cedar')")]
    NoCedar,
}

impl From<HttpError> for GateError {
    fn from(fault: HttpError) -> Self {
        let key = match fault {
            HttpError::Authorities(_) => "pdp_ca_file",
            HttpError::Token(_) => "pdp_token_file",
            _ => "pdp_url",
        };
        Self::Pdp { key, fault }
    }
}

/// Who may come in and who decides, ready to be opened.
pub struct Gates {
    authentication: Arc<Authentication>,
    pdp: DecisionPoint,
    settings: AccessSettings,
    probes: ProbeAccess,
    audit_key: Option<AuditKey>,
    warnings: Vec<String>,
}

impl Gates {
    /// Reads keys and policies and checks that they fit together. Nothing is fetched and nothing
    /// written.
    ///
    /// # Errors
    /// [`GateError`], a sentence for the operator.
    pub fn new(settings: &Settings) -> Result<Self, GateError> {
        let access = &settings.access;
        let (authentication, mut warnings) = Authentication::new(&authentication(access))?;
        let audit_key = access.audit_key_file.as_deref().map(AuditKey::from_file);
        let remote = access.pdp != PdpKind::Embedded;
        if remote && access.policy_file.is_some() {
            warnings.push("policy_file is not used: a remote decision point decides (pdp)".into());
        }
        let named = [
            ("pdp_url", access.pdp_url.is_some()),
            ("pdp_ca_file", access.pdp_ca_file.is_some()),
            ("pdp_token_file", access.pdp_token_file.is_some()),
        ];
        for (key, _) in named.iter().filter(|(_, given)| *given && !remote) {
            let sentence = "is not used: policies are decided here (pdp = embedded)";
            warnings.push(format!("{key} {sentence}"));
        }
        if access.audit_file.as_deref().is_some_and(is_device) {
            let sentence = "audit_file is a device: what is written there cannot be read back, so \
                            it is no audit that could be verified";
            warnings.push(sentence.to_owned());
        }
        let pdp = DecisionPoint::new(access)?;
        if pdp.refuses_everybody() {
            let sentence = "policy_file holds no policy: everybody is refused everything";
            warnings.push(sentence.to_owned());
        }
        Ok(Self {
            authentication: Arc::new(authentication),
            pdp,
            settings: access.clone(),
            probes: match settings.probes_by_policy {
                true => ProbeAccess::Policy,
                false => ProbeAccess::Open,
            },
            audit_key: audit_key.transpose()?,
            warnings,
        })
    }

    /// What the operator should be told at start, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Opens the audit and makes the gates of a server.
    ///
    /// # Errors
    /// [`GateError::Audit`].
    pub fn open(self) -> Result<(Access, Keeper), GateError> {
        let audit = AuditLog::open(AuditOptions {
            target: match self.settings.audit_file.clone() {
                Some(file) => AuditTarget::File(file),
                None => AuditTarget::Log,
            },
            key: self.audit_key,
            failure: match self.settings.audit_lossy {
                true => AuditFailure::Continue,
                false => AuditFailure::Refuse,
            },
            ..AuditOptions::default()
        })?;
        let mode = match self.settings.policy_shadow {
            true => PolicyMode::Shadow,
            false => PolicyMode::Enforce,
        };
        let guarded = Guarded::new(self.pdp.explain(), &self.pdp.guard(&self.settings));
        let enforced = Enforced::new(Arc::new(guarded))
            .mode(mode)
            .probes(self.probes)
            .audit(audit.clone());
        let authentication = Arc::clone(&self.authentication);
        let keeper = Keeper {
            authentication: self.authentication,
            pdp: self.pdp,
            audit,
        };
        Ok((Access::new(authentication, Arc::new(enforced)), keeper))
    }
}

/// Keeps open gates working: key sets that are fetched, policies that are read again, the audit.
pub struct Keeper {
    authentication: Arc<Authentication>,
    pdp: DecisionPoint,
    audit: AuditLog,
}

impl Keeper {
    /// Fetches key sets and watches policies, in tasks of their own. Must be called within a tokio
    /// runtime.
    pub fn start(&self) {
        let authentication = Arc::clone(&self.authentication);
        tokio::spawn(async move { authentication.prepare().await });
        self.pdp.watch(LOOK_EVERY);
    }

    /// Begins a new audit file where the one in use was moved away, and says what became of it.
    /// What is returned blocks.
    pub fn reopener(&self) -> impl Fn() + Send + Sync + 'static {
        let audit = self.audit.clone();
        move || {
            if let Err(error) = audit.reopen() {
                tracing::error!(%error, "no new audit file is begun");
            }
        }
    }

    /// Writes what is waiting of the audit, and its head to the log.
    pub async fn close(self) {
        let audit = self.audit;
        // It blocks until the last line is written.
        let closed = tokio::task::spawn_blocking(move || audit.close()).await;
        if let Err(error) = closed {
            tracing::error!(%error, "the audit was not closed");
        }
    }
}

/// The policy decision point that the configuration names.
pub struct DecisionPoint {
    kind: PdpKind,
    asked: Arc<dyn Explain>,
    #[cfg(feature = "cedar")]
    embedded: Option<Arc<Embedded>>,
}

impl DecisionPoint {
    /// The decision point of these settings. Policies are read, nobody is asked.
    ///
    /// # Errors
    /// [`GateError::Policy`], [`GateError::Pdp`], [`GateError::NoCedar`].
    pub fn new(settings: &AccessSettings) -> Result<Self, GateError> {
        if settings.pdp == PdpKind::Embedded {
            return Self::embedded(settings);
        }
        let client = Arc::new(HttpClient::new(HttpOptions {
            timeout: settings.pdp_timeout,
            ca_file: settings.pdp_ca_file.clone(),
            token_file: settings.pdp_token_file.clone(),
            ..HttpOptions::default()
        })?);
        let url = settings.pdp_url.as_deref().unwrap_or_default();
        let asked: Arc<dyn Explain> = match settings.pdp {
            PdpKind::Authzen => Arc::new(AuthZen::new(client, url)?),
            PdpKind::Opa => Arc::new(Opa::new(client, url)?),
            PdpKind::Xacml | PdpKind::Embedded => Arc::new(Xacml::new(client, url)?),
        };
        Ok(Self {
            kind: settings.pdp,
            asked,
            #[cfg(feature = "cedar")]
            embedded: None,
        })
    }

    #[cfg(feature = "cedar")]
    fn embedded(settings: &AccessSettings) -> Result<Self, GateError> {
        let embedded = Arc::new(match &settings.policy_file {
            Some(file) => Embedded::from_file(file)?,
            None => Embedded::builtin()?,
        });
        let asked: Arc<dyn Explain> = Arc::clone(&embedded) as _;
        Ok(Self {
            kind: PdpKind::Embedded,
            asked,
            embedded: Some(embedded),
        })
    }

    #[cfg(not(feature = "cedar"))]
    fn embedded(_: &AccessSettings) -> Result<Self, GateError> {
        Err(GateError::NoCedar)
    }

    /// The decision point itself, which can also show what it is asked.
    #[must_use]
    pub fn explain(&self) -> Arc<dyn Explain> {
        Arc::clone(&self.asked)
    }

    /// What is decided here needs neither a cache (it has its own, which knows when policies
    /// change) nor a breaker.
    fn guard(&self, settings: &AccessSettings) -> GuardOptions {
        let remote = GuardOptions {
            timeout: settings.pdp_timeout,
            cache_ttl: settings.pdp_cache_ttl,
            ..GuardOptions::default()
        };
        match self.kind {
            PdpKind::Embedded => GuardOptions {
                cache_ttl: Duration::ZERO,
                breaker_faults: 0,
                ..remote
            },
            _ => remote,
        }
    }

    #[cfg(feature = "cedar")]
    fn refuses_everybody(&self) -> bool {
        let embedded = self.embedded.as_ref();
        embedded.is_some_and(|embedded| embedded.is_empty())
    }

    #[cfg(not(feature = "cedar"))]
    fn refuses_everybody(&self) -> bool {
        false
    }

    fn watch(&self, every: Duration) {
        #[cfg(feature = "cedar")]
        if let Some(embedded) = &self.embedded {
            embedded.watch(every);
        }
        #[cfg(not(feature = "cedar"))]
        let _ = every;
    }
}

fn authentication(settings: &AccessSettings) -> AuthenticationConfig {
    let secret = settings.auth_secret.as_ref();
    AuthenticationConfig {
        algorithms: settings.auth_algorithm.clone(),
        secret: secret.map(|secret| oip_auth::Secret::new(secret.expose())),
        secret_file: settings.auth_secret_file.clone(),
        key_file: settings.auth_key_file.clone(),
        jwks_file: settings.auth_jwks_file.clone(),
        jwks_url: settings.auth_jwks_url.clone(),
        issuer: settings.auth_issuer.clone(),
        audience: settings.auth_audience.clone(),
        subject_claim: settings.auth_subject_claim.clone(),
        roles_claim: settings.auth_roles_claim.clone(),
        require_exp: settings.auth_require_exp,
        leeway: settings.auth_leeway,
        max_token_bytes: settings.auth_max_token_bytes,
        token_cache: settings.auth_token_cache,
        jwks: RemoteOptions {
            refresh_after: settings.auth_jwks_refresh,
            stale_for: settings.auth_jwks_stale,
            token_file: settings.auth_jwks_token_file.clone(),
            ..RemoteOptions::default()
        },
        jwks_timeout: settings.auth_jwks_timeout,
        jwks_ca_file: settings.auth_jwks_ca_file.clone(),
        api_keys_file: settings.auth_api_keys_file.clone(),
        client_certificates: settings.client_certificates,
    }
}
