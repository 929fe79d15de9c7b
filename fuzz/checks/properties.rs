//! `oip.properties` of any bytes in up to three layers, with variables and encrypted values: no
//! panic, the same each time it is read, and what is in force says the same when it is written
//! down and read again.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use oip::config::{Config, ConfigError, Origin, Sources, Value};

const LAYERS: [&str; 3] = [
    "KRAUSENING_BASE",
    "KRAUSENING_EXTENSIONS",
    "KRAUSENING_OVERRIDE_EXTENSIONS",
];
/// Between two layers.
const SEPARATOR: u8 = 0;

/// A folder of this process for the layers.
pub(crate) fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("oip-fuzz-properties-{}", std::process::id()))
}

/// The layers as the server finds them.
fn written(layers: &[&[u8]]) -> Sources {
    let mut sources = Sources::default()
        .with_variable("KRAUSENING_PASSWORD", "pw")
        .with_variable("A", "1")
        .with_variable("LONG_NAME", "text of several words");
    for (variable, text) in LAYERS.iter().zip(layers) {
        let layer = folder().join(variable);
        put(&layer, text);
        sources = sources.with_variable(*variable, layer);
    }
    sources
}

fn put(layer: &Path, text: &[u8]) {
    let file = layer.join("oip.properties");
    if std::fs::write(&file, text).is_err() {
        std::fs::create_dir_all(layer).expect("a folder of one's own");
        std::fs::write(&file, text).expect("a file in it");
    }
}

fn assert_same(one: &Result<Config, ConfigError>, two: &Result<Config, ConfigError>) {
    match (one, two) {
        (Ok(one), Ok(two)) => {
            for (one, two) in one.entries().iter().zip(two.entries()) {
                assert_eq!((&one.value, &one.origin), (&two.value, &two.origin));
                assert_eq!(one.shown(), two.shown());
            }
            assert_eq!(one.warnings(), two.warnings());
        }
        (Err(one), Err(two)) => assert_eq!(one.to_string(), two.to_string()),
        (one, two) => panic!("{:?} and {:?}", one.is_ok(), two.is_ok()),
    }
}

/// A value as a file can hold it; `None` for one that reads differently when it is read again.
fn text_of(value: &Value) -> Option<String> {
    let text = match value {
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::Address(value) => value.to_string(),
        Value::Text(value) => value.clone(),
        Value::List(values) => values.join(","),
        Value::Secret(secret) => secret.expose().to_owned(),
        _ => return None,
    };
    // What was encrypted may hold anything, an ENC(...) too.
    (!text.is_empty() && !text.contains("ENC(") && !text.contains('$')).then_some(text)
}

/// What is in force from the files, as one file in which every character is written by its number.
fn rewritten(config: &Config) -> String {
    let mut file = String::new();
    for entry in config.entries() {
        let from_a_file = matches!(entry.origin, Origin::File { .. });
        let Some(text) = text_of(&entry.value).filter(|_| from_a_file) else {
            continue;
        };
        let _ = write!(file, "{}=", entry.option.key);
        for unit in text.encode_utf16() {
            let _ = write!(file, "\\u{unit:04x}");
        }
        file.push('\n');
    }
    file
}

/// Whether it can be in force.
pub(crate) fn check(input: &[u8]) -> bool {
    let layers: Vec<&[u8]> = input.splitn(3, |byte| *byte == SEPARATOR).collect();
    let sources = written(&layers);
    let config = Config::resolve(&sources);
    assert_same(&config, &Config::resolve(&sources));
    let Ok(config) = config else { return false };
    let _ = config.settings();
    let again = Config::resolve(&written(&[rewritten(&config).as_bytes()]));
    let again = again.expect("what was in force can be in force");
    for (one, two) in config.entries().iter().zip(again.entries()) {
        let from_a_file = matches!(one.origin, Origin::File { .. });
        if from_a_file && text_of(&one.value).is_some() {
            assert_eq!(one.value, two.value, "{}", one.option.key);
        }
    }
    true
}
