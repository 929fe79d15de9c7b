//! A request to try a model with.

use oip::config::Settings;
use oip::models::Models;
use oip::{Datatype, ModelMetadata, ModelRef, RepositoryEntry, TensorMetadata};

/// The file beside a model that holds a request for it.
const FILE: &str = "sample-request.json";

/// Most elements of a made-up request: longer ones cannot be read on a screen.
const MOST_ELEMENTS: i64 = 64;

/// What follows `curl -d`: the sample request beside the model, or the smallest that fits it.
pub(super) async fn body(
    models: &dyn Models,
    entry: &RepositoryEntry,
    settings: &Settings,
) -> String {
    let beside = settings
        .model_repository
        .iter()
        .flat_map(|folder| [folder.join(&entry.name).join(FILE), folder.join(FILE)]);
    if let Some(file) = beside.into_iter().find(|file| file.is_file()) {
        return quoted(&format!("@{}", file.display()));
    }
    match models.metadata(&ModelRef::new(entry.name.clone())).await {
        Ok(metadata) => smallest(&metadata).unwrap_or_else(|| "@request.json".to_owned()),
        Err(_) => "@request.json".to_owned(),
    }
}

/// The smallest request that fits what the model declares, quoted for a shell.
fn smallest(metadata: &ModelMetadata) -> Option<String> {
    let inputs: Option<Vec<String>> = metadata.inputs.iter().map(input).collect();
    Some(quoted(&format!("{{\"inputs\":[{}]}}", inputs?.join(","))))
}

fn input(tensor: &TensorMetadata) -> Option<String> {
    let dims: Vec<i64> = tensor
        .shape
        .dims()
        .iter()
        .map(|dim| if *dim < 0 { 1 } else { *dim })
        .collect();
    let count = dims
        .iter()
        .try_fold(1_i64, |count, dim| count.checked_mul(*dim))?;
    if count > MOST_ELEMENTS {
        return None;
    }
    let element = match tensor.datatype {
        Datatype::Bool => "false",
        Datatype::Bytes => "\"\"",
        _ => "0",
    };
    let data = vec![element; usize::try_from(count).ok()?].join(",");
    let shape: Vec<String> = dims.iter().map(i64::to_string).collect();
    // A control character in a name would break the line; no such name is worth a sample.
    let name = &tensor.name;
    if name.contains(|c: char| c.is_control() || c == '"' || c == '\\') {
        return None;
    }
    Some(format!(
        "{{\"name\":\"{name}\",\"shape\":[{}],\"datatype\":\"{}\",\"data\":[{data}]}}",
        shape.join(","),
        tensor.datatype
    ))
}

/// One word for a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    match text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(datatype: Datatype, shape: Vec<i64>) -> ModelMetadata {
        ModelMetadata {
            inputs: vec![TensorMetadata::new("input", datatype, shape)],
            ..ModelMetadata::default()
        }
    }

    #[test]
    fn the_smallest_request_takes_one_for_every_open_dimension() {
        assert_eq!(
            smallest(&metadata(Datatype::Fp32, vec![-1, 3])).unwrap(),
            r#"'{"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","data":[0,0,0]}]}'"#
        );
        let text = smallest(&metadata(Datatype::Bytes, vec![-1])).unwrap();
        assert!(text.contains(r#""data":[""]"#), "{text}");
    }

    #[test]
    fn a_request_that_nobody_could_read_is_not_made_up() {
        assert_eq!(
            smallest(&metadata(Datatype::Fp32, vec![-1, 3, 224, 224])),
            None
        );
        assert_eq!(
            smallest(&metadata(Datatype::Fp32, vec![i64::MAX, i64::MAX])),
            None
        );
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("@models/iris.json"), "@models/iris.json");
        assert_eq!(quoted("@it's a/x"), r"'@it'\''s a/x'");
    }
}
