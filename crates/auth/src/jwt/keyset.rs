//! Sets of keys (RFC 7517), and which of them may check which token.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::jws::Jws;
use super::{Algorithm, VerifyingKey};
use crate::rejection::Rejection;

/// The most keys of a set that are looked at.
const MOST_KEYS: usize = 256;
/// The most keys that a token without `kid` is tried against.
const MOST_TRIES: usize = 4;

/// Keys, each bound to what it may be used for.
#[derive(Debug)]
pub(crate) struct KeySet {
    keys: Vec<Entry>,
    generation: u64,
    /// Whether a token's `kid` chooses the key: so in a key set, not with the one configured key.
    by_kid: bool,
}

#[derive(Debug)]
struct Entry {
    kid: Option<String>,
    /// The one algorithm that the key was published for, where it says so.
    algorithm: Option<Algorithm>,
    key: VerifyingKey,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// The one key of the configuration.
    pub(crate) fn single(key: VerifyingKey) -> Self {
        let entry = Entry {
            kid: None,
            algorithm: None,
            key,
        };
        Self::new(vec![entry], false)
    }

    fn new(keys: Vec<Entry>, by_kid: bool) -> Self {
        static GENERATIONS: AtomicU64 = AtomicU64::new(0);
        Self {
            keys,
            generation: GENERATIONS.fetch_add(1, Ordering::Relaxed),
            by_kid,
        }
    }

    /// Reads a JSON Web Key Set. Keys that cannot check a token of one of these algorithms are
    /// passed over: those of another kind, for encryption, for another algorithm, shared secrets.
    ///
    /// # Errors
    /// A sentence, when it is none or holds no key of use.
    pub(crate) fn from_json(text: &[u8], algorithms: &[Algorithm]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(text)
            .map_err(|error| format!("no JSON Web Key Set: {error}"))?;
        let keys: Vec<Entry> = document
            .keys
            .into_iter()
            .take(MOST_KEYS)
            .filter_map(|key| entry(key, algorithms))
            .collect();
        if keys.is_empty() {
            let names: Vec<&str> = algorithms
                .iter()
                .map(|algorithm| algorithm.name())
                .collect();
            return Err(format!(
                "no key in the set checks signatures by {} (auth_algorithm)",
                names.join(", ")
            ));
        }
        Ok(Self::new(keys, true))
    }

    /// A number that no other set of this process has.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether a signature is that of a key of this set.
    ///
    /// # Errors
    /// [`Rejection::UnknownKey`] when no key could have made it, [`Rejection::Signature`] when
    /// none of those that could has, [`Rejection::TooManyKeys`] when not all of them were tried.
    pub(crate) fn verify(&self, jws: &Jws<'_>) -> Result<(), Rejection> {
        let fits = |entry: &&Entry| match &jws.kid {
            _ if !entry.serves(jws.algorithm) => false,
            Some(kid) if self.by_kid => entry.kid.as_ref() == Some(kid),
            _ => true,
        };
        let mut tried = 0;
        for entry in self.keys.iter().filter(fits) {
            if tried == MOST_TRIES {
                return Err(Rejection::TooManyKeys(MOST_TRIES));
            }
            tried += 1;
            let signed = jws.signed.as_bytes();
            if entry.key.verifies(jws.algorithm, signed, &jws.signature) {
                return Ok(());
            }
        }
        Err(match tried {
            0 => Rejection::UnknownKey,
            _ => Rejection::Signature,
        })
    }
}

impl Entry {
    fn serves(&self, algorithm: Algorithm) -> bool {
        self.key.family() == algorithm.family() && self.algorithm.is_none_or(|own| own == algorithm)
    }
}

fn entry(key: Value, algorithms: &[Algorithm]) -> Option<Entry> {
    let jwk: Jwk = serde_json::from_value(key).ok()?;
    let signs = jwk.usage.as_deref().is_none_or(|usage| usage == "sig")
        && jwk
            .key_ops
            .as_ref()
            .is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
    if !signs {
        return None;
    }
    let algorithm = match &jwk.alg {
        None => None,
        Some(name) => Some(Algorithm::from_header(name)?),
    };
    let entry = Entry {
        algorithm,
        key: material(&jwk)?,
        kid: jwk.kid,
    };
    algorithms
        .iter()
        .any(|algorithm| entry.serves(*algorithm))
        .then_some(entry)
}

fn material(jwk: &Jwk) -> Option<VerifyingKey> {
    let bytes = |field: &Option<String>| URL_SAFE_NO_PAD.decode(field.as_ref()?).ok();
    match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => VerifyingKey::rsa(&bytes(&jwk.n)?, &bytes(&jwk.e)?),
        ("EC", Some("P-256")) => VerifyingKey::p256(&bytes(&jwk.x)?, &bytes(&jwk.y)?),
        ("EC", Some("P-384")) => VerifyingKey::p384(&bytes(&jwk.x)?, &bytes(&jwk.y)?),
        ("OKP", Some("Ed25519")) => VerifyingKey::ed25519(&bytes(&jwk.x)?),
        _ => None,
    }
}
