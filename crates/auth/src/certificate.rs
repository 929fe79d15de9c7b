//! What a certificate says: whose it is, and from when to when it holds.
//!
//! Nothing here verifies one; that is the TLS layer's work and done before.

use thiserror::Error;
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};

/// The attribute `CN` (RFC 4519, section 2.3).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// A certificate that could be read.
#[derive(Debug, Clone)]
pub struct Certificate(x509_cert::Certificate);

/// Why a certificate names nobody. Never carries a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// It is no X.509 certificate.
    #[error("is no certificate that can be read: {0}")]
    Broken(String),
    /// Its subject alternative name cannot be read.
    #[error("has a subject alternative name that cannot be read")]
    AlternativeName,
    /// It has neither a URI nor a DNS name nor a common name.
    #[error("has no URI, no DNS name and no common name")]
    NoName,
    /// It has several common names, or one that is no text.
    #[error("has not exactly one common name in plain text")]
    CommonName,
    /// Its name holds control characters.
    #[error("has control characters in its name")]
    Control,
}

/// Whether a certificate holds at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dates {
    /// It does.
    Within,
    /// Not yet.
    Before,
    /// Not any more.
    Past,
}

impl Certificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// [`CertificateError::Broken`].
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let read = x509_cert::Certificate::from_der(der);
        read.map(Self)
            .map_err(|error| CertificateError::Broken(error.to_string()))
    }

    /// The holder's name: the first URI of the subject alternative name (a SPIFFE id, say), else
    /// its first DNS name, else the one common name.
    ///
    /// # Errors
    /// [`CertificateError`], when there is none, or it is not clear which.
    pub fn name(&self) -> Result<String, CertificateError> {
        let name = match self.alternative_name()? {
            Some(name) => name,
            None => self.common_name()?,
        };
        match name.chars().any(char::is_control) {
            true => Err(CertificateError::Control),
            false => Ok(name),
        }
    }

    fn alternative_name(&self) -> Result<Option<String>, CertificateError> {
        let extension = self.0.tbs_certificate().get_extension::<SubjectAltName>();
        let extension = extension.map_err(|_| CertificateError::AlternativeName)?;
        let Some((_, SubjectAltName(names))) = extension else {
            return Ok(None);
        };
        let uri = names.iter().find_map(|name| match name {
            GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
            _ => None,
        });
        let dns = || {
            names.iter().find_map(|name| match name {
                GeneralName::DnsName(dns) => Some(dns.as_str().to_owned()),
                _ => None,
            })
        };
        Ok(uri.or_else(dns))
    }

    fn common_name(&self) -> Result<String, CertificateError> {
        let attributes = self.0.tbs_certificate().subject().iter();
        let mut names = attributes.filter(|attribute| attribute.oid == COMMON_NAME);
        match (names.next(), names.next()) {
            (None, _) => Err(CertificateError::NoName),
            (Some(one), None) => DirectoryString::try_from(&one.value)
                .map(|name| name.value().into_owned())
                .map_err(|_| CertificateError::CommonName),
            (Some(_), Some(_)) => Err(CertificateError::CommonName),
        }
    }

    /// The last second at which it holds, since 1970, UTC.
    #[must_use]
    pub fn not_after(&self) -> u64 {
        let validity = self.0.tbs_certificate().validity();
        validity.not_after.to_unix_duration().as_secs()
    }

    /// Whether it holds at this second since 1970, UTC.
    #[must_use]
    pub fn dates(&self, now: u64) -> Dates {
        let validity = self.0.tbs_certificate().validity();
        if now > self.not_after() {
            return Dates::Past;
        }
        match now < validity.not_before.to_unix_duration().as_secs() {
            true => Dates::Before,
            false => Dates::Within,
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn made(change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap()
    }

    fn der_of_carol() -> &'static [u8] {
        static DER: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        DER.get_or_init(|| {
            let mut params = CertificateParams::default();
            common_name(&mut params, "carol");
            params.subject_alt_names = vec![dns("c.example"), uri("spiffe://x/c")];
            let key = KeyPair::generate().unwrap();
            params.self_signed(&key).unwrap().der().to_vec()
        })
    }

    fn common_name(params: &mut CertificateParams, name: &str) {
        params.distinguished_name.push(DnType::CommonName, name);
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    #[test]
    fn the_name_is_the_first_uri_else_the_first_dns_name_else_the_common_name() {
        let all = made(|params| {
            common_name(params, "carol");
            params.subject_alt_names =
                vec![dns("b.example"), uri("spiffe://x/a"), uri("spiffe://x/z")];
        });
        assert_eq!(all.name().unwrap(), "spiffe://x/a");
        let without_uri = made(|params| {
            common_name(params, "carol");
            params.subject_alt_names = vec![dns("b.example"), dns("c.example")];
        });
        assert_eq!(without_uri.name().unwrap(), "b.example");
        let only_an_address = made(|params| {
            common_name(params, "carol");
            params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
        });
        assert_eq!(only_an_address.name().unwrap(), "carol");
    }

    #[test]
    fn a_certificate_without_a_clear_name_names_nobody() {
        assert_eq!(made(|_| {}).name(), Err(CertificateError::NoName));
        let control = made(|params| common_name(params, "a\nb"));
        assert_eq!(control.name(), Err(CertificateError::Control));
        let nul = made(|params| common_name(params, "alice\0.evil"));
        assert_eq!(nul.name(), Err(CertificateError::Control));
    }

    #[test]
    fn the_dates_bound_when_it_holds() {
        let made = made(|params| {
            common_name(params, "carol");
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        });
        assert_eq!(made.dates(0), Dates::Before);
        assert_eq!(made.dates(946_684_800), Dates::Within);
        assert_eq!(made.dates(978_307_201), Dates::Past);
    }

    proptest::proptest! {
        #[test]
        fn a_certificate_with_bytes_changed_is_read_or_refused_and_never_a_panic(
            changes in proptest::collection::vec((0_usize..600, proptest::num::u8::ANY), 1..6),
        ) {
            let mut der = der_of_carol().to_vec();
            for (at, byte) in changes {
                let at = at % der.len();
                der[at] = byte;
            }
            if let Ok(read) = Certificate::from_der(&der) {
                let _ = (read.name(), read.dates(u64::MAX), read.dates(0));
            }
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused_and_not_a_panic() {
        for der in [&b""[..], b"\x30", b"\x30\x84\xff\xff\xff\xff", &[0; 64]] {
            assert!(matches!(
                Certificate::from_der(der),
                Err(CertificateError::Broken(_))
            ));
        }
    }
}
