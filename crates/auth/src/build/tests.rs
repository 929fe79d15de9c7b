use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::*;
use crate::testing::{SECRET, content, file, with_key, with_secret};

fn refused(config: &AuthenticationConfig, parts: &[&str]) {
    let error = Authentication::new(config).map(|_| ()).unwrap_err();
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{text:?} says nothing of {part:?}");
    }
    assert!(!text.contains(SECRET));
}

#[test]
fn without_any_key_the_two_ways_out_are_named() {
    for secret in [None, Some(""), Some("  \n")] {
        let mut config = with_secret();
        config.secret = secret.map(Secret::new);
        refused(&config, &["auth_secret", "auth_enabled = false"]);
    }
}

#[test]
fn none_and_es512_and_unknown_algorithms_refuse_to_start() {
    for (name, part) in [
        ("none", "nobody signed"),
        ("ES512", "P-521"),
        ("XX", "HS256"),
    ] {
        let mut config = with_secret();
        config.algorithms = vec![name.to_owned()];
        refused(&config, &[part]);
        config.secret = None;
        refused(&config, &[part]);
    }
}

#[test]
fn a_public_key_with_a_shared_secret_algorithm_refuses_to_start() {
    for name in ["rsa.pem", "rsa-certificate.pem", "p256.pem"] {
        let mut config = with_secret();
        config.secret = Some(Secret::new(content(name)));
        refused(&config, &["auth_secret is a public key", "HS256", "RS256"]);
        config.secret = None;
        config.secret_file = Some(file(name));
        refused(&config, &["auth_secret_file is a public key"]);
    }
    let mut config = with_key("HS256", "rsa.pem");
    refused(&config, &["auth_key_file is a public key"]);
    config.key_file = None;
    config.jwks_file = Some(file("jwks-old.json"));
    refused(&config, &["auth_jwks_file is a public key", "HS256"]);
}

/// The DER in a PEM text.
fn der(name: &str) -> Vec<u8> {
    let pem = content(name);
    let inner = pem.lines().filter(|line| !line.starts_with("-----"));
    STANDARD.decode(inner.collect::<String>()).unwrap()
}

#[test]
fn a_public_key_in_any_other_form_is_no_shared_secret_either() {
    let spki = der("rsa.pem");
    let set = content("jwks-old.json");
    let key = serde_json::from_str::<serde_json::Value>(&set).unwrap()["keys"][0].to_string();
    let ssh =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGqUuZTLZQnLDpMlbA7LbnYN2iKvjYJt6m7tYcLlGkyN a@b";
    let blob = ssh.split(' ').nth(1).unwrap();
    let packed = |bytes: &[u8]| STANDARD.encode(bytes).into_bytes();
    let wrapped = packed(&spki)
        .chunks(64)
        .collect::<Vec<_>>()
        .join(&b"\n"[..]);
    let url_safe = URL_SAFE_NO_PAD.encode(&spki).into_bytes();
    // PKCS #1 is what an SPKI of RSA holds behind its head of 24 bytes.
    let forms: [(&str, Vec<u8>); 14] = [
        ("SPKI", spki.clone()),
        ("P-256", der("p256.pem")),
        ("a certificate", der("rsa-certificate.pem")),
        ("PKCS #1", spki[24..].to_vec()),
        ("base64 of SPKI", packed(&spki)),
        ("the same in lines", wrapped),
        ("the same for URLs", url_safe),
        (
            "base64 of a certificate",
            packed(&der("rsa-certificate.pem")),
        ),
        ("base64 of PEM", packed(content("rsa.pem").as_bytes())),
        ("a key set", set.clone().into_bytes()),
        ("a key", format!("\n {key} ").into_bytes()),
        ("keys in a list", format!("[{key}]").into_bytes()),
        ("SSH", ssh.into()),
        ("the middle of SSH", blob.into()),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    for (form, text) in forms {
        for end in ["", "\n", "\r\n"] {
            std::fs::write(&path, [&text, end.as_bytes()].concat()).unwrap();
            let config = AuthenticationConfig {
                secret_file: Some(path.clone()),
                ..AuthenticationConfig::default()
            };
            let made = Authentication::new(&config).map(|_| ());
            let Err(error) = made else {
                panic!("{form} is taken for a secret")
            };
            assert!(
                error.to_string().contains("is a public key"),
                "{form}: {error}"
            );
        }
        if let Ok(text) = String::from_utf8(text) {
            let mut config = with_secret();
            config.secret = Some(Secret::new(text));
            refused(&config, &["auth_secret is a public key"]);
        }
    }
}

#[test]
fn what_is_no_public_key_is_a_shared_secret() {
    for secret in [
        "{\"user\": \"alice\", \"password\": \"a very long one, with spaces\"}",
        "0123456789abcdef0123456789abcdef0123456789abcdef",
        "q3JyZWN0IGhvcnNlIGJhdHRlcnkgc3RhcGxlIGFuZCBtb3JlIG9mIGl0IGFsbA==",
        "sshhhhhh, it is a secret that nobody knows",
        "[1, 2, 3] and further numbers up to thirty-two",
    ] {
        let mut config = with_secret();
        config.secret = Some(Secret::new(secret));
        let (_, warnings) = Authentication::new(&config).unwrap();
        assert_eq!(warnings, Vec::<String>::new(), "{secret}");
    }
}

#[test]
fn a_secret_file_that_holds_an_encrypted_value_is_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    for (text, warned) in [
        ("ENC(VCS4DnoG6fNvnLSnadYRuE4Li+HTiS4faR+iLHzbOCqt)\n", true),
        ("enc(VCS4DnoG6fNvnLSnadYRuE4Li+HTiS4faR+iLHzbOCqt", true),
        ("encoded: VCS4DnoG6fNvnLSnadYRuE4Li+HTiS4faR+iLHzb", false),
    ] {
        std::fs::write(&path, text).unwrap();
        let config = AuthenticationConfig {
            secret_file: Some(path.clone()),
            ..AuthenticationConfig::default()
        };
        let (_, warnings) = Authentication::new(&config).unwrap();
        assert_eq!(warnings.len(), usize::from(warned), "{warnings:?}");
        assert!(!warnings.join("").contains("VCS4"), "{warnings:?}");
    }
}

