use super::*;

/// Every name of the original and of KServe, with the option it stands for.
const VARIABLES: &[(&str, &str, &str)] = &[
    ("FASTAPI_HOST", "0.0.0.0", "rest_host"),
    ("FASTAPI_PORT", "1", "rest_port"),
    ("FASTAPI_RELOAD", "True", "reload"),
    ("GRPC_HOST", "0.0.0.0", "grpc_host"),
    ("GRPC_PORT", "1", "grpc_port"),
    ("GRPC_WORKERS", "3", "grpc_workers"),
    ("AUTH_ENABLED", "false", "auth_enabled"),
    ("AUTH_ALGORITHM", "RS256", "auth_algorithm"),
    ("OIP_PDP_URL", "http://pdp/", "pdp_url"),
    ("KSERVE_HTTP_PORT", "1", "rest_port"),
    ("KSERVE_GRPC_PORT", "1", "grpc_port"),
    ("KSERVE_WORKERS", "1", "workers"),
    ("KSERVE_MAX_THREADS", "4", "kserve_max_threads"),
    (
        "KSERVE_MAX_ASYNCIO_WORKERS",
        "4",
        "kserve_max_asyncio_workers",
    ),
    ("KSERVE_ENABLE_GRPC", "False", "grpc"),
    ("KSERVE_ENABLE_DOCS_URL", "False", "docs"),
    ("KSERVE_ENABLE_LATENCY_LOGGING", "True", "latency_log"),
    ("KSERVE_ACCESS_LOG_FORMAT", "x", "kserve_access_log_format"),
];

#[test]
fn the_originals_environment_names_mean_what_they_mean_there() {
    for (name, value, key) in VARIABLES {
        let sources = closed().with_variable(*name, *value);
        let (found, origin) = shown(&sources, key);
        assert_eq!(found, *value, "{name}");
        assert_eq!(origin, Origin::Environment((*name).to_owned()));
    }
}

#[test]
fn the_originals_keys_mean_what_they_mean_there() {
    let folder = tempfile::tempdir().unwrap();
    for (name, value, key) in VARIABLES.iter().filter(|row| row.0 != "OIP_PDP_URL") {
        let line = format!("{}={value}\n", name.to_lowercase());
        std::fs::write(folder.path().join("oip.properties"), line).unwrap();
        let sources = closed().with_variable("KRAUSENING_BASE", folder.path());
        let config = Config::resolve(&sources).unwrap();
        assert!(config.warnings().is_empty(), "{:?}", config.warnings());
        assert_eq!(shown(&sources, key).0, *value, "{name}");
    }
}

#[test]
fn the_arguments_of_a_kserve_runtime_are_accepted() {
    let mut sources = open();
    for (flag, value) in [
        ("http_port", "8080"),
        ("grpc_port", "8081"),
        ("workers", "1"),
        ("max_threads", "4"),
        ("max_asyncio_workers", "8"),
        ("enable_grpc", "t"),
        ("enable_docs_url", "N"),
        ("model_dir", "/mnt/models"),
        ("model_name", "iris"),
        ("enable_latency_logging", "y"),
        ("access_log_format", "%(h)s"),
    ] {
        sources = sources.with_flag(flag, value);
    }
    let settings = Config::resolve(&sources).unwrap().settings().unwrap();
    assert_eq!(settings.listen.rest().port(), 8080);
    assert_eq!(
        settings.model_repository,
        Some(PathBuf::from("/mnt/models"))
    );
    assert_eq!(settings.model_name, ["iris"]);
    assert!(!settings.docs && settings.latency_log);
    assert_eq!(settings.access_log, AccessLogFormat::Text);
    assert!(matches!(settings.listen, Listen::Two { .. }));
    let without = Config::resolve(&sources.with_flag("access-log", "off"));
    let settings = without.unwrap().settings().unwrap();
    assert_eq!(settings.access_log, AccessLogFormat::Off);
}

#[test]
fn kserves_short_booleans_are_accepted_by_its_names_alone() {
    assert_eq!(
        shown(&closed().with_flag("enable_grpc", "n"), "grpc").0,
        "false"
    );
    assert!(refusal(&closed().with_flag("grpc", "n")).contains("--grpc"));
}

#[test]
fn the_link_that_kubernetes_sets_for_a_service_of_our_name_is_no_port() {
    let sources = open()
        .with_variable("OIP_PORT", "tcp://10.0.0.1:8082")
        .with_variable("GRPC_PORT", "tcp://10.0.0.2:8081");
    let config = Config::resolve(&sources).unwrap();
    assert!(matches!(
        config.settings().unwrap().listen,
        Listen::Two { .. }
    ));
    assert_eq!(config.warnings().len(), 2);
}

#[test]
fn fastapi_reload_true_watches_the_repository_and_false_means_false() {
    let control = |sources: Sources| {
        let settings = Config::resolve(&sources).unwrap().settings().unwrap();
        (settings.reload, settings.model_control)
    };
    let reload = |value: &str| open().with_variable("FASTAPI_RELOAD", value);
    assert_eq!(control(open()), (false, ModelControl::Explicit));
    assert_eq!(control(reload("True")), (true, ModelControl::Poll));
    assert_eq!(control(reload("False")), (false, ModelControl::Explicit));
    assert_eq!(control(reload("0")), (false, ModelControl::Explicit));
    let both = reload("True").with_variable("OIP_MODEL_CONTROL", "none");
    assert_eq!(control(both), (true, ModelControl::None));
}

#[test]
fn another_servers_flags_are_not_taken_for_ours() {
    assert!(Config::resolve(&closed().with_flag("log-config", "x")).is_err());
}

#[test]
fn a_limit_of_kserves_for_grpc_raises_ours_and_never_lowers_it() {
    let limit = |flags: &[(&str, &str)]| {
        let sources = flags.iter().fold(open(), |sources, (flag, value)| {
            sources.with_flag(*flag, *value)
        });
        Config::checked(&sources).unwrap().1.body_limit
    };
    let length = "grpc_max_receive_message_length";
    assert_eq!(limit(&[(length, "104857600")]), 100 << 20);
    assert_eq!(limit(&[(length, "8388608")]), 64 << 20);
    assert_eq!(limit(&[(length, "-1")]), 64 << 20);
    assert_eq!(
        limit(&[(length, "104857600"), ("body-limit", "1MiB")]),
        1 << 20
    );
}

#[test]
fn kserves_time_for_idle_connections_makes_ours_longer_and_never_shorter() {
    let seconds = |flags: &[(&str, &str)]| {
        let sources = flags.iter().fold(open(), |sources, (flag, value)| {
            sources.with_flag(*flag, *value)
        });
        let (_, settings) = Config::checked(&sources).unwrap();
        settings.connection_idle.as_secs()
    };
    let time = "timeout-keep-alive";
    assert_eq!(seconds(&[(time, "100")]), 100);
    assert_eq!(seconds(&[(time, "5")]), 75);
    assert_eq!(seconds(&[(time, "100"), ("connection-idle", "10s")]), 10);
}
