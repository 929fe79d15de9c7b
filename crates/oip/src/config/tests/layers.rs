use super::*;

const NAMES: [&str; 3] = properties::LAYERS;

/// The three layers, in folders of their own.
struct Layers(tempfile::TempDir);

impl Layers {
    fn new(texts: [Option<&str>; 3]) -> (Self, Sources) {
        let root = tempfile::tempdir().unwrap();
        let mut sources = open();
        for (name, text) in NAMES.iter().zip(texts) {
            let folder = root.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            if let Some(text) = text {
                std::fs::write(folder.join("oip.properties"), text).unwrap();
            }
            sources = sources.with_variable(*name, folder);
        }
        (Self(root), sources)
    }

    fn one(text: &str) -> (Self, Sources) {
        Self::new([Some(text), Some(""), Some("")])
    }
}

#[test]
fn a_later_layer_replaces_an_earlier_one_key_by_key() {
    let (layers, sources) = Layers::new([
        Some("rest_port=1\ngrpc_port=1\nin_flight=1\n"),
        Some("grpc_port=2\nin_flight=2\n"),
        Some("in_flight=3\n"),
    ]);
    assert_eq!(shown(&sources, "rest_port").0, "1");
    assert_eq!(shown(&sources, "grpc_port").0, "2");
    let (value, origin) = shown(&sources, "in_flight");
    assert_eq!(value, "3");
    let path = layers.0.path().join(NAMES[2]).join("oip.properties");
    assert_eq!(origin, Origin::File { path, line: 1 });
}

#[test]
fn a_file_that_does_not_exist_is_a_warning_only_where_its_folder_was_named() {
    let (_layers, sources) = Layers::new([Some("rest_port=1"), None, Some("")]);
    let config = Config::resolve(&sources).unwrap();
    assert_eq!(config.warnings().len(), 1);
    assert!(config.warnings()[0].contains("KRAUSENING_EXTENSIONS"));
    assert!(Config::resolve(&open()).unwrap().warnings().is_empty());
}

#[test]
fn a_file_that_cannot_be_read_is_refused_by_name() {
    let (layers, sources) = Layers::new([None, Some(""), Some("")]);
    let path = layers.0.path().join(NAMES[0]).join("oip.properties");
    std::fs::create_dir(&path).unwrap();
    assert!(refusal(&sources).contains(path.to_str().unwrap()));
    let (_layers, sources) = Layers::one("rest_port=\\u00zz\n");
    assert!(refusal(&sources).contains("oip.properties"));
}

#[test]
fn the_syntax_is_that_of_java_properties() {
    let text = "! a comment\n\
                # another\n\
                \x20 rest_port : 1\n\
                grpc_port   2\n\
                forward_headers = a,\\\n\
                \x20   b\n\
                auth_secret = \\u00fc\\=\\\\ \n\
                in_flight=3\r\n";
    let (_layers, sources) = Layers::one(text);
    assert_eq!(shown(&sources, "rest_port").0, "1");
    assert_eq!(shown(&sources, "grpc_port").0, "2");
    assert_eq!(shown(&sources, "forward_headers").0, "a,b");
    assert_eq!(shown(&sources, "in_flight").0, "3");
    let config = Config::resolve(&sources).unwrap();
    let secret = config.settings().unwrap().access.auth_secret.unwrap();
    assert_eq!(secret.expose(), "\u{fc}=\\ ");
}

#[test]
fn an_empty_value_counts_as_not_given() {
    let (_layers, sources) = Layers::new([Some("rest_port=1"), Some(""), Some("rest_port=")]);
    assert_eq!(shown(&sources, "rest_port").0, "8082");
    let (_layers, sources) = Layers::one("auth_enabled=\n");
    let sources = Sources {
        flags: Vec::new(),
        ..sources
    };
    assert_eq!(shown(&sources, "auth_enabled").0, "true");
}

#[test]
fn variables_of_the_environment_are_expanded() {
    let (_layers, sources) = Layers::one("model_repository=${ROOT}/models\nrest_port=$PORT\n");
    let sources = sources
        .with_variable("ROOT", "/srv")
        .with_variable("PORT", "7");
    assert_eq!(shown(&sources, "model_repository").0, "/srv/models");
    assert_eq!(shown(&sources, "rest_port").0, "7");
}

