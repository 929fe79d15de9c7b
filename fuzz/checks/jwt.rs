//! A bearer token of any bytes at the verifier: no panic, and it holds only where it is the one
//! token that the key has signed, or was signed here with claims that may be believed.
//!
//! The first byte chooses what the rest is: a whole header, three parts to be encoded, or two parts
//! to be encoded and signed with the secret; and the algorithm.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oip_auth::{Authentication, AuthenticationConfig, Clock, Secret};
use oip_core::access::{Authenticator as _, Credentials, Subject};
use ring::hmac;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::strict;

/// The second in which all takes place; the known tokens hold for another hour.
const NOW: u64 = 1_700_000_000;
const LEEWAY: f64 = 30.0;
const SECRET: &str = include_str!("../../crates/auth/testdata/secret.txt");
const TOKENS: &str = include_str!("../../crates/auth/testdata/tokens.json");
/// Algorithms and the files of their public keys; the first has the secret.
const KEYS: [(&str, &str); 4] = [
    ("HS256", ""),
    ("RS256", "rsa.pem"),
    ("ES256", "p256.pem"),
    ("EdDSA", "ed25519.pem"),
];

/// The folder of the keys, as the fuzz targets and the tests of a crate see it.
fn testdata() -> PathBuf {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let found = folders.find_map(|folder| {
        let keys = folder.join("crates/auth/testdata");
        keys.is_dir().then_some(keys)
    });
    found.expect("the keys of testdata")
}

/// A verifier of one key, and the token that this key has signed.
struct Verifier {
    authentication: Authentication,
    known: String,
}

struct World {
    runtime: Runtime,
    verifiers: Vec<Verifier>,
}

impl World {
    fn new() -> Self {
        let tokens: Value = serde_json::from_str(TOKENS).expect("testdata is JSON");
        let verifiers = KEYS.map(|(algorithm, file)| {
            let folder = testdata();
            let config = AuthenticationConfig {
                algorithms: vec![algorithm.to_owned()],
                secret: file.is_empty().then(|| Secret::new(SECRET)),
                key_file: (!file.is_empty()).then(|| folder.join(file)),
                ..AuthenticationConfig::default()
            };
            let (authentication, _) =
                Authentication::with_clock(&config, Clock::new(|| NOW)).expect("keys of testdata");
            let known = tokens[algorithm].as_str().expect("a token").to_owned();
            Verifier {
                authentication,
                known,
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let world = Self {
            runtime,
            verifiers: verifiers.into(),
        };
        for verifier in &world.verifiers {
            let header = format!("Bearer {}", verifier.known);
            assert!(
                world.show(verifier, header).is_some(),
                "the known token holds"
            );
        }
        world
    }

    /// Who an `Authorization` header speaks for; `None` where it does not hold.
    fn show(&self, verifier: &Verifier, header: String) -> Option<Arc<Subject>> {
        let credentials = Credentials {
            authorization: vec![header],
            ..Credentials::default()
        };
        let shown = verifier.authentication.authenticate(&credentials);
        let subject = self.runtime.block_on(shown).ok()?;
        Some(subject.expect("what is shown is never passed over"))
    }
}

fn signed(header: &[u8], payload: &[u8]) -> String {
    let text = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = hmac::sign(&key, text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Whether a token with this header and payload may be believed, its signature aside.
fn believable(header: &[u8], payload: &[u8]) -> bool {
    let (Some(header), Some(claims)) = (strict::read(header), strict::read(payload)) else {
        return false;
    };
    let seconds = NOW as f64;
    let named = |id: &str| !id.trim().is_empty() && !id.trim().eq_ignore_ascii_case("anonymous");
    header.get("alg") == Some(&Value::from("HS256"))
        && header.get("crit").is_none()
        && claims.get("sub").and_then(Value::as_str).is_some_and(named)
        && claims.get("aud").is_none()
        && claims
            .get("exp")
            .and_then(Value::as_f64)
            .is_some_and(|exp| exp + LEEWAY > seconds)
        && claims
            .get("nbf")
            .is_none_or(|nbf| nbf.as_f64().is_some_and(|nbf| nbf <= seconds + LEEWAY))
}

thread_local! {
    static WORLD: World = World::new();
}

/// Whether the token holds.
pub(crate) fn check(input: &[u8]) -> bool {
    let Some((&how, rest)) = input.split_first() else {
        return false;
    };
    WORLD.with(|world| {
        let verifier = &world.verifiers[usize::from(how >> 4) % KEYS.len()];
        let mut parts = rest.splitn(3, |byte| *byte == 0);
        let mut part = || parts.next().unwrap_or_default();
        match how % 3 {
            0 => {
                let header = String::from_utf8_lossy(rest).into_owned();
                let holds = world.show(verifier, header.clone()).is_some();
                if holds {
                    let (word, token) = header.split_once(' ').expect("two words");
                    assert!(word.eq_ignore_ascii_case("bearer"), "{word}");
                    assert_eq!(token.trim_start_matches(' '), verifier.known);
                }
                holds
            }
            1 => {
                let encoded = [part(), part(), part()].map(|part| URL_SAFE_NO_PAD.encode(part));
                let token = encoded.join(".");
                let holds = world.show(verifier, format!("Bearer {token}")).is_some();
                assert_eq!(holds, token == verifier.known, "{token}");
                holds
            }
            _ => {
                let (header, payload) = (part(), part());
                let header_line = format!("Bearer {}", signed(header, payload));
                let subject = world.show(&world.verifiers[0], header_line);
                if let Some(subject) = &subject {
                    assert!(believable(header, payload), "{subject:?}");
                }
                subject.is_some()
            }
        }
    })
}
