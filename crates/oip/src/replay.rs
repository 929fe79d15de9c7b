//! Inferences that `payload_log` has kept, read back: to be sent again, and their answers
//! compared.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
/// The names of headers.
pub use http::HeaderName;
use oip_protocol::{DecodeLimits, ErrorKind, InferResponse, binary, json};
use serde::Deserialize;
use serde_json::value::Value;

/// An inference that was kept.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The model that was asked.
    pub model: String,
    /// The version that answered, where one did.
    pub version: Option<String>,
    /// The id of the request, where it had one.
    pub request_id: Option<String>,
    /// The REST door's status of what became of it, whichever door it was; `None` where its
    /// caller had left.
    pub status: Option<u16>,
    /// What was sent, as the REST door reads it.
    pub request: Body,
    /// What was answered.
    pub response: Option<Body>,
}

/// A body of the REST door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// All of it.
    pub bytes: Bytes,
    /// How many bytes of JSON stand before the tensors, where there are any.
    pub header_length: Option<usize>,
}

#[derive(Deserialize)]
struct Event {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    model: String,
    version: Option<String>,
    request_id: Option<String>,
    status: Status,
    request: Option<Payload>,
    response: Option<Payload>,
}

#[derive(Deserialize)]
struct Status {
    code: String,
}

#[derive(Deserialize)]
struct Payload {
    json: Option<Value>,
    base64: Option<String>,
    header_length: Option<usize>,
    #[serde(default)]
    protobuf: bool,
}

impl Recorded {
    /// Reads one line of a file of `payload_log`; `None` where no request was kept that could be
    /// sent: none at all, or a message of the gRPC door that was no inference.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub fn read(line: &str) -> Result<Option<Self>, String> {
        let event: Event = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let data = event.data;
        let Some(request) = data.request.filter(|request| !request.protobuf) else {
            return Ok(None);
        };
        Ok(Some(Self {
            model: data.model,
            version: data.version,
            request_id: data.request_id,
            status: status(&data.status.code),
            request: request.body()?,
            response: data.response.map(Payload::body).transpose()?,
        }))
    }
}

impl Payload {
    fn body(self) -> Result<Body, String> {
        let bytes = match (self.json, self.base64) {
            (Some(json), None) => json.to_string().into_bytes(),
            (None, Some(text)) => BASE64_STANDARD
                .decode(text)
                .map_err(|error| format!("base64: {error}"))?,
            _ => return Err("a payload holds json or base64".to_owned()),
        };
        Ok(Body {
            bytes: bytes.into(),
            header_length: self.header_length,
        })
    }
}

impl Body {
    /// An answer as it came; its content type says which form it has.
    #[must_use]
    pub fn of_answer(content_type: Option<&str>, bytes: Bytes) -> Self {
        let is_binary = content_type.is_some_and(|kind| kind.contains("octet-stream"));
        Self {
            header_length: is_binary.then(|| json_length(&bytes)).flatten(),
            bytes,
        }
    }

    /// The answer that it is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn response(&self) -> Result<InferResponse, String> {
        let mut limits = DecodeLimits::default();
        limits.tensors = usize::MAX;
        let response = match self.header_length {
            None => json::decode_response(&self.bytes, &limits),
            Some(length) => binary::decode_response(self.bytes.clone(), length, &limits),
        };
        response.map_err(|error| error.to_string())
    }
}

/// How long the JSON is at the beginning of a body.
fn json_length(bytes: &[u8]) -> Option<usize> {
    let mut values =
        serde_json::Deserializer::from_slice(bytes).into_iter::<serde::de::IgnoredAny>();
    values.next()?.ok()?;
    Some(values.byte_offset())
}

/// The REST door's status for a code of either door.
fn status(code: &str) -> Option<u16> {
    if code == "OK" {
        return Some(200);
    }
    let by_name = || ErrorKind::ALL.iter().find(|kind| kind.grpc_name() == code);
    let number = code.parse().ok();
    number.or_else(|| by_name().map(|kind| kind.http_status()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_with_its_request_in_either_form() {
        let line = r#"{"specversion":"1.0","data":{"door":"grpc","model":"m","version":"1",
            "status":{"code":"INVALID_ARGUMENT","error":"x"},
            "request":{"base64":"e30A","header_length":2}}}"#;
        let recorded = Recorded::read(line).unwrap().unwrap();
        assert_eq!((recorded.model.as_str(), recorded.status), ("m", Some(400)));
        assert_eq!(recorded.request.bytes.as_ref(), b"{}\0");
        let line = r#"{"data":{"status":{"code":"200"},"request":{"json":{"inputs":[]}}}}"#;
        let recorded = Recorded::read(line).unwrap().unwrap();
        assert_eq!(recorded.request.bytes.as_ref(), br#"{"inputs":[]}"#);
        assert!(
            Recorded::read(r#"{"data":{"status":{"code":"cancelled"}}}"#)
                .unwrap()
                .is_none()
        );
        let message = r#"{"data":{"status":{"code":"INVALID_ARGUMENT"},
            "request":{"base64":"//8=","protobuf":true}}}"#;
        assert!(Recorded::read(message).unwrap().is_none());
        assert!(Recorded::read("{}").is_err());
    }

    #[test]
    fn the_json_of_a_binary_answer_is_found_by_its_end() {
        let body = Bytes::from_static(b"{\"a\":[1]}{\x00\xff");
        let body = Body::of_answer(Some("application/octet-stream"), body);
        assert_eq!(body.header_length, Some(9));
    }
}
