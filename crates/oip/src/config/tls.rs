//! The settings of TLS.

use std::path::PathBuf;

use super::error::ConfigError;
use super::reader::Reader;

words! {
    /// Whether callers must show a certificate.
    ClientAuth {
        /// A connection without one is refused.
        Required = "required",
        /// A caller without one may show another credential, or none.
        Optional = "optional",
    }
}

/// The files of TLS and what callers must show. Each field is the option of its name.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "each field is described in the table of options"
)]
pub struct TlsSettings {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub client_ca: Option<PathBuf>,
    /// Has a meaning where `client_ca` is there.
    pub client_auth: ClientAuth,
}

/// What says that there is TLS.
const OPTIONS: &[&str] = &["tls_cert", "tls_key", "tls_client_ca", "tls_client_auth"];

impl TlsSettings {
    /// A certificate and its key, and no certificates of callers.
    #[must_use]
    pub fn of(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            cert: cert.into(),
            key: key.into(),
            client_ca: None,
            client_auth: ClientAuth::Required,
        }
    }

    /// Asks callers for certificates of these authorities.
    #[must_use]
    pub fn client_ca(mut self, client_ca: impl Into<PathBuf>, client_auth: ClientAuth) -> Self {
        self.client_ca = Some(client_ca.into());
        self.client_auth = client_auth;
        self
    }

    /// What was configured, if TLS was.
    pub(super) fn new(read: &Reader<'_>) -> Result<Option<Self>, ConfigError> {
        let lacks = |given: &str, missing: &str| {
            let origin = &read.entry(given).origin;
            Err(ConfigError::Conflict {
                sentence: format!(
                    "{given} ({origin}) is given and {missing} is not: TLS needs tls_cert and \
                     tls_key"
                ),
                keys: OPTIONS,
            })
        };
        let client_ca = read.path("tls_client_ca");
        if client_ca.is_none() && read.entry("tls_client_auth").is_given() {
            return Err(ConfigError::Conflict {
                sentence: format!(
                    "tls_client_auth ({}) is given and tls_client_ca does not say whose \
                     certificates are accepted",
                    read.entry("tls_client_auth").origin
                ),
                keys: OPTIONS,
            });
        }
        match (read.path("tls_cert"), read.path("tls_key")) {
            (None, None) if client_ca.is_some() => lacks("tls_client_ca", "tls_cert"),
            (None, None) => Ok(None),
            (Some(_), None) => lacks("tls_cert", "tls_key"),
            (None, Some(_)) => lacks("tls_key", "tls_cert"),
            (Some(cert), Some(key)) => Ok(Some(Self {
                cert,
                key,
                client_ca,
                client_auth: read.word("tls_client_auth", ClientAuth::of),
            })),
        }
    }
}
