//! The tables of `docs/configuration.md`.

use std::fmt::Write as _;

use super::options::{ConfigOption, Group, OPTIONS};
use super::value::Kind;

/// The reference as Markdown: one table for each group.
fn reference() -> String {
    let mut text = String::new();
    for group in Group::ALL {
        let options = OPTIONS.iter().filter(|option| option.group == group);
        let _ = write!(
            text,
            "\n### {}\n\n| key | values | default | what it does |\n|---|---|---|---|\n",
            group.title()
        );
        for option in options {
            row(&mut text, option);
        }
    }
    text
}

fn row(text: &mut String, option: &ConfigOption) {
    let default = match option.default {
        "" => "none".to_owned(),
        default => format!("`{default}`"),
    };
    let mut notes = option.help.to_owned();
    if option.hot {
        notes.push_str(" Can change without a restart.");
    }
    if option.secret {
        notes.push_str(" Never shown.");
    }
    let others = also(option);
    if !others.is_empty() {
        let _ = write!(notes, " Also: {}.", others.join(", "));
    }
    let _ = writeln!(
        text,
        "| `{}` | {} | {default} | {notes} |",
        option.key,
        values(option.kind)
    );
}

fn also(option: &ConfigOption) -> Vec<String> {
    let variables = option.environment.iter().map(|name| format!("`{name}`"));
    let keys = option.properties.iter().map(|name| format!("`{name}`"));
    let flags = option.flags.iter().map(|name| format!("`--{name}`"));
    keys.chain(variables).chain(flags).collect()
}

fn values(kind: Kind) -> String {
    match kind {
        Kind::Bool => "true, false".to_owned(),
        Kind::Port => "port".to_owned(),
        Kind::Count { least } => format!("number from {least}"),
        Kind::Integer => "whole number".to_owned(),
        Kind::Size { .. } => "size".to_owned(),
        Kind::Duration => "time".to_owned(),
        Kind::Host => "IP address".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Path => "path".to_owned(),
        Kind::HttpUrl => "URL".to_owned(),
        Kind::Ratio => "number from 0 to 1".to_owned(),
        Kind::List => "list".to_owned(),
        Kind::Choice(words) => words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

const BEGIN: &str =
    "<!-- Generated from crates/oip/src/config/table.rs: UPDATE_DOCS=1 cargo test -p oip -->\n";
const END: &str = "\n<!-- End of the generated part. -->";

#[test]
fn the_reference_in_docs_is_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let document = std::fs::read_to_string(path).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    let expected = reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
        return;
    }
    assert!(
        found == expected,
        "docs/configuration.md is stale: UPDATE_DOCS=1 cargo test -p oip writes it again"
    );
}
