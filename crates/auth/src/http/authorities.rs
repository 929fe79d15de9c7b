//! Whom the client trusts: the authorities of a file, or the system's.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::HttpError;

/// What a client of one's own needs for TLS: it trusts the authorities of a PEM file, or the system's
/// (those of `SSL_CERT_FILE` and `SSL_CERT_DIR` where these are set).
///
/// # Errors
/// [`HttpError::Authorities`] where there are none.
pub fn trusting(ca_file: Option<&Path>) -> Result<rustls::ClientConfig, HttpError> {
    let roots = match ca_file {
        Some(path) => authorities(path, &read_authorities(path)?)?,
        None => system_authorities()?,
    };
    tls_configuration(roots)
}

/// What a client needs that trusts these.
pub(super) fn tls_configuration(
    roots: rustls::RootCertStore,
) -> Result<rustls::ClientConfig, HttpError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
        .map_err(|error| HttpError::Authorities(error.to_string()))
}

/// What a file of authorities holds.
pub(super) fn read_authorities(path: &Path) -> Result<Vec<u8>, HttpError> {
    std::fs::read(path)
        .map_err(|error| HttpError::Authorities(format!("{}: {error}", path.display())))
}

/// The authorities of a file that holds this.
pub(super) fn authorities(path: &Path, text: &[u8]) -> Result<rustls::RootCertStore, HttpError> {
    let wrong = |fault: String| HttpError::Authorities(format!("{}: {fault}", path.display()));
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("holds no certificate in PEM form".to_owned()));
    }
    Ok(roots)
}

/// Those of this system.
pub(super) fn system_authorities() -> Result<rustls::RootCertStore, HttpError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(HttpError::Authorities(
            "this system has none; name a PEM file in SSL_CERT_FILE or in the configuration"
                .to_owned(),
        ));
    }
    Ok(roots)
}
