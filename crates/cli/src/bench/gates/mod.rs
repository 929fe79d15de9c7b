//! What authentication, the audit and the access log cost: our server with each of them.
//!
//! The tokens beside this file are valid until the year 2100 and open nothing but these servers.
//! The secret of the first is below; the private key of the second was thrown away.

use std::io;
use std::path::Path;
use std::sync::Arc;

use oip::auth::pdp::embedded::Embedded;
use oip::auth::pdp::{Enforced, GuardOptions, Guarded};
use oip::auth::{Authentication, AuthenticationConfig, Secret};
use oip::config::{Config, Settings, Sources};
use oip::gates::Gates;
use oip::{Access, Server, logging};

use super::identity;
use crate::credential::Credential;

const SECRET: &str = "oip-bench-measures-with-this-known-secret";
const HS256_TOKEN: &str = include_str!("hs256.jwt");
const RS256_TOKEN: &str = include_str!("rs256.jwt");
const RS256_KEY: &str = include_str!("rs256.pem");

/// What stands around the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variant {
    /// HS256 tokens and the built-in policy, and nothing written down: the two gates alone. No
    /// configuration gives this, a server always keeps an audit; Rust programs can leave it out.
    Gates,
    /// HS256 tokens, the built-in policy, the audit in a file.
    Hs256,
    /// The same, and no request waits for its line (`audit_failure = continue`).
    Unawaited,
    /// The same as the first, and no token is remembered (`auth_token_cache = 0`).
    Uncached,
    /// RS256 tokens, the built-in policy, the audit in a file.
    Rs256,
    /// The same, and no token is remembered.
    Rs256Uncached,
    /// HS256 tokens, the built-in policy, the audit in the log: the defaults.
    AuditToLog,
    /// No authentication, and an access log.
    AccessLog,
}

impl Variant {
    pub(super) const ALL: [Self; 8] = [
        Self::Gates,
        Self::Unawaited,
        Self::Hs256,
        Self::Uncached,
        Self::Rs256,
        Self::Rs256Uncached,
        Self::AuditToLog,
        Self::AccessLog,
    ];

    /// Its name in the report and on the command line of the process.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gates => "hs256-cedar",
            Self::Unawaited => "hs256-audit-unawaited",
            Self::Hs256 => "hs256-audit-file",
            Self::Uncached => "hs256-no-token-cache",
            Self::Rs256 => "rs256-audit-file",
            Self::Rs256Uncached => "rs256-no-token-cache",
            Self::AuditToLog => "hs256-audit-log",
            Self::AccessLog => "access-log",
        }
    }

    /// What is shown. It is shown where authentication is off, too: the requests are the
    /// same, and what differs is what the server does with them.
    pub(super) fn credential(self) -> Credential {
        match self {
            Self::Rs256 | Self::Rs256Uncached => Credential::bearer(RS256_TOKEN.trim()),
            _ => credential(),
        }
    }

    /// Its configuration. Nothing of the environment counts.
    fn sources(self, folder: &Path) -> Sources {
        let audit = folder.join("audit").display().to_string();
        let free = Sources::default()
            .with_flag("rest-port", "0")
            .with_flag("grpc-port", "0");
        match self {
            Self::Hs256 => free
                .with_flag("auth-secret", SECRET)
                .with_flag("audit-file", audit),
            Self::Unawaited => free
                .with_flag("auth-secret", SECRET)
                .with_flag("audit-file", audit)
                .with_flag("audit-failure", "continue"),
            Self::Uncached => Self::Hs256
                .sources(folder)
                .with_flag("auth-token-cache", "0"),
            Self::Rs256 => free
                .with_flag("auth-secret", RS256_KEY)
                .with_flag("auth-algorithm", "RS256")
                .with_flag("audit-file", audit),
            Self::Rs256Uncached => Self::Rs256
                .sources(folder)
                .with_flag("auth-token-cache", "0"),
            Self::AuditToLog | Self::Gates => free.with_flag("auth-secret", SECRET),
            Self::AccessLog => free
                .with_flag("auth-enabled", "false")
                .with_flag("access-log", "text"),
        }
    }

    fn settings(self, folder: &Path) -> io::Result<Settings> {
        let config = Config::resolve(&self.sources(folder)).map_err(io::Error::other)?;
        config.settings().map_err(io::Error::other)
    }
}

/// What is shown to every server but those of RS256, and to the one without gates.
pub(super) fn credential() -> Credential {
    Credential::bearer(HS256_TOKEN.trim())
}

/// The server, configured as an operator would. Logging is on, as it is in `oip serve`.
pub(super) fn server(variant: Variant, folder: &Path) -> io::Result<Server> {
    let settings = variant.settings(folder)?;
    let (level, format) = (settings.log_level, settings.log_format);
    logging::init(level, settings.latency_log, format).map_err(io::Error::other)?;
    let server = identity::server().configure(&settings);
    Ok(match variant {
        Variant::AccessLog => server,
        Variant::Gates => server.access(unaudited()?),
        _ => server.gates(Gates::new(&settings).map_err(io::Error::other)?),
    })
}

/// Gates as a Rust program puts them together that keeps no audit.
fn unaudited() -> io::Result<Access> {
    let config = AuthenticationConfig {
        secret: Some(Secret::new(SECRET)),
        ..AuthenticationConfig::default()
    };
    let (authentication, _) = Authentication::new(&config).map_err(io::Error::other)?;
    let policy = Arc::new(Embedded::builtin().map_err(io::Error::other)?);
    // As for the policies of a server: they have a cache of their own.
    let guards = GuardOptions {
        breaker_faults: 0,
        ..GuardOptions::default()
    };
    let guarded = Guarded::new(policy, &guards);
    let enforced = Enforced::new(Arc::new(guarded));
    Ok(Access::new(Arc::new(authentication), Arc::new(enforced)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_is_a_configuration_that_starts() {
        let folder = tempfile::tempdir().unwrap();
        for variant in Variant::ALL {
            let settings = variant.settings(folder.path()).unwrap();
            assert_eq!(settings.auth_enabled, variant != Variant::AccessLog);
            assert!(unaudited().is_ok());
            if settings.auth_enabled {
                assert!(Gates::new(&settings).is_ok(), "{variant:?}");
            }
        }
    }
}
