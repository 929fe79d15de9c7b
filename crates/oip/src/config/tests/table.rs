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
