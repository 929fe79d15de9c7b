//! From files to what a handshake needs, or to a sentence about what is wrong with them.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use oip_auth::certificate::{Certificate, Dates};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{ClientAuth, TlsError, TlsSettings};

/// The longest file that is read.
const LONGEST: u64 = 4 << 20;
/// What is spoken over TLS, the preferred first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What the files hold.
pub(super) struct Files {
    cert: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    client_ca: Option<Vec<u8>>,
}

/// What handshakes need of the files.
pub(super) struct Loaded {
    pub(super) config: Arc<ServerConfig>,
    /// The last second at which the server's certificate holds, since 1970.
    pub(super) not_after: u64,
    pub(super) warnings: Vec<String>,
}

/// One file, for sentences about it.
struct Named<'a> {
    key: &'static str,
    path: &'a Path,
}

impl Named<'_> {
    fn wrong(&self, fault: impl Into<String>) -> TlsError {
        TlsError {
            key: self.key,
            path: PathBuf::from(self.path),
            fault: fault.into(),
        }
    }

    fn read(&self) -> Result<Vec<u8>, TlsError> {
        let mut content = Vec::new();
        std::fs::File::open(self.path)
            .and_then(|file| file.take(LONGEST + 1).read_to_end(&mut content))
            .map_err(|error| self.wrong(format!("cannot be read: {error}")))?;
        if content.len() as u64 > LONGEST {
            return Err(self.wrong(format!("is longer than {LONGEST} bytes")));
        }
        match content.trim_ascii().is_empty() {
            true => Err(self.wrong("is empty")),
            false => Ok(content),
        }
    }

    /// Every certificate of a PEM text; there is at least one.
    fn certificates(&self, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
        match certificates {
            Err(error) => Err(self.wrong(no_pem(&error))),
            Ok(none) if none.is_empty() => {
                Err(self.wrong("holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"))
            }
            Ok(certificates) => Ok(certificates),
        }
    }
}

fn cert_file(settings: &TlsSettings) -> Named<'_> {
    Named {
        key: "tls_cert",
        path: &settings.cert,
    }
}

fn key_file(settings: &TlsSettings) -> Named<'_> {
    Named {
        key: "tls_key",
        path: &settings.key,
    }
}

fn client_ca_file(settings: &TlsSettings) -> Option<Named<'_>> {
    let path = settings.client_ca.as_deref()?;
    Some(Named {
        key: "tls_client_ca",
        path,
    })
}

impl Files {
    pub(super) fn read(settings: &TlsSettings) -> Result<Self, TlsError> {
        let client_ca = client_ca_file(settings).map(|file| file.read());
        Ok(Self {
            cert: cert_file(settings).read()?,
            key: Zeroizing::new(key_file(settings).read()?),
            client_ca: client_ca.transpose()?,
        })
    }

    /// Tells contents apart without keeping them.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let mut all = Sha256::new();
        let client_ca = self.client_ca.as_deref().unwrap_or_default();
        for content in [&self.cert[..], &self.key, client_ca] {
            // Each by its own digest, so that nothing moves from one file into the next unseen.
            all.update(Sha256::digest(content));
        }
        all.finalize().into()
    }

    /// Checks the contents and makes of them what handshakes need.
    pub(super) fn load(&self, settings: &TlsSettings) -> Result<Loaded, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let mut warnings = Vec::new();
        let (certified, not_after) = self.certified(settings, &provider, &mut warnings)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| cert_file(settings).wrong(format!("cannot be used: {error}")))?;
        let builder = match (&self.client_ca, client_ca_file(settings)) {
            (Some(pem), Some(file)) => {
                let roots = authorities(&file, pem, &mut warnings)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = match settings.client_auth {
                    ClientAuth::Required => verifier,
                    ClientAuth::Optional => verifier.allow_unauthenticated(),
                };
                let verifier = verifier
                    .build()
                    .map_err(|error| file.wrong(format!("cannot be used: {error}")))?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        if self.client_ca.is_some() {
            // A resumed session would carry a certificate that nobody looked at again.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Loaded {
            config: Arc::new(config),
            not_after,
            warnings,
        })
    }

    /// The server's certificate with its key, and its last second.
    fn certified(
        &self,
        settings: &TlsSettings,
        provider: &CryptoProvider,
        warnings: &mut Vec<String>,
    ) -> Result<(CertifiedKey, u64), TlsError> {
        let (cert, key) = (cert_file(settings), key_file(settings));
        let chain = cert.certificates(&self.cert)?;
        let own = chain.first().map(AsRef::as_ref).unwrap_or_default();
        let read = Certificate::from_der(own).map_err(|error| cert.wrong(error.to_string()))?;
        match read.dates(now()) {
            Dates::Within => {}
            Dates::Past => return Err(cert.wrong("holds a certificate that has expired")),
            Dates::Before => warnings.push(format!(
                "tls_cert: {} holds a certificate that is not valid yet; or the clock is wrong",
                cert.path.display()
            )),
        }
        let private = private_key(&key, &self.key)?;
        let certified = CertifiedKey::from_der(chain, private, provider);
        let certified = certified.map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => key.wrong(format!(
                "is not the key of the first certificate in {} (tls_cert)",
                cert.path.display()
            )),
            rustls::Error::InvalidCertificate(_) => cert.wrong(format!("cannot be used: {error}")),
            error => key.wrong(format!("cannot be used: {error}")),
        })?;
        Ok((certified, read.not_after()))
    }
}

fn private_key(file: &Named<'_>, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound if contains(pem, b"BEGIN ENCRYPTED PRIVATE KEY") => file.wrong(
            "holds an encrypted key, and there is nobody to ask for its password ('openssl pkey \
             -in FILE -out PLAIN' decrypts it)",
        ),
        pem::Error::NoItemsFound => {
            file.wrong("holds no private key in PEM (-----BEGIN PRIVATE KEY-----)")
        }
        error => file.wrong(no_pem(&error)),
    })
}

/// What is wrong with a PEM text, in words of ours: the library's may quote the file.
fn no_pem(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "breaks off: a section of it has no END line",
        pem::Error::Base64Decode(_) => "holds a section that is not base64",
        _ => "is no PEM that can be read",
    }
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

/// Those whose certificates are accepted. One that has expired is left out, as the verifier does
/// not look at the dates of an authority that it trusts.
fn authorities(
    file: &Named<'_>,
    pem: &[u8],
    warnings: &mut Vec<String>,
) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    let mut expired = 0_usize;
    for der in file.certificates(pem)? {
        let read = Certificate::from_der(&der).map_err(|error| file.wrong(error.to_string()))?;
        if read.dates(now()) == Dates::Past {
            expired += 1;
            continue;
        }
        roots
            .add(der)
            .map_err(|error| file.wrong(format!("holds an authority of no use: {error}")))?;
    }
    match (roots.is_empty(), expired) {
        (true, _) => Err(file.wrong("holds only authorities that have expired")),
        (false, 0) => Ok(Arc::new(roots)),
        (false, expired) => {
            warnings.push(format!(
                "tls_client_ca: {} holds {expired} that expired; their certificates are refused",
                file.path.display()
            ));
            Ok(Arc::new(roots))
        }
    }
}

/// Seconds since 1970, UTC.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