#[test]
fn a_misspelt_key_is_named_with_its_neighbour() {
    let (_layers, sources) = Layers::one("\nauth_enable=true\nspring.main.banner=off\n");
    let config = Config::resolve(&sources).unwrap();
    let [first, second] = config.warnings() else {
        panic!("{:?}", config.warnings())
    };
    assert!(first.contains(":2: the key auth_enable is not known; is auth_enabled meant?"));
    assert!(second.contains("spring.main.banner") && !second.contains("meant"));
}

#[test]
fn a_misspelt_variable_is_named_with_its_neighbour() {
    let sources = open()
        .with_variable("OIP_REST_PROT", "1")
        .with_variable("OIP_SOMETHING_ELSE_ENTIRELY", "1");
    let config = Config::resolve(&sources).unwrap();
    assert_eq!(config.warnings().len(), 1);
    assert!(config.warnings()[0].contains("OIP_REST_PORT"));
}

#[test]
fn a_misspelt_variable_of_the_originals_and_one_without_our_prefix_are_named() {
    for (name, meant) in [
        ("AUTH_ENABELD", "is AUTH_ENABLED meant"),
        ("AUTH_ENABLE", "is AUTH_ENABLED meant"),
        ("auth_secret", "is OIP_AUTH_SECRET meant"),
        ("AUTH_ALGORITHMS", "is AUTH_ALGORITHM meant"),
        ("FASTAPI_PROT", "is FASTAPI_PORT meant"),
        ("AUTH_SECRET_FILE", "is OIP_AUTH_SECRET_FILE meant"),
        ("AUDIT_KEY_FILE", "is OIP_AUDIT_KEY_FILE meant"),
        ("POLICY_FILE", "is OIP_POLICY_FILE meant"),
    ] {
        let config = Config::resolve(&open().with_variable(name, "x")).unwrap();
        let [warning] = config.warnings() else {
            panic!("{name}: {:?}", config.warnings())
        };
        assert!(
            warning.contains(name) && warning.contains(meant),
            "{warning}"
        );
    }
    for foreign in [
        "PATH",
        "HTTP_PORT",
        "GRPC_VERBOSITY",
        "GRPC_TRACE",
        "AUTH_SERVICE_HOST",
        "AUTHOR",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "KSERVE_LOGLEVEL",
        "PORT",
        "WORKERS",
        "RELOAD",
    ] {
        let config = Config::resolve(&open().with_variable(foreign, "x")).unwrap();
        assert!(config.warnings().is_empty(), "{:?}", config.warnings());
    }
}

#[test]
fn a_key_that_stands_twice_in_one_file_is_warned_about_and_the_last_is_in_force() {
    let (_layers, sources) = Layers::new([
        Some("rest_port=1\nx=1\nx=2\nrest_port=2\n"),
        Some("in_flight=7\n"),
        Some("in_flight=8\n"),
    ]);
    let config = Config::resolve(&sources).unwrap();
    let twice = config.warnings().iter();
    let twice: Vec<_> = twice.filter(|told| told.contains("already")).collect();
    let [warning] = twice[..] else {
        panic!("{twice:?}")
    };
    for part in ["oip.properties:4", "rest_port stands in line 1 already"] {
        assert!(warning.contains(part), "{warning}");
    }
    assert_eq!(shown(&sources, "rest_port").0, "2");
}

const SECRET: &str = "VCS4DnoG6fNvnLSnadYRuE4Li+HTiS4faR+iLHzbOCqt/AOOpOUPi+lYsf+S9s59";

#[test]
fn an_encrypted_value_is_decrypted() {
    let (_layers, sources) = Layers::one(&format!("auth_secret=ENC({SECRET})\n"));
    let sources = sources.with_variable("KRAUSENING_PASSWORD", "pw");
    let settings = Config::resolve(&sources).unwrap().settings().unwrap();
    assert_eq!(settings.access.auth_secret.unwrap().expose(), "s3cret");
}