#[test]
fn a_key_that_does_not_fit_the_algorithm_refuses_to_start() {
    refused(
        &with_key("RS256", "p256.pem"),
        &["RS256", "auth_key_file", "P-256"],
    );
    refused(&with_key("ES384", "p256.pem"), &["ES384", "P-256"]);
    refused(&with_key("EdDSA", "rsa.pem"), &["EdDSA", "RSA"]);
    refused(&with_key("RS256", "rsa-1024.pem"), &["2048"]);
    refused(&with_key("ES256", "secp256k1.pem"), &["P-256"]);
    refused(&with_key("RS256", "tokens.json"), &["BEGIN PUBLIC KEY"]);
    let mut config = with_secret();
    config.algorithms = vec!["RS256".into()];
    refused(&config, &["auth_secret", "RS256", "BEGIN PUBLIC KEY"]);
}

#[test]
fn a_private_key_and_several_keys_are_refused_with_what_to_do() {
    let mut config = with_secret();
    config.algorithms = vec!["RS256".into()];
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
        let pem = format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        config.secret = Some(Secret::new(pem));
        refused(&config, &["private key", "pubout"]);
    }
    config.secret = Some(Secret::new(content("rsa.pem").repeat(2)));
    refused(&config, &["several keys"]);
    config.secret = Some(Secret::new(
        "-----BEGIN RSA PUBLIC KEY-----\nAAAA\n-----END RSA PUBLIC KEY-----\n",
    ));
    refused(&config, &["RSAPublicKey_in"]);
}

#[test]
fn algorithms_of_different_kinds_with_one_key_refuse_to_start() {
    let mut config = with_key("RS256", "rsa.pem");
    config.algorithms.push("ES256".into());
    refused(&config, &["RS256", "ES256", "auth_key_file"]);
    let mut config = with_key("RS256", "rsa.pem");
    config.algorithms.push("HS256".into());
    refused(&config, &["RS256", "HS256"]);
    let mut config = with_key("HS256", "rsa.pem");
    config.key_file = None;
    config.jwks_file = Some(file("jwks-old.json"));
    config.algorithms.push("ES256".into());
    refused(&config, &["HS256", "ES256"]);
}

#[test]
fn two_keys_refuse_to_start() {
    let mut config = with_key("RS256", "rsa.pem");
    config.jwks_url = Some("https://id.example/jwks".into());
    refused(&config, &["auth_key_file", "auth_jwks_url"]);
}

#[test]
fn a_file_that_is_missing_or_blank_refuses_to_start_by_its_name() {
    let blank = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(blank.path(), "\r\n").unwrap();
    let blank = blank.path().to_owned();
    let missing = PathBuf::from("/does/not/exist");
    let config = AuthenticationConfig {
        secret_file: Some(blank.clone()),
        ..AuthenticationConfig::default()
    };
    refused(&config, &["auth_secret_file", &blank.display().to_string()]);
    for field in [
        "auth_secret_file",
        "auth_key_file",
        "auth_jwks_file",
        "auth_api_keys_file",
    ] {
        let path = |name| (name == field).then(|| missing.clone());
        let config = AuthenticationConfig {
            algorithms: vec!["RS256".into()],
            secret_file: path("auth_secret_file"),
            key_file: path("auth_key_file"),
            jwks_file: path("auth_jwks_file"),
            api_keys_file: path("auth_api_keys_file"),
            ..AuthenticationConfig::default()
        };
        refused(&config, &[field, "/does/not/exist", "No such file"]);
    }
}

