use super::*;

fn closed() -> Sources {
    Sources::default()
}

/// Authentication off, so that settings can be had without a key.
fn open() -> Sources {
    Sources::default().with_flag("auth-enabled", "false")
}

/// The value in force of a key and where it came from.
fn shown(sources: &Sources, key: &str) -> (String, Origin) {
    let config = Config::resolve(sources).unwrap();
    let entry = config
        .entries
        .iter()
        .find(|entry| entry.option.key == key)
        .unwrap();
    (entry.shown.clone(), entry.origin.clone())
}

fn refusal(sources: &Sources) -> String {
    match Config::resolve(sources).and_then(|config| config.settings()) {
        Ok(_) => panic!("{sources:?} is not refused"),
        Err(error) => error.to_string(),
    }
}

mod aliases;
mod concerns;
mod layers;
mod precedence;
mod security;
mod table;