#[test]
fn what_was_encrypted_is_shown_nowhere_whatever_its_option() {
    for (key, taken) in [
        ("service_name", true),
        ("pdp_url", false),
        ("cors_origins", false),
        ("rest_port", false),
        ("model_control", false),
        ("socket_mode", false),
        ("trusted_proxies", false),
        ("pdp_timeout", false),
    ] {
        let (_layers, sources) = Layers::one(&format!("{key}=ENC({SECRET})\n"));
        let sources = sources.with_variable("KRAUSENING_PASSWORD", "pw");
        match taken {
            false => {
                let message = refusal(&sources);
                assert!(message.starts_with(&format!("{key} is ***")), "{message}");
                assert!(!message.contains("s3cret"), "{message}");
            }
            true => {
                assert_eq!(shown(&sources, key).0, "***", "{key}");
                let config = Config::resolve(&sources).unwrap();
                assert!(!format!("{config:?}").contains("s3cret"));
                assert_eq!(config.settings().unwrap().traces.service, "s3cret");
            }
        }
    }
}

#[test]
fn an_encrypted_value_that_cannot_be_decrypted_refuses_to_start() {
    let (_layers, sources) = Layers::one(&format!("auth_secret=ENC({SECRET})\n"));
    let message = refusal(&sources);
    assert!(message.contains("auth_secret") && message.contains("KRAUSENING_PASSWORD is not set"));
    let message = refusal(
        &sources
            .clone()
            .with_variable("KRAUSENING_PASSWORD", "wrong"),
    );
    assert!(message.contains("oip.properties:1"), "{message}");
    assert!(!message.contains(SECRET), "{message}");
    let elsewhere = open().with_variable("AUTH_SECRET", format!("ENC({SECRET})"));
    assert!(refusal(&elsewhere).contains("only values in oip.properties"));
}

#[test]
fn a_secret_that_only_looks_encrypted_is_refused_from_every_source() {
    let whole = format!("ENC({SECRET})");
    let odd = [
        format!("enc({SECRET})"),
        format!("Enc({SECRET})"),
        format!("ENC({SECRET}"),
        format!("ENC ({SECRET})"),
        format!("\"ENC({SECRET})\""),
        format!("ENC({SECRET}) # the secret"),
    ];
    for key in ["auth_secret", "otlp_headers"] {
        let option = option(key).unwrap();
        for value in odd.iter().chain([&whole]) {
            for padded in [value.clone(), format!("{value} "), format!(" \t{value}\t")] {
                let by_flag = open().with_flag(option.flag(), &padded);
                let by_variable = open().with_variable(option.variable(), &padded);
                for sources in [by_flag, by_variable] {
                    let message = refusal(&sources);
                    assert!(message.contains(key), "{padded:?}: {message}");
                    assert!(!message.contains(SECRET), "{message}");
                }
            }
        }
        for value in &odd {
            let (_layers, sources) = Layers::one(&format!("{key}={value} \n"));
            let sources = sources.with_variable("KRAUSENING_PASSWORD", "pw");
            let message = refusal(&sources);
            assert!(message.contains("not a whole ENC(...)"), "{message}");
            assert!(!message.contains(SECRET), "{message}");
        }
    }
}

#[test]
fn white_space_behind_an_encrypted_value_does_not_make_it_the_secret() {
    for space in [" ", "\t", " \\u0020", "\\r"] {
        let (_layers, sources) = Layers::one(&format!("auth_secret=ENC({SECRET}){space}\n"));
        let message = refusal(&sources);
        assert!(message.contains("KRAUSENING_PASSWORD"), "{message}");
        let sources = sources.with_variable("KRAUSENING_PASSWORD", "pw");
        let settings = Config::resolve(&sources).unwrap().settings().unwrap();
        assert_eq!(settings.access.auth_secret.unwrap().expose(), "s3cret");
    }
}

#[test]
fn what_is_decrypted_and_looks_encrypted_again_is_no_secret() {
    // ENC(...) in a variable, to which the value in the file leads.
    let (_layers, sources) = Layers::one("auth_secret=$INNER\n");
    let sources = sources.with_variable("INNER", format!("enc({SECRET})"));
    assert!(refusal(&sources).contains("not a whole ENC(...)"));
}

