//! Each way in which the original opened by accident stays closed here.

use super::*;

#[test]
fn a_refusal_that_the_log_cannot_keep_is_not_promised() {
    let keyed = closed().with_flag("auth-secret", "a secret that is longer than 32 bytes");
    let asked = keyed.clone().with_flag("audit-failure", "refuse");
    let message = refusal(&asked);
    for part in [
        "audit_failure is refuse (--audit-failure)",
        "audit_file is not set",
    ] {
        assert!(message.contains(part), "{message}");
    }
    for kept in [
        asked.clone().with_flag("audit-file", "/var/log/a"),
        asked.with_flag("auth-enabled", "false"),
        keyed.clone().with_flag("audit-failure", "continue"),
        keyed,
    ] {
        assert!(Config::checked(&kept).is_ok());
    }
}

#[test]
fn authentication_is_on_unless_the_value_is_clearly_false() {
    let enabled = |value: &str| {
        shown(
            &closed().with_variable("AUTH_ENABLED", value),
            "auth_enabled",
        )
    };
    for value in ["1", "yes", "on", "true ", "TRUE"] {
        let sources = closed().with_variable("AUTH_ENABLED", value);
        let error = Config::resolve(&sources).unwrap().settings().unwrap_err();
        assert!(
            matches!(error, ConfigError::NoKey { .. }),
            "{value}: {error}"
        );
    }
    for value in ["tru", "2", "enabled", "nope"] {
        let message = refusal(&closed().with_variable("AUTH_ENABLED", value));
        assert!(message.contains("AUTH_ENABLED"), "{message}");
    }
    assert_eq!(enabled("false").0, "false");
}

#[test]
fn authentication_without_a_key_refuses_to_start_and_says_the_two_ways_out() {
    let message = refusal(&closed());
    assert!(message.contains("auth_secret") && message.contains("auth_enabled = false"));
}

#[test]
fn a_secret_of_white_space_is_none_and_the_message_says_so() {
    let blank = closed().with_variable("AUTH_SECRET", " \t ");
    let message = refusal(&blank);
    for part in [
        "auth_secret (environment variable AUTH_SECRET) is blank",
        "auth_secret_file",
        "auth_enabled = false",
    ] {
        assert!(message.contains(part), "{message}");
    }
    // Beside another way in it is refused as well: somebody believes in it.
    let message = refusal(&blank.clone().with_flag("auth-api-keys-file", "keys"));
    assert!(message.contains("auth_secret is ***"), "{message}");
    assert!(message.contains("not blank"), "{message}");
    let off = blank.with_flag("auth-enabled", "false");
    assert!(Config::checked(&off).is_ok());
}

