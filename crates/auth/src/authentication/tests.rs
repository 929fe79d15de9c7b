use oip_protocol::ErrorKind;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing::{
    NOW, SECRET, bear, build, content, encode, file, hs256, show, sign, token, with_key,
    with_secret,
};
use crate::{DOES_NOT_HOLD, new_api_key};

fn good() -> Value {
    json!({"sub": "alice", "exp": NOW + 60})
}

/// The refusal is the one that every caller gets; the cause for the log says more.
async fn refused(who: &Authentication, token: &str, cause: &str) {
    let error = bear(who, token).await.expect_err(token);
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
    assert_eq!(error.message(), DOES_NOT_HOLD);
    let found = error.cause().unwrap();
    assert!(found.contains(cause), "{found:?} says nothing of {cause:?}");
    assert!(token.len() < 20 || !format!("{error:?}").contains(token));
}

#[tokio::test]
async fn a_token_of_another_implementation_holds_by_every_algorithm() {
    let keys = [
        ("RS", "rsa.pem"),
        ("PS", "rsa.pem"),
        ("ES256", "p256.pem"),
        ("ES384", "p384.pem"),
        ("EdDSA", "ed25519.pem"),
    ];
    for algorithm in crate::Algorithm::ALL {
        let name = algorithm.name();
        let key = keys.iter().find(|(prefix, _)| name.starts_with(prefix));
        let mut config = match key {
            Some((_, key)) => with_key(name, key),
            None => with_secret(),
        };
        config.algorithms = vec![name.to_owned()];
        let subject = bear(&build(&config), &token(name)).await.unwrap();
        assert_eq!(subject.id, "alice", "{name}");
        assert_eq!(subject.roles, ["user", "reader"]);
        assert_eq!(subject.claims["iat"], 1_699_999_900);
    }
}

