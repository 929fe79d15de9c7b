//! An inference as a CloudEvent.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use oip_protocol::json::NonFinite;
use oip_protocol::proto::generated::{ModelInferRequest, ModelInferResponse};
use oip_protocol::proto::{self, guard};
use oip_protocol::{DecodeLimits, binary};
use prost::Message as _;

use super::{Captured, Content};
use crate::telemetry::context::{hex, number};

/// The type of the events.
const TYPE: &str = "io.oip.inference.v1";

/// The event, on one line. Composed by hand, so that JSON stands in it as it came.
pub(super) fn write(captured: &Captured) -> String {
    let mut text = String::with_capacity(1024 + room(captured));
    let id = hex(&[number().to_be_bytes(), number().to_be_bytes()].concat());
    text.push_str("{\"specversion\":\"1.0\",\"source\":\"/oip\"");
    member(&mut text, "type", TYPE);
    member(&mut text, "id", &id);
    member(&mut text, "time", &captured.time);
    if !captured.model.is_empty() {
        member(&mut text, "subject", &captured.model);
    }
    text.push_str(",\"datacontenttype\":\"application/json\",\"data\":{");
    first(&mut text, "door", captured.way.name());
    if !captured.model.is_empty() {
        member(&mut text, "model", &captured.model);
    }
    let known = [
        ("version", &captured.version),
        ("asked_version", &captured.asked_version),
        ("request_id", &captured.request_id),
    ];
    for (name, value) in known {
        if let Some(value) = value {
            member(&mut text, name, value);
        }
    }
    text.push_str(",\"status\":{");
    first(&mut text, "code", &captured.code);
    if let Some(status) = captured.rest_status {
        text.push_str(&format!(",\"rest\":{status}"));
    }
    if let Some(error) = &captured.error {
        member(&mut text, "error", error);
    }
    text.push('}');
    if let Some(content) = &captured.request {
        let body = rest_form(content, &captured.limits, request_body);
        payload(&mut text, "request", &body);
    }
    if let Some(content) = &captured.response {
        let mut limits = captured.limits.clone();
        limits.tensors = usize::MAX;
        let body = rest_form(content, &limits, response_body);
        payload(&mut text, "response", &body);
    }
    text.push_str("}}");
    text
}

/// What payloads take as base64, which is a third more than they have.
fn room(captured: &Captured) -> usize {
    let contents = [&captured.request, &captured.response];
    let bytes: usize = contents.into_iter().flatten().map(Content::length).sum();
    bytes.div_ceil(3) * 4
}

/// A further member of an object.
fn member(text: &mut String, name: &str, value: &str) {
    text.push_str(",\"");
    text.push_str(name);
    text.push_str("\":");
    text.push_str(&quoted(value));
}

/// The first member of an object.
fn first(text: &mut String, name: &str, value: &str) {
    text.push_str(&quoted(name));
    text.push(':');
    text.push_str(&quoted(value));
}