#[test]
fn a_key_set_stays_in_force_until_it_may_be_fetched_again() {
    let refused = |refresh: &str, stale: &str| {
        let sources = open()
            .with_flag("auth-jwks-refresh", refresh)
            .with_flag("auth-jwks-stale", stale);
        Config::checked(&sources)
            .err()
            .map(|error| error.to_string())
    };
    assert_eq!(refused("10s", "10s"), None);
    assert_eq!(refused("1s", "10s"), None);
    let message = refused("1s", "5s").unwrap();
    assert!(message.contains("auth_jwks_stale is '5s'"), "{message}");
    assert!(message.contains("10s or more"), "{message}");
    let message = refused("2h", "1h").unwrap();
    for part in [
        "auth_jwks_stale is 1h (--auth-jwks-stale)",
        "auth_jwks_refresh is 2h",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn every_kind_of_key_is_a_way_in() {
    for key in [
        "auth_secret",
        "auth_secret_file",
        "auth_key_file",
        "auth_jwks_file",
        "auth_issuer",
        "auth_api_keys_file",
    ] {
        let sources = closed().with_flag(key.replace('_', "-"), "x");
        let settings = Config::resolve(&sources).unwrap().settings();
        assert!(settings.unwrap().access.has_key(), "{key}");
    }
    let url = closed().with_flag("auth-jwks-url", "https://id.example/keys");
    assert!(Config::resolve(&url).unwrap().settings().is_ok());
    let certificates = ["tls-cert", "tls-key", "tls-client-ca"]
        .iter()
        .fold(closed(), |sources, flag| sources.with_flag(*flag, "x"));
    assert!(Config::resolve(&certificates).unwrap().settings().is_ok());
}

#[test]
fn tls_needs_a_certificate_and_its_key_and_client_options_need_tls() {
    for (flags, named) in [
        (&["tls-cert"][..], "tls_key"),
        (&["tls-key"], "tls_cert"),
        (&["tls-client-ca"], "tls_cert"),
    ] {
        let given = flags
            .iter()
            .fold(open(), |sources, flag| sources.with_flag(*flag, "file.pem"));
        let message = refusal(&given);
        assert!(
            message.contains(&format!("--{}", flags[0])) && message.contains(named),
            "{message}"
        );
    }
    let pair = open()
        .with_flag("tls-cert", "c.pem")
        .with_flag("tls-key", "k.pem");
    let settings = Config::resolve(&pair).unwrap().settings().unwrap();
    let tls = settings.tls.unwrap();
    assert_eq!(
        (tls.client_ca, tls.client_auth),
        (None, ClientAuth::Required)
    );
    let message = refusal(&pair.with_flag("tls-client-auth", "optional"));
    assert!(message.contains("tls_client_ca"), "{message}");
}

#[test]
fn without_tls_keys_the_doors_speak_plain_http() {
    let settings = Config::resolve(&open()).unwrap().settings().unwrap();
    assert!(settings.tls.is_none());
}

#[test]
fn who_decides_follows_from_what_is_given_and_is_never_two() {
    let pdp = |flags: &[(&str, &str)]| {
        let sources = flags.iter().fold(open(), |sources, (flag, value)| {
            sources.with_flag(*flag, *value)
        });
        let config = Config::resolve(&sources).unwrap();
        config.access().map(|access| access.pdp)
    };
    let url = ("pdp-url", "http://localhost:8080/pdp");
    assert_eq!(pdp(&[]).unwrap(), PdpKind::Embedded);
    assert_eq!(pdp(&[("policy-file", "p")]).unwrap(), PdpKind::Embedded);
    assert_eq!(pdp(&[url]).unwrap(), PdpKind::Xacml);
    assert_eq!(pdp(&[url, ("pdp", "opa")]).unwrap(), PdpKind::Opa);
    for wrong in [
        &[("pdp", "xacml")][..],
        &[url, ("policy-file", "p")],
        &[("pdp-timeout", "0s")],
    ] {
        assert!(pdp(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_secret_is_shown_nowhere() {
    let sources = open()
        .with_variable("AUTH_SECRET", "hunter2")
        .with_flag("auth-secret", "hunter3");
    let config = Config::resolve(&sources).unwrap();
    let settings = config.settings().unwrap();
    let all = format!(
        "{sources:?} {config:?} {settings:?} {:?}",
        config.warnings()
    );
    assert!(!all.contains("hunter"), "{all}");
    assert_eq!(shown(&sources, "auth_secret").0, "***");
    let encrypted = refusal(&open().with_flag("auth-secret", "ENC(hunter)"));
    assert!(!encrypted.contains("hunter"), "{encrypted}");
}

#[test]
fn a_password_in_an_address_is_not_shown() {
    let sources = open().with_flag("pdp-url", "https://user:hunter2@pdp.example/x?y=a@b");
    assert_eq!(
        shown(&sources, "pdp_url").0,
        "https://***@pdp.example/x?y=***"
    );
    let config = Config::resolve(&sources).unwrap();
    assert!(!format!("{:?}", config.warnings()).contains("hunter2"));
    for wrong in [
        "ftp://user:hunter2@h",
        "http:///x?key=hunter2",
        "user:hunter2@h",
    ] {
        let message = refusal(&open().with_flag("pdp-url", wrong));
        assert!(message.contains("pdp_url is '"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("oip.properties");
    std::fs::write(&file, "shutdown_grace=soon\n").unwrap();
    let sources = closed()
        .with_variable("KRAUSENING_BASE", folder.path())
        .with_variable("FASTAPI_PORT", "abc")
        .with_flag("pdp", "opa")
        .with_flag("tls-key", "k.pem")
        .with_flag("cors-origins", "*")
        .with_flag("no-such-flag", "1");
    let error = Config::checked(&sources).unwrap_err();
    let told: Vec<String> = error.each().iter().map(ToString::to_string).collect();
    for parts in [
        ["--no-such-flag", "not known", ""],
        ["rest_port", "FASTAPI_PORT", "from 0 to 65535"],
        ["shutdown_grace", "oip.properties:1", "30s"],
        ["pdp is opa", "--pdp", "pdp_url"],
        ["tls_key", "--tls-key", "tls_cert"],
        [
            "cors_origins is '*'",
            "--cors-origins",
            "https://console.example",
        ],
        ["auth_enabled is true", "default", "auth_secret_file"],
    ] {
        let found = told
            .iter()
            .filter(|line| parts.iter().all(|part| line.contains(part)));
        assert_eq!(found.count(), 1, "{parts:?}: {told:#?}");
    }
    assert_eq!(told.len(), 7, "{told:#?}");
    assert_eq!(error.to_string().lines().count(), 7);
}

#[test]
fn what_a_wrong_value_alone_seems_to_cause_is_not_told() {
    for (flags, lines) in [
        // The port would be the default, which is that of the other door.
        (
            &[
                ("rest-port", "abc"),
                ("grpc-port", "8082"),
                ("auth-enabled", "no"),
            ][..],
            1,
        ),
        // There would be no key.
        (&[("auth-jwks-url", "id.example/keys")], 1),
        // There would be no address.
        (
            &[
                ("pdp", "opa"),
                ("pdp-url", "pdp.example"),
                ("auth-enabled", "no"),
            ],
            1,
        ),
    ] {
        let sources = flags.iter().fold(closed(), |sources, (flag, value)| {
            sources.with_flag(*flag, *value)
        });
        let error = Config::checked(&sources).unwrap_err();
        assert_eq!(error.each().len(), lines, "{error}");
    }
}

#[test]
fn a_secret_that_holds_a_dollar_sign_is_taken_literally_from_the_environment() {
    let sources = open()
        .with_variable("AUTH_SECRET", "pa$HOME$$x")
        .with_variable("HOME", "/root");
    let settings = Config::resolve(&sources).unwrap().settings().unwrap();
    assert_eq!(settings.access.auth_secret.unwrap().expose(), "pa$HOME$$x");
}

#[test]
fn a_secret_in_a_file_that_was_expanded_is_warned_about_without_being_shown() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("oip.properties"),
        "auth_secret=pa$HOME$$x\n",
    )
    .unwrap();
    let sources = open()
        .with_variable("KRAUSENING_BASE", folder.path())
        .with_variable("HOME", "/root");
    let config = Config::resolve(&sources).unwrap();
    let settings = config.settings().unwrap();
    assert_eq!(settings.access.auth_secret.unwrap().expose(), "pa/root$$x");
    let [warning] = config.warnings() else {
        panic!("{:?}", config.warnings())
    };
    assert!(
        warning.contains("auth_secret_file") && !warning.contains("root"),
        "{warning}"
    );
}

#[test]
fn both_doors_listen_on_loopback_unless_told_otherwise() {
    let settings = |sources: Sources| Config::resolve(&sources).unwrap().settings().unwrap();
    let Listen::Two { rest, grpc } = settings(open()).listen else {
        panic!("two doors")
    };
    assert_eq!(
        (rest.to_string(), grpc.to_string()),
        ("127.0.0.1:8082".into(), "127.0.0.1:8081".into())
    );
    assert_eq!(settings(open()).reach(), Reach::default());
}