#[tokio::test]
async fn the_secret_option_may_hold_a_public_key_or_a_certificate() {
    for name in ["rsa.pem", "rsa-certificate.pem"] {
        let escaped = content(name).replace('\n', "\\n");
        for text in [content(name), escaped] {
            let mut config = with_secret();
            config.secret = Some(crate::Secret::new(text));
            config.algorithms = vec!["RS256".into()];
            assert!(
                bear(&build(&config), &token("RS256")).await.is_ok(),
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn a_token_without_signature_is_refused() {
    let who = build(&with_secret());
    let payload = encode(good().to_string());
    for alg in ["none", "None", "NONE", "nOnE"] {
        let header = encode(json!({"alg": alg}).to_string());
        refused(&who, &format!("{header}.{payload}."), "algorithm").await;
    }
    let header = encode(r#"{"alg":"HS256"}"#);
    refused(&who, &format!("{header}.{payload}."), "signature").await;
}

#[tokio::test]
async fn a_token_in_which_a_name_stands_twice_is_refused() {
    let who = build(&with_secret());
    let (header, payload) = (json!({"alg": "HS256"}), good().to_string());
    assert!(
        bear(&who, &sign(&header, &payload, SECRET.as_bytes()))
            .await
            .is_ok()
    );
    for twice in [
        payload.replace('{', r#"{"exp":1,"#),
        payload.replace('{', r#"{"\u0073ub":"mallory","#),
    ] {
        refused(&who, &sign(&header, &twice, SECRET.as_bytes()), "twice").await;
    }
}

#[tokio::test]
async fn a_public_key_used_as_a_secret_does_not_forge_a_token() {
    let public = content("rsa.pem");
    let who = build(&with_key("RS256", "rsa.pem"));
    for secret in [public.as_bytes(), public.trim().as_bytes()] {
        for alg in ["HS256", "RS256"] {
            let forged = sign(&json!({"alg": alg}), &good().to_string(), secret);
            let cause = if alg == "HS256" {
                "algorithm"
            } else {
                "signature"
            };
            refused(&who, &forged, cause).await;
        }
    }
}

#[tokio::test]
async fn only_the_configured_algorithms_are_accepted_even_by_the_same_key() {
    let who = build(&with_key("RS256", "rsa.pem"));
    for other in ["RS384", "RS512", "PS256"] {
        refused(&who, &token(other), "algorithm").await;
    }
    refused(&build(&with_secret()), &token("HS512"), "algorithm").await;
    let mut both = with_key("RS256", "rsa.pem");
    both.algorithms.push("PS256".into());
    assert!(bear(&build(&both), &token("PS256")).await.is_ok());
}

#[tokio::test]
async fn a_header_whose_algorithm_is_missing_or_no_name_is_refused() {
    let who = build(&with_secret());
    for header in [
        json!({}),
        json!({"alg": null}),
        json!({"alg": ["HS256"]}),
        json!({"alg": "hs256"}),
        json!({"alg": 1}),
    ] {
        let forged = sign(&header, &good().to_string(), SECRET.as_bytes());
        refused(&who, &forged, "algorithm").await;
    }
}

#[tokio::test]
async fn a_token_signed_by_somebody_else_is_refused() {
    let who = build(&with_secret());
    for secret in ["", "secret", &SECRET[1..], &format!("{SECRET}\n")] {
        let forged = sign(
            &json!({"alg": "HS256"}),
            &good().to_string(),
            secret.as_bytes(),
        );
        refused(&who, &forged, "signature").await;
    }
}

#[tokio::test]
async fn a_critical_extension_is_refused() {
    let who = build(&with_secret());
    for crit in [json!(["b64"]), json!(["exp"]), json!([]), json!(null)] {
        let header = json!({"alg": "HS256", "crit": crit, "b64": false});
        let token = sign(&header, &good().to_string(), SECRET.as_bytes());
        refused(&who, &token, "critical").await;
    }
}

#[tokio::test]
async fn a_key_that_the_token_brings_along_is_not_used() {
    let who = build(&with_key("ES256", "p256.pem"));
    let foreign: Value = serde_json::from_str(&content("jwks-new.json")).unwrap();
    let [_, payload, signature] = &token("new")
        .split('.')
        .map(str::to_owned)
        .collect::<Vec<_>>()[..]
    else {
        unreachable!()
    };
    let header =
        json!({"alg": "ES256", "jwk": foreign["keys"][0], "jku": "https://evil.example/jwks"});
    let forged = format!("{}.{payload}.{signature}", encode(header.to_string()));
    refused(&who, &forged, "signature").await;
}

#[tokio::test]
async fn a_token_of_another_type_is_refused() {
    let who = build(&with_secret());
    for (typ, holds) in [
        (json!("JWT"), true),
        (json!("at+jwt"), true),
        (json!("application/at+JWT"), true),
        (json!("logout+jwt"), false),
        (json!("dpop+jwt"), false),
        (json!(7), false),
    ] {
        let header = json!({"alg": "HS256", "typ": typ});
        let token = sign(&header, &good().to_string(), SECRET.as_bytes());
        assert_eq!(bear(&who, &token).await.is_ok(), holds, "{typ}");
    }
}

#[tokio::test]
async fn claims_are_checked_after_the_signature() {
    let who = build(&with_secret());
    assert_eq!(bear(&who, &hs256(&good())).await.unwrap().id, "alice");
    for (claims, cause) in [
        (json!({"sub": "a", "exp": NOW - 31}), "exp"),
        (json!({"sub": "a", "exp": NOW + 60, "nbf": NOW + 31}), "nbf"),
        (json!({"sub": "a"}), "exp"),
        (json!({"sub": "a", "exp": "1900000000"}), "exp"),
        (json!({"exp": NOW + 60}), "sub"),
        (json!({"sub": "", "exp": NOW + 60}), "sub"),
        (json!({"sub": "Anonymous", "exp": NOW + 60}), "sub"),
        (json!({"sub": "a", "exp": NOW + 60, "aud": "x"}), "aud"),
        (json!(["sub"]), "JSON object"),
        (json!("sub"), "JSON object"),
    ] {
        refused(&who, &hs256(&claims), cause).await;
    }
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let who = build(&with_secret());
    let good = hs256(&good());
    let [header, payload, signature] = &good.split('.').collect::<Vec<_>>()[..] else {
        unreachable!()
    };
    for wrong in [
        "a".to_owned(),
        "a.b".to_owned(),
        "..".to_owned(),
        format!("{good}."),
        format!("{good}.x"),
        format!("{header}.{payload}"),
        format!(".{payload}.{signature}"),
        format!("{header}..{signature}"),
        format!("{good}="),
        format!("{header}.{payload}=.{signature}"),
    ] {
        refused(&who, &wrong, "").await;
    }
}

#[tokio::test]
async fn an_oversize_token_is_refused_before_it_is_looked_at() {
    let who = build(&with_secret());
    let long = json!({"sub": "a", "exp": NOW + 60, "x": "x".repeat(20_000)});
    refused(&who, &hs256(&long), "longer than 16384").await;
}

#[tokio::test]
async fn a_deeply_nested_payload_is_refused_and_does_not_overflow_the_stack() {
    let who = build(&with_secret());
    let payload = format!("{{\"x\":{}", "[".repeat(10_000));
    let deep = sign(&json!({"alg": "HS256"}), &payload, SECRET.as_bytes());
    refused(&who, &deep, "JSON object").await;
}

#[tokio::test]
async fn every_refusal_of_a_header_is_the_same_whatever_the_scheme() {
    let who = build(&with_secret());
    for header in [
        "Basic YTpi",
        "Bearer",
        "Bearer a b",
        "",
        "Negotiate x",
        "Bearer \u{fffd}",
    ] {
        let error = show(&who, header).await.expect_err(header);
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::Unauthenticated, DOES_NOT_HOLD)
        );
    }
}

#[tokio::test]
async fn a_remembered_token_is_refused_once_it_has_expired() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let now = Arc::new(AtomicU64::new(NOW));
    let clock = Arc::clone(&now);
    let clock = Clock::new(move || clock.load(Ordering::SeqCst));
    let who = Authentication::with_clock(&with_secret(), clock).unwrap().0;
    let token = hs256(&good());
    assert_eq!(
        bear(&who, &token).await.unwrap(),
        bear(&who, &token).await.unwrap()
    );
    now.store(NOW + 89, Ordering::SeqCst);
    assert!(bear(&who, &token).await.is_ok());
    now.store(NOW + 90, Ordering::SeqCst);
    refused(&who, &token, "exp").await;
}

#[tokio::test(start_paused = true)]
async fn a_remembered_token_is_refused_once_the_secret_file_has_changed() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), format!("{SECRET}\n")).unwrap();
    let mut config = with_secret();
    config.secret = None;
    config.secret_file = Some(secret.path().to_owned());
    let who = build(&config);
    let token = hs256(&good());
    assert!(bear(&who, &token).await.is_ok());
    std::fs::write(secret.path(), "another secret, also of more than 32 bytes").unwrap();
    tokio::time::advance(crate::watched::EVERY).await;
    refused(&who, &token, "signature").await;
}

#[tokio::test]
async fn a_key_set_binds_each_key_to_what_it_was_published_for() {
    let mut config = with_secret();
    config.secret = None;
    config.jwks_file = Some(file("jwks-mixed.json"));
    config.algorithms = ["RS256", "PS256", "EdDSA"].map(str::to_owned).to_vec();
    let who = build(&config);
    for name in ["RS256 rsa", "PS256 ps-only", "EdDSA ed25519"] {
        assert!(bear(&who, &token(name)).await.is_ok(), "{name}");
    }
    for name in ["RS256 ps-only", "RS256 encrypts", "RS256 signs", "old"] {
        let cause = if name == "old" { "algorithm" } else { "kid" };
        refused(&who, &token(name), cause).await;
    }
}

#[tokio::test]
async fn a_token_with_a_wrong_kid_is_refused() {
    let mut config = with_secret();
    config.secret = None;
    config.jwks_file = Some(file("jwks-both.json"));
    config.algorithms = vec!["ES256".into()];
    let who = build(&config);
    assert!(bear(&who, &token("old")).await.is_ok());
    assert!(bear(&who, &token("new")).await.is_ok());
    assert!(bear(&who, &token("new without kid")).await.is_ok());
    refused(&who, &token("new that says old"), "signature").await;
    let payload = token("new").split('.').nth(1).unwrap().to_owned();
    for kid in ["other", "", "../../etc/passwd", "' OR 1=1"] {
        let header = encode(json!({"alg": "ES256", "kid": kid}).to_string());
        refused(&who, &format!("{header}.{payload}.AAAA"), "kid").await;
    }
}

type Shown<'a> = Option<&'a str>;

#[tokio::test]
async fn the_first_credential_that_is_shown_decides_and_none_is_passed_over() {
    let new = new_api_key("batch", &["reader".into()]).unwrap();
    let keys = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(keys.path(), &new.line).unwrap();
    let mut config = with_secret();
    config.api_keys_file = Some(keys.path().to_owned());
    let who = build(&config);
    let bearer = format!("Bearer {}", hs256(&good()));
    let key = String::from_utf8(new.key.expose().to_vec()).unwrap();
    let table: [(Shown, Shown, Shown, Option<Shown>); 9] = [
        (Some(&bearer), Some(&key), Some("cn"), Some(Some("alice"))),
        (None, Some(&key), Some("cn"), Some(Some("batch"))),
        (None, None, Some("cn"), Some(Some("cn"))),
        (None, None, None, Some(None)),
        (Some("Bearer x"), Some(&key), Some("cn"), None),
        (Some("Basic x"), Some(&key), Some("cn"), None),
        (None, Some("oip_wrong"), Some("cn"), None),
        (None, None, Some("Anonymous"), None),
        (None, None, Some(""), None),
    ];
    for (bearer, key, certificate, expected) in table {
        let shown = Credentials {
            authorization: bearer.map(str::to_owned).into_iter().collect(),
            api_key: key.map(str::to_owned).into_iter().collect(),
            client_certificate: certificate.map(str::to_owned),
        };
        let found = who.authenticate(&shown).await;
        let found = found
            .as_ref()
            .map(|subject| subject.as_ref().map(|s| s.id.as_str()));
        assert_eq!(found.ok(), expected, "{bearer:?} {key:?} {certificate:?}");
    }
}

#[tokio::test]
async fn a_credential_for_which_no_way_in_is_configured_is_refused() {
    let keys = tempfile::NamedTempFile::new().unwrap();
    let mut config = with_secret();
    let key = Credentials {
        api_key: vec!["oip_x".into()],
        ..Credentials::default()
    };
    assert!(build(&config).authenticate(&key).await.is_err());
    config.secret = None;
    config.api_keys_file = Some(keys.path().to_owned());
    refused(&build(&config), &hs256(&good()), "no key for tokens").await;
}

#[tokio::test(start_paused = true)]
async fn an_api_key_that_was_struck_from_the_file_no_longer_holds() {
    let new = new_api_key("batch", &[]).unwrap();
    let keys = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(keys.path(), &new.line).unwrap();
    let config = AuthenticationConfig {
        api_keys_file: Some(keys.path().to_owned()),
        ..AuthenticationConfig::default()
    };
    let who = build(&config);
    let shown = Credentials {
        api_key: vec![String::from_utf8(new.key.expose().to_vec()).unwrap()],
        ..Credentials::default()
    };
    assert!(who.authenticate(&shown).await.is_ok());
    std::fs::write(keys.path(), "no line of a file of keys").unwrap();
    tokio::time::advance(crate::watched::EVERY).await;
    assert!(
        who.authenticate(&shown).await.is_ok(),
        "a bad file keeps the old keys"
    );
    std::fs::write(keys.path(), "# nobody\n").unwrap();
    tokio::time::advance(crate::watched::EVERY).await;
    assert!(who.authenticate(&shown).await.is_err());
}

/// A change of a token: bytes replaced, put in, or taken out.
fn mutated() -> impl Strategy<Value = (usize, Vec<(usize, u8, u8)>)> {
    (
        0..5_usize,
        prop::collection::vec((any::<usize>(), any::<u8>(), 0..3_u8), 1..4),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_mutation_of_a_valid_token_ever_holds((which, changes) in mutated()) {
        let names = [("HS256", ""), ("RS256", "rsa.pem"), ("PS256", "rsa.pem"), ("ES256", "p256.pem"), ("EdDSA", "ed25519.pem")];
        let (name, key) = names[which];
        let config = if key.is_empty() { with_secret() } else { with_key(name, key) };
        let original = token(name);
        let mut bytes = original.clone().into_bytes();
        for (at, byte, kind) in changes {
            let at = at % bytes.len();
            // Mostly characters that a token may hold, so that the mutants get far.
            let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
            let byte = *alphabet.get(usize::from(byte)).unwrap_or(&byte);
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        let mutant = String::from_utf8_lossy(&bytes).into_owned();
        prop_assume!(mutant != original);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(show(&build(&config), &format!("Bearer {mutant}")));
        prop_assert!(found.is_err(), "{mutant}");
    }
}
