//! Authorities and certificates, made for one test.

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Who signs certificates.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with what it was signed by, and its key.
pub(super) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

fn params_of_authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params_of_authority(name), key).unwrap())
    }

    /// An authority below this one.
    pub(super) fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::signed_by(params_of_authority(name), key, &self.0).unwrap())
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(super) fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(super) fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der()).unwrap();
        Arc::new(roots)
    }

    fn identity(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity {
            chain: vec![certificate.der().clone()],
            key,
        }
    }

    /// A server's certificate for `localhost`, as `cert.pem` and `key.pem` in a folder.
    pub(super) fn write_server(&self, folder: &Path) {
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let identity = self.identity(&params);
        std::fs::write(folder.join("cert.pem"), pem(&identity.chain[0])).unwrap();
        std::fs::write(folder.join("key.pem"), identity.key.serialize_pem()).unwrap();
    }

    /// A client's certificate with a common name, changed as a test needs it.
    pub(super) fn client_as(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        self.identity(&params)
    }

    pub(super) fn client(&self, name: &str) -> Identity {
        self.client_as(name, |_| {})
    }
}

impl Identity {
    /// Adds the certificate of the authority in between.
    pub(super) fn through(mut self, authority: &Authority) -> Self {
        self.chain.push(authority.der());
        self
    }

    pub(super) fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der());
        (self.chain.clone(), key.into())
    }
}

pub(super) fn uri(uri: &str) -> SanType {
    SanType::URI(uri.try_into().unwrap())
}

pub(super) fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn pem(der: &CertificateDer<'_>) -> String {
    use base64::Engine as _;

    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}