fn quoted(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

/// A body of the REST door, in one piece.
struct Body {
    bytes: Bytes,
    /// How many bytes of JSON stand before the tensors, where there are any.
    header_length: Option<usize>,
    /// Whether it is a message of the gRPC door as it came, which has no other form.
    protobuf: bool,
}

/// A body as a member: JSON as it is, anything else as base64.
fn payload(text: &mut String, name: &str, body: &Body) {
    text.push_str(",\"");
    text.push_str(name);
    let json = match body.protobuf {
        true => None,
        false => json(body),
    };
    match (json, body.header_length) {
        (Some(json), _) => {
            text.push_str("\":{\"json\":");
            text.push_str(json);
        }
        (None, length) => {
            text.push_str("\":{\"base64\":\"");
            BASE64_STANDARD.encode_string(&body.bytes, text);
            text.push('"');
            if let Some(length) = length {
                text.push_str(&format!(",\"header_length\":{length}"));
            }
            if body.protobuf {
                text.push_str(",\"protobuf\":true");
            }
        }
    }
    text.push('}');
}

/// JSON that can stand in an event: valid as JSON is, not as others read it, and on one line.
fn json(body: &Body) -> Option<&str> {
    let text = std::str::from_utf8(&body.bytes).ok()?.trim();
    let plain = body.header_length.is_none() && !text.contains(['\n', '\r']);
    let valid = || serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    (plain && valid()).then_some(text)
}

/// A message of the gRPC door becomes what the REST door would have been sent: JSON with the
/// tensors behind it. One that cannot become that is kept as it came, and says so.
fn rest_form(
    content: &Content,
    limits: &DecodeLimits,
    convert: fn(Bytes, &DecodeLimits) -> Option<Body>,
) -> Body {
    match content {
        Content::Rest(header_length, pieces) => Body {
            bytes: together(pieces),
            header_length: *header_length,
            protobuf: false,
        },
        Content::Proto(pieces) => {
            let bytes = together(pieces);
            convert(bytes.clone(), limits).unwrap_or(Body {
                bytes,
                header_length: None,
                protobuf: true,
            })
        }
    }
}

fn together(pieces: &[Bytes]) -> Bytes {
    match pieces {
        [only] => only.clone(),
        pieces => pieces.concat().into(),
    }
}

fn request_body(message: Bytes, limits: &DecodeLimits) -> Option<Body> {
    guard::check::<ModelInferRequest>(&message, limits).ok()?;
    let message = ModelInferRequest::decode(message).ok()?;
    let (_, mut request, _) = proto::decode_request(message, limits).ok()?;
    // To be answered as gRPC answers: in binary.
    request.parameters.insert("binary_data_output", true);
    let body = binary::encode_request(&request, |_| true).ok()?;
    Some(of(&body))
}

fn response_body(message: Bytes, limits: &DecodeLimits) -> Option<Body> {
    let message = ModelInferResponse::decode(message).ok()?;
    let response = proto::decode_response(message, limits);
    let (response, _) = response.ok()?;
    let body = binary::encode_response(&response, NonFinite::Null, &|_| true).ok()?;
    Some(of(&body))
}

fn of(body: &binary::BinaryBody) -> Body {
    Body {
        header_length: Some(body.header_length()),
        bytes: body.to_bytes(),
        protobuf: false,
    }
}

#[cfg(test)]
mod tests {
    use oip_core::telemetry::Way;
    use oip_protocol::proto::generated::model_infer_request::InferInputTensor;
    use serde_json::{Value, json};

    use super::*;

    fn captured(request: Content) -> Captured {
        Captured {
            way: Way::Rest,
            time: "2026-11-24T09:05:00Z".into(),
            request_id: Some("req-7".into()),
            model: "a\"b".into(),
            version: Some("1".into()),
            asked_version: None,
            request: Some(request),
            response: None,
            code: "400".into(),
            rest_status: None,
            error: Some("tensor 'x'".into()),
            limits: DecodeLimits::default(),
        }
    }

    fn event(request: Content) -> Value {
        let text = write(&captured(request));
        assert!(!text.contains('\n'), "{text}");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn an_event_has_request_and_status_and_json_stands_in_it_as_it_came() {
        let body = Bytes::from_static(b" {\"inputs\":[1e2]} ");
        let event = event(Content::Rest(None, vec![body]));
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["subject"], "a\"b");
        assert_eq!(
            event["data"]["status"],
            json!({"code": "400", "error": "tensor 'x'"})
        );
        assert_eq!(event["data"]["request"], json!({"json": {"inputs": [1e2]}}));
        assert_eq!(event["data"]["request_id"], "req-7");
        assert_eq!(event["data"].get("asked_version"), None);
    }

    #[test]
    fn the_version_that_was_asked_for_is_told_from_the_one_that_answered() {
        let mut captured = captured(Content::Rest(None, Vec::new()));
        captured.asked_version = Some("2".into());
        let event: Value = serde_json::from_str(&write(&captured)).unwrap();
        let data = &event["data"];
        assert_eq!(
            (&data["version"], &data["asked_version"]),
            (&json!("1"), &json!("2"))
        );
    }

    #[test]
    fn a_failure_at_the_grpc_door_has_the_status_of_the_other_too() {
        let mut captured = captured(Content::Proto(vec![Bytes::from_static(b"\xff")]));
        captured.code = "RESOURCE_EXHAUSTED".into();
        captured.rest_status = Some(429);
        let event: Value = serde_json::from_str(&write(&captured)).unwrap();
        let expected = json!({"code": "RESOURCE_EXHAUSTED", "rest": 429, "error": "tensor 'x'"});
        assert_eq!(event["data"]["status"], expected);
    }

    #[test]
    fn what_is_no_json_is_base64_and_says_where_its_tensors_begin() {
        let broken = event(Content::Rest(None, vec![Bytes::from_static(b"{")]));
        assert_eq!(broken["data"]["request"], json!({"base64": "ew=="}));
        let pieces = vec![Bytes::from_static(b"{}"), Bytes::from_static(b"\x00")];
        let binary = event(Content::Rest(Some(2), pieces));
        let expected = json!({"base64": "e30A", "header_length": 2});
        assert_eq!(binary["data"]["request"], expected);
    }

    #[test]
    fn a_message_is_turned_into_what_the_rest_door_reads_and_one_that_is_none_says_so() {
        let message = ModelInferRequest {
            model_name: "m".into(),
            inputs: vec![InferInputTensor {
                name: "x".into(),
                datatype: "UINT8".into(),
                shape: vec![3],
                ..InferInputTensor::default()
            }],
            raw_input_contents: vec![Bytes::from_static(b"abc")],
            ..ModelInferRequest::default()
        };
        let whole = event(Content::Proto(vec![message.encode_to_vec().into()]));
        let request = &whole["data"]["request"];
        assert!(request["header_length"].as_u64() > Some(0), "{request}");
        assert_eq!(request.get("protobuf"), None);
        // A text that would be JSON at the other door.
        for junk in [&b"\xff\xff"[..], b"{}"] {
            let event = event(Content::Proto(vec![Bytes::from_static(junk)]));
            let request = &event["data"]["request"];
            assert_eq!(request["protobuf"], true, "{request}");
            assert_eq!(request["base64"], BASE64_STANDARD.encode(junk));
        }
    }
}
