use std::collections::HashSet;

use super::*;

#[test]
fn every_default_makes_sense_and_every_word_has_a_type() {
    for option in OPTIONS {
        let sensible = option.default.is_empty() || option.kind.read(option.default).is_some();
        assert!(sensible, "{}", option.key);
        if let Kind::Choice(words) = option.kind {
            for word in words
                .iter()
                .filter(|_| option.standing == Standing::Honoured)
            {
                let sources = open()
                    .with_flag(option.flag(), *word)
                    .with_flag("pdp-url", "https://pdp.example")
                    .with_flag("tls-cert", "cert.pem")
                    .with_flag("tls-key", "key.pem")
                    .with_flag("tls-client-ca", "ca.pem");
                assert!(
                    Config::resolve(&sources).unwrap().settings().is_ok(),
                    "{word}"
                );
            }
        }
    }
}

#[test]
fn no_name_stands_for_two_options() {
    let (mut flags, mut variables, mut keys) = (HashSet::new(), HashSet::new(), HashSet::new());
    for option in OPTIONS {
        for flag in option.flag_spellings().collect::<HashSet<_>>() {
            assert!(flags.insert(flag), "{}", option.key);
        }
        for name in option.variable_spellings().collect::<HashSet<_>>() {
            assert!(variables.insert(name), "{}", option.key);
        }
        for key in option.key_spellings().collect::<HashSet<_>>() {
            assert!(keys.insert(key), "{}", option.key);
        }
    }
}

#[test]
fn every_option_has_three_spellings_and_a_sentence() {
    for option in OPTIONS {
        assert!(
            option
                .key
                .chars()
                .all(|c| c.is_ascii_lowercase() || c == '_'),
            "{}",
            option.key
        );
        assert!(option.help.ends_with('.'), "{}", option.key);
    }
    let port = option("rest_port").unwrap();
    assert_eq!(
        (port.flag().as_str(), port.variable().as_str()),
        ("rest-port", "OIP_REST_PORT")
    );
}

#[test]
fn sizes_times_and_lists_reach_the_settings() {
    let sources = open()
        .with_flag("body-limit", "2MiB")
        .with_flag("request-timeout", "1500ms")
        .with_flag("forward-headers", "X-Tenant")
        .with_flag("threads", "3");
    let settings = Config::resolve(&sources).unwrap().settings().unwrap();
    assert_eq!(settings.body_limit, 2 << 20);
    assert_eq!(settings.request_timeout.unwrap().as_millis(), 1500);
    assert_eq!(settings.forward_headers, ["x-tenant"]);
    assert_eq!(settings.threads, Some(3));
    let message = refusal(&open().with_flag("forward-headers", "not a header"));
    assert!(message.contains("forward_headers"), "{message}");
    let message = refusal(&open().with_flag("trusted-proxies", "10.0.0.0/8,proxy"));
    assert!(message.contains("'proxy'"), "{message}");
}

/// A value that options of a kind do not take; `None` where any text will do.
fn wrong(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Bool => Some("perhaps"),
        Kind::Port => Some("65536"),
        Kind::Count { .. } => Some("-1"),
        Kind::Integer => Some("many"),
        Kind::Size { .. } => Some("big"),
        Kind::Duration => Some("soon"),
        Kind::Ratio => Some("1.5"),
        Kind::Host => Some("not a host"),
        Kind::HttpUrl => Some("ftp://x"),
        Kind::Choice(_) => Some("no-such-word"),
        Kind::Text | Kind::Path | Kind::List => None,
    }
}

#[test]
fn a_bad_value_of_every_option_is_refused_by_key_source_and_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("oip.properties");
    let mut refused = 0;
    for option in OPTIONS {
        let Some(value) = wrong(option.kind) else {
            continue;
        };
        std::fs::write(&file, format!("\n{}={value}\n", option.key)).unwrap();
        let base = closed().with_variable("KRAUSENING_BASE", folder.path());
        for (sources, named) in [
            (
                closed().with_flag(option.flag(), value),
                format!("--{}", option.flag()),
            ),
            (
                closed().with_variable(option.variable(), value),
                option.variable(),
            ),
            (base, format!("{}:2", file.display())),
        ] {
            let message = refusal(&sources);
            for part in [option.key, &named, &option.kind.allowed()] {
                assert!(message.contains(part), "{part}: {message}");
            }
            assert!(option.secret || message.contains(value), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
            refused += 1;
        }
    }
    assert!(refused > 100);
}

#[test]
fn texts_that_have_a_form_are_held_to_it() {
    for (flag, value, allowed) in [
        ("forward-headers", "x-a,not a header", "names of headers"),
        ("trusted-proxies", "10.0.0.0/8,proxy", "IP addresses"),
        (
            "cors-origins",
            "https://a.example,console.example",
            "https://console.example",
        ),
        ("cors-origins", "*", "https://console.example"),
        (
            "cors-origins",
            "https://a.example/path",
            "https://console.example",
        ),
        ("auth-jwks-timeout", "0s", "more than 0s"),
        ("pdp-timeout", "0", "more than 0s"),
    ] {
        let message = refusal(&open().with_flag(flag, value));
        for part in [&flag.replace('-', "_"), &format!("--{flag}"), allowed] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
    let good = open().with_flag("cors-origins", "https://a.example/,http://localhost:3000");
    assert!(Config::resolve(&good).unwrap().settings().is_ok());
}

#[test]
fn a_secret_that_is_refused_is_not_shown() {
    let sources = closed().with_flag("auth-secret", "hunter2\0");
    let message = refusal(&sources);
    assert!(message.contains("auth_secret is ***"), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
}
