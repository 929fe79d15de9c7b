//! What the fuzz target of the configuration does, with what its runs and we have put into
//! `fuzz/corpus`.

#[path = "../../../../fuzz/checks/corpus.rs"]
mod inputs;
#[path = "../../../../fuzz/checks/properties.rs"]
mod properties;

#[test]
fn the_corpus_of_properties_is_in_force_the_same_when_it_is_written_down() {
    let whole = ["escapes", "layers", "lists", "python", "variables"];
    inputs::replay("properties", properties::check, &whole);
    let _ = std::fs::remove_dir_all(properties::folder());
}

#[test]
fn the_corpus_of_every_fuzz_target_is_replayed() {
    let manifest = include_str!("../../../../fuzz/Cargo.toml");
    let tests = [
        include_str!("corpus.rs"),
        include_str!("../../../auth/tests/corpus.rs"),
        include_str!("../../../protocol/tests/corpus.rs"),
    ]
    .concat()
    .replace(char::is_whitespace, "");
    let bins = manifest.split("[[bin]]").skip(1);
    let targets: Vec<&str> = bins.filter_map(|bin| bin.split('"').nth(1)).collect();
    assert!(targets.len() >= 6, "{targets:?}");
    for target in targets {
        assert!(tests.contains(&format!("replay(\"{target}\",")), "{target}");
    }
}
