//! The bytes of each kind of request.

use std::fmt::Write as _;
use std::time::Duration;

use oip::Bytes;
use oip::grpc::messages::ModelInferRequest;
use oip::grpc::messages::model_infer_request::InferInputTensor;
use prost::Message as _;

use super::host::Host;
use super::http2::Call;
use super::load::Ask;
use super::sample::Input;
use super::work::Wire;
use crate::credential::Credential;

/// The method of gRPC inference.
pub(super) const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

/// The request that runs a model over these inputs.
pub(super) fn build(wire: Wire, host: &Host, model: &str, inputs: &[Input]) -> Ask {
    match wire {
        Wire::Json => Ask::Http1(post(host, model, &[], json(inputs).as_bytes())),
        Wire::Binary => {
            let header = binary_header(inputs);
            let length = ("Inference-Header-Content-Length", header.len().to_string());
            let mut body = header.into_bytes();
            for input in inputs {
                body.extend_from_slice(&input.raw);
            }
            Ask::Http1(post(host, model, &[length], &body))
        }
        Wire::Grpc => Ask::Grpc(Call {
            authority: host.authority.clone(),
            path: MODEL_INFER,
            secure: host.secure,
            shown: host.shown.clone(),
            message: message(model, inputs).encode_to_vec(),
        }),
    }
}

/// The same request with a deadline that the server is told.
pub(super) fn with_timeout(ask: &Ask, timeout: Duration) -> Ask {
    match ask {
        Ask::Http1(request) => {
            let line = memchr::memchr(b'\n', request).map_or(0, |end| end + 1);
            let (line, rest) = request.split_at(line);
            let header = format!("x-oip-timeout-ms: {}\r\n", timeout.as_millis().max(1));
            Ask::Http1([line, header.as_bytes(), rest].concat())
        }
        Ask::Grpc(call) => Ask::Grpc(call.clone()),
    }
}

/// A GET request.
pub(super) fn get(host: &Host, path: &str) -> Vec<u8> {
    let (authority, prefix) = (&host.authority, &host.prefix);
    let shown = shown(host);
    format!("GET {prefix}{path} HTTP/1.1\r\nhost: {authority}\r\naccept: */*\r\n{shown}\r\n")
        .into_bytes()
}

/// The line of the credential that is shown, if any.
fn shown(host: &Host) -> String {
    let line = |shown: &Credential| format!("{}: {}\r\n", shown.header, shown.value);
    host.shown.as_ref().map(line).unwrap_or_default()
}

fn post(host: &Host, model: &str, headers: &[(&str, String)], body: &[u8]) -> Vec<u8> {
    let content_type = match headers {
        [] => "application/json",
        _ => "application/octet-stream",
    };
    let mut head = format!(
        "POST {}{} HTTP/1.1\r\nhost: {}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n",
        host.prefix,
        model_path(model, "/infer"),
        host.authority,
        body.len()
    );
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.push_str(&shown(host));
    head.push_str("\r\n");
    let mut request = head.into_bytes();
    request.extend_from_slice(body);
    request
}

/// The path of a model's call. A name may hold any character; a path may not.
pub(super) fn model_path(model: &str, call: &str) -> String {
    let mut path = String::from("/v2/models/");
    for byte in model.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                path.push(char::from(byte));
            }
            byte => {
                let _ = write!(path, "%{byte:02X}");
            }
        }
    }
    path + call
}

fn json(inputs: &[Input]) -> String {
    let inputs = inputs.iter().map(|input| {
        let (tensor, data) = (tensor(input), &input.json);
        format!("{{{tensor}, \"data\": {data}}}")
    });
    format!("{{\"inputs\": [{}]}}", join(inputs))
}

fn binary_header(inputs: &[Input]) -> String {
    let inputs = inputs.iter().map(|input| {
        let (tensor, size) = (tensor(input), input.raw.len());
        format!("{{{tensor}, \"parameters\": {{\"binary_data_size\": {size}}}}}")
    });
    let inputs = join(inputs);
    format!("{{\"parameters\": {{\"binary_data_output\": true}}, \"inputs\": [{inputs}]}}")
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// Name, shape and datatype, with the spaces that Python's `json` writes.
fn tensor(input: &Input) -> String {
    let name = serde_json::Value::from(input.name.as_str());
    let shape = join(input.shape.iter().map(u64::to_string));
    let datatype = input.datatype;
    format!("\"name\": {name}, \"shape\": [{shape}], \"datatype\": \"{datatype}\"")
}

/// The message that `tritonclient` sends: raw contents.
pub(super) fn message(model: &str, inputs: &[Input]) -> ModelInferRequest {
    let tensor = |input: &Input| InferInputTensor {
        name: input.name.clone(),
        datatype: input.datatype.name().to_owned(),
        shape: input.shape.iter().map(|dim| *dim as i64).collect(),
        ..InferInputTensor::default()
    };
    let raw = |input: &Input| Bytes::from(input.raw.clone());
    ModelInferRequest {
        model_name: model.to_owned(),
        inputs: inputs.iter().map(tensor).collect(),
        raw_input_contents: inputs.iter().map(raw).collect(),
        ..ModelInferRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::sample::Declared;

    fn inputs() -> Vec<Input> {
        vec![Declared::new("a \"b\"", "FP32", vec![-1]).unwrap().fill(3)]
    }

    #[test]
    fn the_json_request_is_json() {
        let body: serde_json::Value = serde_json::from_str(&json(&inputs())).unwrap();
        assert_eq!(body["inputs"][0]["name"], "a \"b\"");
        assert_eq!(body["inputs"][0]["shape"], serde_json::json!([3]));
        assert_eq!(body["inputs"][0]["data"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn the_binary_header_says_how_long_the_tensor_is() {
        let header: serde_json::Value = serde_json::from_str(&binary_header(&inputs())).unwrap();
        assert_eq!(header["inputs"][0]["parameters"]["binary_data_size"], 12);
        assert_eq!(header["parameters"]["binary_data_output"], true);
    }

    #[test]
    fn a_deadline_is_a_header_behind_the_first_line() {
        let ask = Ask::Http1(b"POST /x HTTP/1.1\r\nhost: a\r\n\r\n{}".to_vec());
        let Ask::Http1(request) = with_timeout(&ask, Duration::from_millis(250)) else {
            panic!("it is another kind of request now");
        };
        let text = String::from_utf8(request).unwrap();
        assert_eq!(
            text,
            "POST /x HTTP/1.1\r\nx-oip-timeout-ms: 250\r\nhost: a\r\n\r\n{}"
        );
    }

    #[test]
    fn a_model_name_becomes_one_segment_of_the_path() {
        assert_eq!(model_path("a/b c", "/infer"), "/v2/models/a%2Fb%20c/infer");
    }
}
