//! Microseconds for one authentication: each kind of token, remembered or not, and an API key.
//!
//! `cargo bench -p oip-auth --bench authenticate`

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use oip_auth::{Authentication, AuthenticationConfig, Clock, new_api_key};
use oip_core::access::{Authenticator, Credentials};

/// The second for which the tokens of `testdata/` were made.
const NOW: u64 = 1_700_000_000;

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name)
}

fn main() {
    let tokens = std::fs::read_to_string(file("tokens.json")).expect("testdata");
    let tokens: serde_json::Value = serde_json::from_str(&tokens).expect("testdata");
    println!("{:<10} {:>12} {:>12}", "", "checked, µs", "known, µs");
    for (algorithm, key) in [
        ("HS256", "secret.txt"),
        ("RS256", "rsa.pem"),
        ("PS256", "rsa.pem"),
        ("ES256", "p256.pem"),
        ("ES384", "p384.pem"),
        ("EdDSA", "ed25519.pem"),
    ] {
        let shown = Credentials {
            authorization: vec![format!(
                "Bearer {}",
                tokens[algorithm].as_str().expect("a token")
            )],
            ..Credentials::default()
        };
        let [checked, known] = [0, 10_000].map(|token_cache| {
            let config = AuthenticationConfig {
                algorithms: vec![algorithm.to_owned()],
                secret_file: Some(file(key)),
                token_cache,
                ..AuthenticationConfig::default()
            };
            measure(&config, &shown)
        });
        println!("{algorithm:<10} {checked:>12.2} {known:>12.2}");
    }
    let new = new_api_key("batch", &["reader".to_owned()]).expect("a key");
    let keys = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(keys.path(), &new.line).expect("a file");
    let config = AuthenticationConfig {
        api_keys_file: Some(keys.path().to_owned()),
        ..AuthenticationConfig::default()
    };
    let shown = Credentials {
        api_key: vec![String::from_utf8_lossy(new.key.expose()).into_owned()],
        ..Credentials::default()
    };
    println!("{:<10} {:>12.2}", "API key", measure(&config, &shown));
}

/// Microseconds a call, over about a second, after a warm-up.
fn measure(config: &AuthenticationConfig, shown: &Credentials) -> f64 {
    let (who, _) = Authentication::with_clock(config, Clock::new(|| NOW)).expect("a configuration");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for _ in 0..1000 {
            who.authenticate(shown).await.expect("a token that holds");
        }
        let (start, mut calls) = (Instant::now(), 0_u32);
        while start.elapsed() < Duration::from_secs(1) {
            for _ in 0..100 {
                black_box(who.authenticate(black_box(shown)).await).expect("a token that holds");
            }
            calls += 100;
        }
        start.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
    })
}
