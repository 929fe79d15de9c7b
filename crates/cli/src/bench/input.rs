//! Inputs out of a file: an inference request as REST takes it.

use std::path::Path;

use oip::Datatype;
use serde_json::Value;

use super::BenchError;
use super::sample::{Input, put_value};

/// Reads a request's inputs. What else it holds (parameters, requested outputs) is not sent.
pub(super) fn read(file: &Path) -> Result<Vec<Input>, BenchError> {
    let refuse = |why: String| BenchError::Input {
        file: file.display().to_string(),
        why,
    };
    let text = super::read(file)?;
    let request: Value = serde_json::from_str(&text).map_err(|error| {
        let python = ["NaN", "Infinity"].iter().any(|word| text.contains(word));
        refuse(match python {
            true => format!("{error}; NaN and Infinity are not read here"),
            false => error.to_string(),
        })
    })?;
    of_request(&request).map_err(refuse)
}

fn of_request(request: &Value) -> Result<Vec<Input>, String> {
    let inputs = request.get("inputs").and_then(Value::as_array);
    let inputs = inputs.filter(|inputs| !inputs.is_empty());
    let inputs = inputs.ok_or("it has no list 'inputs'")?;
    inputs.iter().enumerate().map(input).collect()
}

fn input((index, input): (usize, &Value)) -> Result<Input, String> {
    let text = |member: &str| {
        let text = input.get(member).and_then(Value::as_str);
        text.ok_or_else(|| format!("input {index} has no '{member}'"))
    };
    let name = text("name")?.to_owned();
    let datatype: Datatype = text("datatype")?.parse().map_err(|_| {
        format!(
            "input '{name}' has the datatype '{}', which there is not",
            input["datatype"]
        )
    })?;
    let shape = input.get("shape").and_then(Value::as_array);
    let shape: Option<Vec<u64>> = shape.and_then(|dims| dims.iter().map(Value::as_u64).collect());
    let shape = shape.ok_or_else(|| format!("input '{name}' has no 'shape' of whole numbers"))?;
    let data = input.get("data").and_then(Value::as_array);
    let data = data.ok_or_else(|| format!("input '{name}' has no list 'data'"))?;
    let mut flat = Vec::new();
    flatten(data, &mut flat);
    let count = shape
        .iter()
        .try_fold(1_u64, |count, dim| count.checked_mul(*dim));
    if count != Some(flat.len() as u64) {
        return Err(format!(
            "input '{name}' has {} elements for the shape {shape:?}",
            flat.len()
        ));
    }
    let mut raw = Vec::new();
    for (at, value) in flat.iter().enumerate() {
        put_value(datatype, value, &mut raw)
            .ok_or_else(|| format!("input '{name}', element {at}: {value} is no {datatype}"))?;
    }
    Ok(Input {
        name,
        datatype,
        shape,
        json: serde_json::to_string(&flat).map_err(|error| error.to_string())?,
        raw,
    })
}

/// Lists within lists, as the protocol allows them.
fn flatten<'a>(data: &'a [Value], flat: &mut Vec<&'a Value>) {
    for value in data {
        match value {
            Value::Array(inner) => flatten(inner, flat),
            value => flat.push(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(input: Value) -> Result<Vec<Input>, String> {
        of_request(&json!({ "inputs": [input] }))
    }

    #[test]
    fn numbers_strings_and_nested_lists_become_elements() {
        let data = json!([[1, -2], [3, 300]]);
        let inputs = of(json!({"name": "x", "datatype": "INT16", "shape": [2, 2], "data": data}));
        let input = &inputs.unwrap()[0];
        assert_eq!(input.json, "[1,-2,3,300]");
        assert_eq!(input.raw, [1, 0, 0xfe, 0xff, 3, 0, 0x2c, 1]);
        let text = json!({"name": "x", "datatype": "BYTES", "shape": [1], "data": ["ab"]});
        assert_eq!(of(text).unwrap()[0].raw, [2, 0, 0, 0, b'a', b'b']);
        let half = json!({"name": "x", "datatype": "FP16", "shape": [1], "data": [1.5]});
        assert_eq!(of(half).unwrap()[0].raw, [0, 0x3e]);
    }

    #[test]
    fn a_number_that_json_has_not_is_named() {
        let file = std::env::temp_dir().join(format!("oip-bench-nan-{}.json", std::process::id()));
        std::fs::write(&file, r#"{"inputs": [{"data": [NaN]}]}"#).unwrap();
        let refusal = read(&file).unwrap_err().to_string();
        std::fs::remove_file(&file).unwrap();
        assert!(
            refusal.ends_with("NaN and Infinity are not read here"),
            "{refusal}"
        );
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (input, named) in [
            (
                json!({"name": "x", "datatype": "UINT8", "shape": [1], "data": [300]}),
                "element 0: 300",
            ),
            (
                json!({"name": "x", "datatype": "BOOL", "shape": [1], "data": [1]}),
                "no BOOL",
            ),
            (
                json!({"name": "x", "datatype": "FP32", "shape": [2], "data": [1]}),
                "1 elements",
            ),
            (
                json!({"name": "x", "datatype": "FP31", "shape": [1], "data": [1]}),
                "FP31",
            ),
            (
                json!({"name": "x", "datatype": "FP32", "data": [1]}),
                "'shape'",
            ),
            (
                json!({"datatype": "FP32", "shape": [1], "data": [1]}),
                "'name'",
            ),
        ] {
            let refusal = of(input).unwrap_err();
            assert!(refusal.contains(named), "{refusal}");
        }
        assert!(of_request(&json!({"inputs": []})).is_err());
    }
}