#[test]
fn a_secret_that_names_an_unset_variable_is_refused_where_it_is_in_force() {
    for key in ["auth_secret", "otlp_headers"] {
        for value in [
            "${OIP_TEST_UNSET}",
            "$OIP_TEST_UNSET",
            "${OIP_TEST_UNSET} ",
            "${A:-b}",
        ] {
            let (_layers, sources) = Layers::one(&format!("{key}={value}\n"));
            let message = refusal(&sources);
            assert!(message.contains(key), "{value}: {message}");
            assert!(message.contains("oip.properties:1"), "{message}");
            assert!(message.contains("not set"), "{value}: {message}");
        }
    }
    let (_layers, sources) = Layers::one("auth_secret=$INNER\n");
    let led = sources.clone().with_variable("INNER", "${GONE}");
    assert!(refusal(&led).contains("not set"));
    let set = sources.clone().with_variable("INNER", "s3cret");
    let settings = Config::resolve(&set).unwrap().settings().unwrap();
    assert_eq!(settings.access.auth_secret.unwrap().expose(), "s3cret");
    let stronger = sources.with_variable("OIP_AUTH_SECRET", "$literal");
    let settings = Config::resolve(&stronger).unwrap().settings().unwrap();
    assert_eq!(settings.access.auth_secret.unwrap().expose(), "$literal");
}

#[test]
fn a_value_that_holds_an_unset_variable_is_warned_about() {
    for (key, value) in [
        ("auth_secret", "s3cret-${OIP_TEST_UNSET}"),
        ("auth_audience", "${OIP_TEST_UNSET}"),
        ("auth_issuer", "https://${OIP_TEST_UNSET}/realm"),
    ] {
        let (_layers, sources) = Layers::one(&format!("{key}={value}\n"));
        let config = Config::resolve(&sources).unwrap();
        let [warning] = config.warnings() else {
            panic!("{key}: {:?}", config.warnings())
        };
        assert!(
            warning.contains(key) && warning.contains("not set"),
            "{warning}"
        );
        assert!(!warning.contains("s3cret"), "{warning}");
    }
    let (_layers, sources) = Layers::one("auth_secret=pa$$word${\n");
    assert!(Config::resolve(&sources).unwrap().warnings().is_empty());
}

/// Three folders, and what the package `krausening` itself makes of each key in them.
#[derive(serde::Deserialize)]
struct Golden {
    files: std::collections::BTreeMap<String, Option<String>>,
    values: std::collections::BTreeMap<String, String>,
}

#[test]
fn layers_hold_what_the_python_package_finds_in_them() {
    let text = include_str!("../../../../../testdata/config/krausening-layers.json");
    let cases: Vec<Golden> = serde_json::from_str(text).unwrap();
    assert!(cases.len() >= 5);
    for case in cases {
        let file = |name: &str| case.files[name].as_deref();
        let (_layers, sources) = Layers::new(["one", "two", "three"].map(file));
        let sources = sources
            .with_variable("HOME", "/root")
            .with_variable("KRAUSENING_PASSWORD", "pw");
        let mut properties = properties::read_layers(&sources, &mut Faults::default());
        for (key, expected) in &case.values {
            let option = option("model_repository").unwrap();
            let found = properties.value(option, key, &sources).unwrap();
            let found = found.map_or(String::new(), |found| found.text);
            assert_eq!(found, *expected, "{key}");
        }
    }
}

#[test]
fn a_secret_that_was_expanded_by_accident_is_warned_about_and_not_shown() {
    for (text, warned) in [
        ("auth_secret=pa$HOME$$x\n", true),
        ("auth_secret=pa${HOME}\n", true),
        ("auth_secret=pa$NOPE$$x\n", false),
        ("auth_secret=${HOME}x\nmodel_repository=$HOME\n", true),
        ("model_repository=$HOME\n", false),
    ] {
        let (_layers, sources) = Layers::one(text);
        let config = Config::resolve(&sources.with_variable("HOME", "/root")).unwrap();
        let warnings = config.warnings().join("\n");
        assert_eq!(
            warnings.contains("auth_secret_file"),
            warned,
            "{text}: {warnings}"
        );
        assert!(!warnings.contains("/root"), "{warnings}");
    }
}

#[test]
fn each_secret_that_was_expanded_is_told_a_place_where_it_stands_literally() {
    let (_layers, sources) = Layers::one("otlp_headers=authorization=pa$HOME$$x\n");
    let config = Config::resolve(&sources.with_variable("HOME", "/root")).unwrap();
    let [warning] = config.warnings() else {
        panic!("{:?}", config.warnings())
    };
    assert!(warning.contains("OIP_OTLP_HEADERS"), "{warning}");
    assert!(!warning.contains("auth_secret"), "{warning}");
}
