//! `[labels]`: the names of the classes of an output, in the file or in one of its own.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Value;

use super::SettingsError;
use super::reader::{Reader, wrong};

const ALLOWED: &str =
    "an array of texts, or the name of a file in the model's folder with a label a line";

/// The labels of each output.
pub(super) fn read(
    top: &mut Reader,
    folder: &Path,
) -> Result<BTreeMap<String, Vec<String>>, SettingsError> {
    let outputs = match top.value("labels") {
        None => return Ok(BTreeMap::new()),
        Some(Value::Table(outputs)) => outputs,
        Some(other) => {
            return Err(top.wrong("labels", &other, "a table of outputs and their labels"));
        }
    };
    let of_output = |(output, value)| {
        let key = format!("labels.{output}");
        Ok((output, labels(key, value, folder)?))
    };
    outputs.into_iter().map(of_output).collect()
}

fn labels(key: String, value: Value, folder: &Path) -> Result<Vec<String>, SettingsError> {
    let Value::Array(labels) = value else {
        let Value::String(file) = value else {
            return Err(wrong(key, &value, ALLOWED));
        };
        let text = text_of(folder, &key, &file)?;
        // Blank lines at the end are no labels; one in between keeps the place of its class.
        let lines = text.trim_end().lines();
        return Ok(lines.map(|line| line.trim().to_owned()).collect());
    };
    let text = |label: Value| match label {
        Value::String(label) => Ok(label),
        other => Err(wrong(key.clone(), &other, ALLOWED)),
    };
    labels.into_iter().map(text).collect()
}

/// The text of a file that a key names, without the mark that editors set before UTF-8. It lies in
/// the model's folder.
pub(super) fn text_of(folder: &Path, key: &str, file: &str) -> Result<String, SettingsError> {
    let refuse = |reason: String| SettingsError::File {
        key: key.to_owned(),
        file: format!("\"{}\"", oip_protocol::error::excerpt(file)),
        reason,
    };
    if !is_inside(file) {
        return Err(refuse("is no path inside the model's folder".to_owned()));
    }
    let text = std::fs::read_to_string(folder.join(file))
        .map_err(|error| refuse(format!("cannot be read: {error}")))?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(text) => text.to_owned(),
        None => text,
    })
}

/// Whether a path leads to a file in the folder that it is joined to, or below that.
pub(super) fn is_inside(file: &str) -> bool {
    let plain = |part| matches!(part, std::path::Component::Normal(_));
    !file.is_empty() && Path::new(file).components().all(plain)
}
