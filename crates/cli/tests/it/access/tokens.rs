//! Tokens by HS256.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

fn claims(subject: &str, roles: &[&str], seconds: i64) -> Value {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let exp = i64::try_from(now).unwrap() + seconds;
    json!({"sub": subject, "roles": roles, "exp": exp})
}

fn signing_input(algorithm: &str, claims: &Value) -> String {
    let header = json!({"alg": algorithm, "typ": "JWT"}).to_string();
    let encode = |part: String| URL_SAFE_NO_PAD.encode(part);
    format!("{}.{}", encode(header), encode(claims.to_string()))
}

fn sign(claims: &Value, secret: &[u8]) -> String {
    let input = signing_input("HS256", claims);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signature = hmac::sign(&key, input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A token that holds for so many seconds from now.
pub(super) fn token(subject: &str, roles: &[&str], seconds: i64) -> String {
    sign(&claims(subject, roles, seconds), super::SECRET.as_bytes())
}

pub(super) fn signed_with(subject: &str, secret: &[u8]) -> String {
    sign(&claims(subject, &[], 600), secret)
}

/// A token by the algorithm `none`.
pub(super) fn unsigned(subject: &str) -> String {
    format!(
        "{}.",
        signing_input("none", &claims(subject, &["admin"], 600))
    )
}
