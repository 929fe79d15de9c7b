//! The arrows between the crates, and who may name which crate from outside.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// What each crate may depend on, of ours.
const ARROWS: &[(&str, &[&str])] = &[
    ("oip-protocol", &[]),
    ("oip-core", &["oip-protocol"]),
    ("oip-auth", &["oip-core", "oip-protocol"]),
    ("oip-runtime", &["oip-core", "oip-protocol"]),
    (
        "oip",
        &["oip-auth", "oip-core", "oip-protocol", "oip-runtime"],
    ),
    ("oip-cli", &["oip"]),
    ("oip-python", &["oip", "oip-cli"]),
    ("oip-codegen", &["oip-protocol"]),
    ("oip-instructions", &["oip", "oip-protocol"]),
];

/// Crates from outside that only these of ours may name. A name that ends in `*` is a prefix.
const OUTSIDE: &[(&str, &[&str])] = &[
    ("axum", &["oip", "oip-cli"]),
    ("tonic*", &["oip", "oip-cli"]),
    ("hyper*", &["oip", "oip-auth", "oip-cli"]),
    ("http", &["oip", "oip-auth", "oip-cli"]),
    ("http-body*", &["oip", "oip-auth", "oip-cli"]),
    ("tower*", &["oip", "oip-auth", "oip-cli"]),
    ("prost", &["oip-protocol", "oip", "oip-cli"]),
    ("ort", &["oip-runtime"]),
    ("tract*", &["oip-runtime"]),
    ("notify", &["oip-runtime"]),
    ("jsonwebtoken", &["oip-auth"]),
    ("cedar*", &["oip-auth"]),
    ("java-properties", &["oip"]),
    ("tracing-subscriber", &["oip"]),
    ("clap*", &["oip-cli"]),
    ("indicatif", &["oip-cli"]),
    ("plotters*", &["oip-cli"]),
    ("pyo3*", &["oip-python"]),
];

/// Every crate of ours and what it depends on outside of tests.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    packages
        .map(|package| {
            let all = package["dependencies"].as_array().unwrap().iter();
            let kept = all.filter(|dependency| dependency["kind"] != "dev");
            (name(package), kept.map(name).collect())
        })
        .collect()
}

#[test]
fn our_crates_depend_on_each_other_in_one_direction() {
    let dependencies = dependencies();
    for (package, depends) in &dependencies {
        let row = ARROWS.iter().find(|(name, _)| name == package);
        let Some((_, allowed)) = row else {
            panic!("{package} is not in the table of arrows");
        };
        for other in depends
            .iter()
            .filter(|other| dependencies.contains_key(*other))
        {
            assert!(
                allowed.contains(&other.as_str()),
                "{package} must not depend on {other}"
            );
        }
    }
}

#[test]
fn crates_from_outside_are_named_only_where_they_belong() {
    // The generator of protobuf code, and what instructions are counted of, run on a developer's
    // machine alone.
    let at_home = ["oip-codegen", "oip-instructions"];
    let shipped = dependencies().into_iter();
    for (package, depends) in shipped.filter(|(package, _)| !at_home.contains(&package.as_str())) {
        for other in depends {
            let matches = |pattern: &str| match pattern.strip_suffix('*') {
                Some(prefix) => other.starts_with(prefix),
                None => other == pattern,
            };
            let row = OUTSIDE.iter().find(|(pattern, _)| matches(pattern));
            let allowed = row.is_none_or(|(_, allowed)| allowed.contains(&package.as_str()));
            assert!(allowed, "{package} must not name {other}");
        }
    }
}
