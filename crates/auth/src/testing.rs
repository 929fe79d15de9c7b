//! Tokens and keys for the tests of this crate.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oip_core::access::{Authenticator, Credentials, Subject};
use oip_protocol::Result;
use ring::hmac;
use serde_json::{Value, json};

use crate::{Authentication, AuthenticationConfig, Clock, Secret};

/// The second in which the tests take place; the tokens of `testdata/` hold for another hour.
pub(crate) const NOW: u64 = 1_700_000_000;
pub(crate) const SECRET: &str = include_str!("../testdata/secret.txt");

/// A file of `testdata/`.
pub(crate) fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name)
}

/// The content of a file of `testdata/`.
pub(crate) fn content(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

/// A token that PyJWT made.
pub(crate) fn token(name: &str) -> String {
    let tokens: Value = serde_json::from_str(&content("tokens.json")).unwrap();
    tokens[name].as_str().unwrap().to_owned()
}

pub(crate) fn encode(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// A token with any header and payload, signed by HS256 with any secret.
pub(crate) fn sign(header: &Value, payload: &str, secret: &[u8]) -> String {
    let signed = format!("{}.{}", encode(header.to_string()), encode(payload));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", encode(signature))
}

/// A token with any claims, rightly signed by HS256.
pub(crate) fn hs256(claims: &Value) -> String {
    sign(
        &json!({"alg": "HS256"}),
        &claims.to_string(),
        SECRET.as_bytes(),
    )
}

/// Tokens by HS256 and the secret of `testdata/`.
pub(crate) fn with_secret() -> AuthenticationConfig {
    AuthenticationConfig {
        secret: Some(Secret::new(SECRET)),
        ..AuthenticationConfig::default()
    }
}

/// Tokens by a public key of `testdata/`.
pub(crate) fn with_key(algorithm: &str, name: &str) -> AuthenticationConfig {
    AuthenticationConfig {
        algorithms: vec![algorithm.to_owned()],
        key_file: Some(file(name)),
        ..AuthenticationConfig::default()
    }
}

pub(crate) fn build(config: &AuthenticationConfig) -> Authentication {
    Authentication::with_clock(config, Clock::new(|| NOW))
        .unwrap()
        .0
}

/// Shows one `Authorization` header.
pub(crate) async fn show(who: &Authentication, header: &str) -> Result<Option<Arc<Subject>>> {
    who.authenticate(&Credentials {
        authorization: vec![header.to_owned()],
        ..Credentials::default()
    })
    .await
}

/// Shows a bearer token.
pub(crate) async fn bear(who: &Authentication, token: &str) -> Result<Arc<Subject>> {
    let subject = show(who, &format!("Bearer {token}")).await?;
    Ok(subject.expect("a shown credential is never passed over"))
}
