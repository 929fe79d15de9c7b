use oip::config::{Settings, Sources};

use super::*;

fn given(flags: &[(&str, &str)], variables: &[(&str, &str)]) -> Sources {
    let sources = Sources::default().with_flag("auth-enabled", "false");
    let sources = flags.iter().fold(sources, |sources, (name, value)| {
        sources.with_flag(*name, *value)
    });
    variables.iter().fold(sources, |sources, (name, value)| {
        sources.with_variable(*name, *value)
    })
}

fn printed(sources: &Sources) -> String {
    written(&Config::resolve(sources).unwrap())
}

/// The settings of a file that holds this.
fn settings_of(text: &str) -> Settings {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("oip.properties"), text).unwrap();
    let sources = Sources::default().with_variable("KRAUSENING_BASE", folder.path());
    Config::checked(&sources).unwrap().1
}

#[test]
fn what_is_printed_gives_the_same_settings_when_it_is_read_back() {
    for (flags, variables) in [
        (&[][..], &[][..]),
        (&[("port", "9000")], &[]),
        (&[("port", "9000")], &[("OIP_REST_PORT", "7")]),
        (&[("rest-port", "7")], &[("OIP_PORT", "9000")]),
        (&[("port", "9"), ("rest-host", "::1"), ("grpc", "no")], &[]),
        (&[], &[("FASTAPI_RELOAD", "True"), ("GRPC_WORKERS", "4")]),
        (&[("model-control", "none")], &[("FASTAPI_RELOAD", "True")]),
        (&[("access_log_format", "%(h)s"), ("enable_grpc", "n")], &[]),
        (&[("grpc_max_receive_message_length", "104857600")], &[]),
        (&[("timeout-keep-alive", "100")], &[]),
        (&[], &[("OIP_PDP_URL", "http://localhost:8080/pdp")]),
        (
            &[
                ("rest-socket", "/run/oip.sock"),
                ("audit-failure", "refuse"),
            ],
            &[],
        ),
        (&[("tls-cert", "c"), ("tls-key", "k")], &[]),
        (
            &[
                ("service-name", "a\nb\rc\\d = #!: \u{e9}"),
                ("model-name", "a,b"),
            ],
            &[],
        ),
    ] {
        let sources = given(flags, variables);
        let (_, settings) = Config::checked(&sources).unwrap();
        let text = printed(&sources);
        let again = settings_of(&text);
        assert_eq!(format!("{again:?}"), format!("{settings:?}"), "{text}");
    }
}

#[test]
fn what_follows_from_another_option_is_printed_with_that_option() {
    for (flags, variables, lines) in [
        (
            &[][..],
            &[("FASTAPI_RELOAD", "True")][..],
            "# from: reload = True (environment variable FASTAPI_RELOAD); default: explicit\n\
             #model_control=poll\n",
        ),
        (
            &[("access_log_format", "%(h)s")],
            &[],
            "# from: kserve_access_log_format = %(h)s (--access_log_format); default: off\n\
             #access_log=text\n",
        ),
        (
            &[],
            &[("OIP_PDP_URL", "http://u:hunter2@localhost/pdp")],
            "# from: pdp_url = http://***@localhost/pdp (environment variable OIP_PDP_URL); \
             default: none\npdp=xacml\n",
        ),
        (
            &[("grpc_max_receive_message_length", "104857600")],
            &[],
            "(--grpc_max_receive_message_length); default: 64MiB\n\
             # can change without a restart (reload=true)\n#body_limit=104857600\n",
        ),
        (
            &[("timeout-keep-alive", "100")],
            &[],
            "(--timeout-keep-alive); default: 75s\n#connection_idle=100s\n",
        ),
        (
            &[("port", "9")],
            &[("OIP_REST_PORT", "7")],
            "# from: port = 9 (--port); default: 8082\n\
             # passed over: rest_port = 7 (environment variable OIP_REST_PORT)\n#rest_port=9\n",
        ),
        (
            &[("port", "9"), ("rest-host", "0.0.0.0")],
            &[],
            "# from: port = 9 (--port); default: 127.0.0.1\n#grpc_host=0.0.0.0\n",
        ),
        (
            &[("grpc-port", "7")],
            &[("OIP_PORT", "9")],
            "# from: grpc_port = 7 (--grpc-port); default: none\n\
             # passed over: port = 9 (environment variable OIP_PORT)\n#port=\n",
        ),
    ] {
        let text = printed(&given(flags, variables));
        assert!(text.contains(lines), "{lines}\n{text}");
        assert!(!text.contains("hunter2"));
    }
}

#[test]
fn what_does_not_raise_a_limit_decides_nothing() {
    let flags = [
        ("grpc_max_receive_message_length", "1"),
        ("timeout-keep-alive", "5"),
    ];
    let text = printed(&given(&flags, &[]));
    for line in ["#body_limit=64MiB\n", "#connection_idle=75s\n"] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn a_value_that_was_encrypted_is_hidden_and_so_is_what_follows_from_it() {
    let folder = tempfile::tempdir().unwrap();
    // "s3cret", by the password "pw".
    let secret = "VCS4DnoG6fNvnLSnadYRuE4Li+HTiS4faR+iLHzbOCqt/AOOpOUPi+lYsf+S9s59";
    let text = format!("service_name=ENC({secret})\nkserve_access_log_format=ENC({secret})\n");
    std::fs::write(folder.path().join("oip.properties"), text).unwrap();
    let base = folder.path().to_str().unwrap();
    let variables = [("KRAUSENING_BASE", base), ("KRAUSENING_PASSWORD", "pw")];
    let text = printed(&given(&[], &variables));
    for line in ["\n#service_name=***\n", "\n#access_log=***\n"] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn a_value_that_a_file_would_change_stands_behind_a_hash() {
    let text = printed(&given(&[("service-name", "a$HOME")], &[]));
    assert!(
        text.contains("is replaced\n#service_name=a$HOME\n"),
        "{text}"
    );
}