#[test]
fn a_key_set_is_fetched_by_https_only_unless_it_is_on_this_machine() {
    let mut config = AuthenticationConfig {
        algorithms: vec!["RS256".into()],
        jwks_url: Some("http://id.example/jwks".into()),
        ..AuthenticationConfig::default()
    };
    refused(&config, &["auth_jwks_url", "https"]);
    config.jwks_url = None;
    config.issuer = Some("http://id.example".into());
    refused(&config, &["auth_issuer", "https"]);
    config.issuer = Some("http://localhost:1".into());
    assert!(Authentication::new(&config).is_ok());
}

#[test]
fn a_key_set_without_a_key_of_use_refuses_to_start() {
    let config = AuthenticationConfig {
        algorithms: vec!["RS256".into()],
        jwks_file: Some(file("jwks-old.json")),
        ..AuthenticationConfig::default()
    };
    refused(&config, &["auth_jwks_file", "RS256"]);
}

#[test]
fn a_secret_shorter_than_its_hash_is_warned_about_and_not_shown() {
    for (algorithm, length, warned) in [
        ("HS256", 31, true),
        ("HS256", 32, false),
        ("HS512", 63, true),
    ] {
        let mut config = with_secret();
        config.algorithms = vec![algorithm.to_owned()];
        config.secret = Some(Secret::new("s".repeat(length)));
        let (_, warnings) = Authentication::new(&config).unwrap();
        assert_eq!(warnings.len(), usize::from(warned), "{warnings:?}");
        assert!(
            warnings
                .iter()
                .all(|text| text.contains(algorithm) && !text.contains("sss"))
        );
    }
}

#[test]
fn what_was_left_around_a_secret_is_warned_about_and_not_shown() {
    let word = "s".repeat(64);
    for (before, after, said) in [
        ("", "", None),
        (" ", "", Some("white space")),
        ("", "\n", Some("white space")),
        ("", "\u{a0}", Some("white space")),
        ("\u{feff}", "", Some("byte order mark")),
    ] {
        let text = format!("{before}{word}{after}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{text}\n")).unwrap();
        let in_file = AuthenticationConfig {
            secret_file: Some(file.path().to_owned()),
            ..AuthenticationConfig::default()
        };
        let mut given = with_secret();
        given.secret = Some(Secret::new(text));
        for (option, config) in [("auth_secret ", given), ("auth_secret_file ", in_file)] {
            let (_, warnings) = Authentication::new(&config).unwrap();
            assert_eq!(warnings.len(), usize::from(said.is_some()), "{warnings:?}");
            for warning in &warnings {
                assert!(warning.starts_with(option), "{warning}");
                assert!(warning.contains(said.unwrap()), "{warning}");
                assert!(!warning.contains("sss"), "{warning}");
            }
        }
    }
}

#[test]
fn a_secret_does_not_show_in_the_debug_form_of_a_configuration() {
    let config = with_secret();
    let (authentication, _) = Authentication::new(&config).unwrap();
    assert!(!format!("{config:?} {authentication:?}").contains("example secret"));
}

#[test]
fn api_keys_alone_or_client_certificates_alone_are_a_way_in() {
    let keys = tempfile::NamedTempFile::new().unwrap();
    let config = AuthenticationConfig {
        api_keys_file: Some(keys.path().to_owned()),
        ..AuthenticationConfig::default()
    };
    let (_, warnings) = Authentication::new(&config).unwrap();
    assert!(warnings[0].contains("oip apikey new"));
    let config = AuthenticationConfig {
        client_certificates: true,
        ..AuthenticationConfig::default()
    };
    assert!(Authentication::new(&config).is_ok());
}

/// Keeps the text of what is logged.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<String>>);

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        use std::fmt::Write as _;
        let mut log = self.0.lock().unwrap();
        event.record(
            &mut |_: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                let _ = writeln!(log, "{value:?}");
            },
        );
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn a_secret_file_that_becomes_short_is_warned_about_once_for_each_change() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let warned = || log.0.lock().unwrap().matches("needs 32 or more").count();
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "s".repeat(31)).unwrap();
    let mut config = with_secret();
    config.secret = None;
    config.secret_file = Some(secret.path().to_owned());
    let (authentication, warnings) = Authentication::new(&config).unwrap();
    assert_eq!((warnings.len(), warned()), (1, 0), "{warnings:?}");
    let keys = authentication.tokens.unwrap().keys;
    for (length, expected) in [(30, 1), (30, 1), (32, 1), (5, 2)] {
        std::fs::write(secret.path(), "s".repeat(length)).unwrap();
        tokio::time::advance(watched::EVERY).await;
        keys.current().await.unwrap();
        assert_eq!(warned(), expected, "{length}");
    }
    assert!(!log.0.lock().unwrap().contains("sss"));
}
