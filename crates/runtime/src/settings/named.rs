//! The files that a `model.toml` names, so that a watched folder shows their changes.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::labels::is_inside;
use super::{FILE, document};

/// The files that the `model.toml` of a folder names, as paths in the folder. What cannot be read
/// names none: what is wrong with it is told by who loads the model.
pub(crate) fn files_named(folder: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(folder.join(FILE)).ok();
    let table = text.and_then(|text| document::table(&text).ok());
    table.map(|table| of_table(&table)).unwrap_or_default()
}

fn of_table(table: &Table) -> Vec<PathBuf> {
    let labels = table.get("labels").and_then(Value::as_table);
    let labels = labels.into_iter().flat_map(|labels| labels.values());
    let warmup = table.get("warmup").and_then(Value::as_array);
    let warmup = warmup
        .into_iter()
        .flatten()
        .filter_map(|request| request.get("file"));
    labels
        .chain(warmup)
        .filter_map(Value::as_str)
        .filter(|file| is_inside(file))
        .map(PathBuf::from)
        .collect()
}
