use super::*;

#[test]
fn the_command_line_is_stronger_than_the_environment_than_a_file_than_the_default() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("oip.properties"), "rest_port=3\n").unwrap();
    let mut sources = closed();
    assert_eq!(
        shown(&sources, "rest_port"),
        ("8082".to_owned(), Origin::Default)
    );
    sources = sources.with_variable("KRAUSENING_BASE", folder.path());
    let (value, origin) = shown(&sources, "rest_port");
    assert_eq!((value.as_str(), origin.level()), ("3", 1));
    sources = sources.with_variable("OIP_REST_PORT", "2");
    let from = Origin::Environment("OIP_REST_PORT".to_owned());
    assert_eq!(shown(&sources, "rest_port"), ("2".to_owned(), from));
    sources = sources.with_flag("rest-port", "1");
    let from = Origin::Flag("rest-port".to_owned());
    assert_eq!(shown(&sources, "rest_port"), ("1".to_owned(), from));
}

#[test]
fn a_stronger_level_wins_even_under_the_originals_name() {
    let sources = closed()
        .with_flag("http_port", "1")
        .with_variable("OIP_REST_PORT", "2");
    assert_eq!(shown(&sources, "rest_port").0, "1");
}

#[test]
fn at_one_level_our_name_is_stronger_than_the_originals_and_that_is_said() {
    let sources = closed()
        .with_variable("FASTAPI_PORT", "1")
        .with_variable("KSERVE_HTTP_PORT", "2")
        .with_variable("OIP_REST_PORT", "3");
    assert_eq!(shown(&sources, "rest_port").0, "3");
    let config = Config::resolve(&sources).unwrap();
    assert_eq!(config.warnings().len(), 2, "{:?}", config.warnings());
    assert!(config.warnings()[0].contains("FASTAPI_PORT"));
    let sources = closed()
        .with_flag("grpc_port", "1")
        .with_flag("grpc-port", "2");
    assert_eq!(shown(&sources, "grpc_port").0, "2");
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let sources = closed()
        .with_variable("OIP_REST_PORT", "")
        .with_variable("FASTAPI_PORT", "9")
        .with_variable("AUTH_ENABLED", "");
    assert_eq!(shown(&sources, "rest_port").0, "9");
    assert_eq!(
        shown(&sources, "auth_enabled"),
        ("true".to_owned(), Origin::Default)
    );
}

#[test]
fn an_empty_flag_is_a_value_and_makes_no_sense() {
    for flag in [
        "rest-port",
        "auth-enabled",
        "model-control",
        "model-repository",
    ] {
        let message = refusal(&closed().with_flag(flag, ""));
        assert!(message.contains(&format!("--{flag}")), "{message}");
    }
}

#[test]
fn a_value_that_a_stronger_one_replaces_is_not_looked_at() {
    let sources = closed()
        .with_variable("FASTAPI_PORT", "abc")
        .with_flag("rest-port", "1");
    assert_eq!(shown(&sources, "rest_port").0, "1");
}

#[test]
fn a_list_may_be_given_in_parts() {
    let sources = open()
        .with_flag("model-name", "iris, digits")
        .with_flag("model-name", "recommender");
    let settings = Config::resolve(&sources).unwrap().settings().unwrap();
    assert_eq!(settings.model_name, ["iris", "digits", "recommender"]);
}

#[test]
fn a_bad_value_names_the_key_the_source_and_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("oip.properties");
    std::fs::write(&file, "# ports\nrest_port=abc\n").unwrap();
    for (sources, source) in [
        (
            closed().with_flag("rest-port", "abc"),
            "--rest-port".to_owned(),
        ),
        (
            closed().with_variable("FASTAPI_PORT", "abc"),
            "FASTAPI_PORT".to_owned(),
        ),
        (
            closed().with_variable("KRAUSENING_BASE", folder.path()),
            format!("{}:2", file.display()),
        ),
    ] {
        let message = refusal(&sources);
        assert!(message.starts_with("rest_port is 'abc'"), "{message}");
        assert!(message.contains(&source), "{message}");
        assert!(message.contains("from 0 to 65535"), "{message}");
        assert_eq!(message.lines().count(), 1);
    }
}

#[test]
fn a_message_stays_one_short_line_whatever_the_value() {
    let value = format!("a\nb{}", "x".repeat(10_000));
    let message = refusal(&closed().with_flag("rest-port", value));
    assert_eq!(message.lines().count(), 1);
    assert!(message.len() < 400, "{message}");
}

#[test]
fn an_unknown_flag_is_refused() {
    assert_eq!(
        refusal(&closed().with_flag("rest-prot", "1")),
        "--rest-prot is not known"
    );
}

#[test]
fn one_port_serves_both_doors_unless_two_were_asked_for_more_strongly() {
    let listen = |sources: Sources| {
        let config = Config::resolve(&sources).unwrap();
        config.settings().unwrap().listen
    };
    let one = Listen::One("127.0.0.1:9".parse().unwrap());
    assert_eq!(listen(open().with_flag("port", "9")), one);
    let weaker = open()
        .with_variable("OIP_REST_PORT", "7")
        .with_flag("port", "9");
    assert_eq!(listen(weaker), one);
    let stronger = open()
        .with_variable("OIP_PORT", "9")
        .with_flag("rest-port", "7");
    assert!(matches!(listen(stronger), Listen::Two { rest, .. } if rest.port() == 7));
    let message = refusal(&open().with_flag("port", "9").with_flag("grpc-port", "7"));
    assert!(
        message.contains("--port") && message.contains("--grpc-port"),
        "{message}"
    );
    let message = refusal(&open().with_flag("rest-port", "8081"));
    assert!(message.contains("one port"), "{message}");
    let alone = open()
        .with_flag("enable_grpc", "False")
        .with_flag("rest-port", "8081");
    assert!(matches!(listen(alone), Listen::RestOnly(_)));
}
