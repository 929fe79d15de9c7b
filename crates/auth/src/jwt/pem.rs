//! Public keys and certificates in PEM.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rustls::pki_types::pem::{PemObject, SectionKind};
use serde_json::Value;
use thiserror::Error;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode, Encode, Reader, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::VerifyingKey;

/// Why a PEM text holds no key to check signatures with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PemError {
    /// Nothing in it is a public key or a certificate.
    #[error(
        "holds neither a PEM public key (BEGIN PUBLIC KEY) nor a certificate (BEGIN CERTIFICATE)"
    )]
    NoKey,
    /// A private key.
    #[error(
        "holds a private key, which a server that only checks tokens must not have: give it the public half (openssl pkey -pubout)"
    )]
    PrivateKey,
    /// RSA in its own old form.
    #[error("is in the old RSA form: convert it with openssl rsa -RSAPublicKey_in -pubout")]
    OldRsa,
    /// More than one.
    #[error("holds several keys; one is meant to be there (a JWKS file can hold several)")]
    Several,
    /// Broken inside.
    #[error("cannot be read: {0}")]
    Broken(String),
    /// A key that fits no algorithm.
    #[error(
        "holds a key of a kind that no algorithm here uses (RSA of 2048 to 8192 bits, P-256, P-384 and Ed25519 are)"
    )]
    Kind,
}

/// Whether a text looks like PEM at all.
pub(crate) fn looks_like_pem(text: &[u8]) -> bool {
    text.windows(11).any(|window| window == b"-----BEGIN ")
}

/// Whether a text is public key material in any of its usual forms: PEM, DER of a key or a
/// certificate, a JSON Web Key or a set of them, SSH's forms, XML; or the base64 of one of them.
/// Whoever has read it could sign tokens, were it taken for a shared secret.
pub(crate) fn looks_public(text: &[u8]) -> bool {
    is_public(text) || unpacked(text).is_some_and(|inner| is_public(&inner))
}

fn is_public(text: &[u8]) -> bool {
    let trimmed = text.trim_ascii();
    let ssh = |bytes: &[u8]| {
        let kinds: [&[u8]; 3] = [b"ssh-", b"ecdsa-sha2-", b"sk-"];
        kinds.iter().any(|kind| bytes.starts_with(kind))
    };
    let wire = trimmed.split_first_chunk::<4>();
    looks_like_pem(text)
        || ssh(trimmed)
        || wire.is_some_and(|(length, name)| length.starts_with(&[0, 0, 0]) && ssh(name))
        || trimmed.starts_with(b"---- BEGIN ")
        || trimmed.starts_with(b"<RSAKeyValue>")
        || is_jwk(trimmed)
        || is_der(text)
}

/// What base64 packs, of either alphabet, with line breaks and padding or without.
fn unpacked(text: &[u8]) -> Option<Vec<u8>> {
    let plain = text.iter().filter(|byte| !byte.is_ascii_whitespace());
    let plain: Vec<u8> = plain
        .filter(|byte| **byte != b'=')
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            byte => *byte,
        })
        .collect();
    STANDARD_NO_PAD.decode(plain).ok()
}

/// A JSON Web Key, or several of them.
fn is_jwk(text: &[u8]) -> bool {
    let is_key = |value: &Value| value.get("kty").is_some() || value.get("keys").is_some();
    match serde_json::from_slice(text) {
        Ok(Value::Array(keys)) => keys.iter().any(is_key),
        Ok(value) => is_key(&value),
        Err(_) => false,
    }
}

/// A public key or a certificate, whole; whoever read the file may have taken a line break off.
fn is_der(text: &[u8]) -> bool {
    let breaks: [&[u8]; 3] = [b"", b"\n", b"\r\n"];
    text.starts_with(&[0x30])
        && breaks.iter().any(|end| {
            let der = [text, end].concat();
            SubjectPublicKeyInfoRef::from_der(&der).is_ok()
                || x509_cert::Certificate::from_der(&der).is_ok()
                || rsa_numbers(&der).is_ok()
        })
}

/// The one public key of a PEM text: a `PUBLIC KEY` or the one of a `CERTIFICATE`. The validity
/// of a certificate is not looked at; the operator vouches for the file.
pub(crate) fn public_key(text: &[u8]) -> Result<VerifyingKey, PemError> {
    let mut found = None;
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        let (kind, der) = section.map_err(|error| PemError::Broken(error.to_string()))?;
        let key = match kind {
            SectionKind::PublicKey => from_spki(&der)?,
            SectionKind::Certificate => from_certificate(&der)?,
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                return Err(PemError::PrivateKey);
            }
            _ => continue,
        };
        if found.replace(key).is_some() {
            return Err(PemError::Several);
        }
    }
    found.ok_or_else(|| {
        let old = String::from_utf8_lossy(text).contains("BEGIN RSA PUBLIC KEY");
        if old {
            PemError::OldRsa
        } else {
            PemError::NoKey
        }
    })
}

fn from_certificate(der: &[u8]) -> Result<VerifyingKey, PemError> {
    let broken = |error: x509_cert::der::Error| PemError::Broken(error.to_string());
    let certificate = x509_cert::Certificate::from_der(der).map_err(broken)?;
    let key = certificate.tbs_certificate().subject_public_key_info();
    from_spki(&key.to_der().map_err(broken)?)
}

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

fn from_spki(der: &[u8]) -> Result<VerifyingKey, PemError> {
    let broken = |error: x509_cert::der::Error| PemError::Broken(error.to_string());
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(broken)?;
    let bits = info.subject_public_key.raw_bytes();
    let key = match info.algorithm.oid {
        RSA => {
            let (n, e) = rsa_numbers(bits).map_err(broken)?;
            VerifyingKey::rsa(&n, &e)
        }
        EC => match (info.algorithm.parameters_oid(), bits.split_first()) {
            (Ok(P256), Some((4, point))) if point.len() == 64 => {
                let (x, y) = point.split_at(32);
                VerifyingKey::p256(x, y)
            }
            (Ok(P384), Some((4, point))) if point.len() == 96 => {
                let (x, y) = point.split_at(48);
                VerifyingKey::p384(x, y)
            }
            _ => None,
        },
        ED25519 => VerifyingKey::ed25519(bits),
        _ => None,
    };
    key.ok_or(PemError::Kind)
}

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017, appendix A.1.1).
fn rsa_numbers(der: &[u8]) -> Result<(Vec<u8>, Vec<u8>), x509_cert::der::Error> {
    let mut reader = SliceReader::new(der)?;
    let numbers = reader.sequence(|inner| {
        let n = UintRef::decode(inner)?;
        let e = UintRef::decode(inner)?;
        Ok::<_, x509_cert::der::Error>((n.as_bytes().to_vec(), e.as_bytes().to_vec()))
    })?;
    reader.finish()?;
    Ok(numbers)
}
