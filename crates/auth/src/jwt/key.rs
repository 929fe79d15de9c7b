//! Keys that check signatures. Each fits one family of algorithms and no other.

use std::fmt;

use ring::hmac;
use ring::rsa::PublicKeyComponents;
use ring::signature as sig;
use ring::signature::{UnparsedPublicKey, VerificationAlgorithm};

use super::{Algorithm, Family};

/// A key that checks signatures.
#[derive(Clone)]
pub(crate) enum VerifyingKey {
    /// A shared secret, made ready for each hash.
    Hmac(Box<[hmac::Key; 3]>),
    /// An RSA public key: modulus and exponent, big-endian, without leading zeros.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// An uncompressed point on P-256.
    P256(Vec<u8>),
    /// An uncompressed point on P-384.
    P384(Vec<u8>),
    /// An Ed25519 public key.
    Ed25519(Vec<u8>),
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({:?})", self.family())
    }
}

impl VerifyingKey {
    /// A shared secret.
    pub(crate) fn hmac(secret: &[u8]) -> Self {
        let key = |algorithm| hmac::Key::new(algorithm, secret);
        Self::Hmac(Box::new([
            key(hmac::HMAC_SHA256),
            key(hmac::HMAC_SHA384),
            key(hmac::HMAC_SHA512),
        ]))
    }

    /// An RSA public key of 2048 to 8192 bits; `None` for any other length.
    pub(crate) fn rsa(n: &[u8], e: &[u8]) -> Option<Self> {
        let strip = |bytes: &[u8]| {
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            bytes.iter().skip(zeros).copied().collect::<Vec<u8>>()
        };
        let (n, e) = (strip(n), strip(e));
        let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
        let fits = (2048..=8192).contains(&bits) && (1..=5).contains(&e.len());
        fits.then_some(Self::Rsa { n, e })
    }

    /// A point on P-256 from its coordinates.
    pub(crate) fn p256(x: &[u8], y: &[u8]) -> Option<Self> {
        point(x, y, 32).map(Self::P256)
    }

    /// A point on P-384 from its coordinates.
    pub(crate) fn p384(x: &[u8], y: &[u8]) -> Option<Self> {
        point(x, y, 48).map(Self::P384)
    }

    /// An Ed25519 public key.
    pub(crate) fn ed25519(x: &[u8]) -> Option<Self> {
        (x.len() == 32).then(|| Self::Ed25519(x.to_vec()))
    }

    /// The family of algorithms that it fits.
    pub(crate) fn family(&self) -> Family {
        match self {
            Self::Hmac(_) => Family::Hmac,
            Self::Rsa { .. } => Family::Rsa,
            Self::P256(_) => Family::P256,
            Self::P384(_) => Family::P384,
            Self::Ed25519(_) => Family::Ed25519,
        }
    }

    /// Whether this is the key's signature. Never, by an algorithm of another family.
    pub(crate) fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        match (self, algorithm) {
            (Self::Hmac(keys), Algorithm::Hs256) => mac(&keys[0], signed, signature),
            (Self::Hmac(keys), Algorithm::Hs384) => mac(&keys[1], signed, signature),
            (Self::Hmac(keys), Algorithm::Hs512) => mac(&keys[2], signed, signature),
            (Self::Rsa { n, e }, _) => rsa_parameters(algorithm).is_some_and(|parameters| {
                let key = PublicKeyComponents { n, e };
                key.verify(parameters, signed, signature).is_ok()
            }),
            (Self::P256(key), Algorithm::Es256) => {
                verify(&sig::ECDSA_P256_SHA256_FIXED, key, signed, signature)
            }
            (Self::P384(key), Algorithm::Es384) => {
                verify(&sig::ECDSA_P384_SHA384_FIXED, key, signed, signature)
            }
            (Self::Ed25519(key), Algorithm::EdDsa) => verify(&sig::ED25519, key, signed, signature),
            _ => false,
        }
    }
}

/// An uncompressed point: 4, then both coordinates in full length.
fn point(x: &[u8], y: &[u8], length: usize) -> Option<Vec<u8>> {
    (x.len() == length && y.len() == length).then(|| [&[4], x, y].concat())
}

fn mac(key: &hmac::Key, signed: &[u8], signature: &[u8]) -> bool {
    hmac::verify(key, signed, signature).is_ok()
}

fn verify(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    signed: &[u8],
    signature: &[u8],
) -> bool {
    let key = UnparsedPublicKey::new(algorithm, key);
    key.verify(signed, signature).is_ok()
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static sig::RsaParameters> {
    Some(match algorithm {
        Algorithm::Rs256 => &sig::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &sig::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &sig::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &sig::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &sig::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &sig::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}
