//! Inferences that `payload_log` has kept, read back: to be sent again, and their answers
//! compared.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
/// The names of headers.
pub use http::HeaderName;
use oip_protocol::{DecodeLimits, ErrorKind, InferResponse, binary, json};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt;

/// An inference that was kept.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The model that was asked.
    pub model: String,
    /// The version that answered, where one did.
    pub version: Option<String>,
    /// The version that its caller asked for, where one was named.
    pub asked_version: Option<String>,
    /// The id of the request, where it had one.
    pub request_id: Option<String>,
    /// What its caller was told; `None` where it had left.
    pub told: Option<Told>,
    /// What was sent, as the REST door reads it.
    pub request: Body,
    /// What was answered.
    pub response: Option<Body>,
}

/// What the caller of an inference was told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The REST door's status, whichever door it was.
    Status(u16),
    /// A code of the gRPC door, of which it was not kept which status it stands for.
    Code(String),
}

/// Statuses by which a request is refused for want of room or time: asked again, it may be
/// answered.
const FOR_LOAD: [u16; 3] = [429, 503, 504];

/// Whether a request was refused for want of room or time.
#[must_use]
pub fn is_for_load(status: u16) -> bool {
    FOR_LOAD.contains(&status)
}

impl Told {
    /// Whether this status of the REST door says the same.
    #[must_use]
    pub fn is(&self, status: u16) -> bool {
        match self {
            Self::Status(own) => *own == status,
            Self::Code(code) => kinds_of(code).any(|kind| kind.http_status() == status),
        }
    }

    /// Whether the request was refused for want of room or time, as far as that can be told.
    #[must_use]
    pub fn is_for_load(&self) -> bool {
        FOR_LOAD.iter().any(|status| self.is(*status))
    }

    fn of(status: Status) -> Option<Self> {
        let Status { code, rest } = status;
        let known = rest.or_else(|| (code == "OK").then_some(200));
        match known.or_else(|| code.parse().ok()) {
            Some(status) => Some(Self::Status(status)),
            None => {
                let is_known = kinds_of(&code).next().is_some();
                is_known.then_some(Self::Code(code))
            }
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => status.fmt(f),
            Self::Code(code) => code.fmt(f),
        }
    }
}

/// The failures that the gRPC door says by this code.
fn kinds_of(code: &str) -> impl Iterator<Item = &'static ErrorKind> {
    ErrorKind::ALL
        .iter()
        .filter(move |kind| kind.grpc_name() == code)
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
    asked_version: Option<String>,
    request_id: Option<String>,
    status: Status,
    request: Option<Payload>,
    response: Option<Payload>,
}

#[derive(Deserialize)]
struct Status {
    code: String,
    rest: Option<u16>,
}

#[derive(Deserialize)]
struct Payload {
    /// As it was sent: what no number and no string of ours can hold is JSON all the same.
    json: Option<Box<RawValue>>,
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
    pub fn read(line: &[u8]) -> Result<Option<Self>, String> {
        let event: Event = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let data = event.data;
        let Some(request) = data.request.filter(|request| !request.protobuf) else {
            return Ok(None);
        };
        Ok(Some(Self {
            model: data.model,
            version: data.version,
            asked_version: data.asked_version,
            request_id: data.request_id,
            told: Told::of(data.status),
            request: request.body()?,
            response: data.response.map(Payload::body).transpose()?,
        }))
    }
}

impl Payload {
    fn body(self) -> Result<Body, String> {
        let bytes = match (self.json, self.base64) {
            (Some(json), None) => Box::<str>::from(json).into_string().into_bytes(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<Recorded> {
        Recorded::read(line.as_bytes()).unwrap()
    }

    #[test]
    fn a_line_is_read_with_its_request_in_either_form() {
        let line = r#"{"specversion":"1.0","data":{"door":"grpc","model":"m","version":"1","asked_version":"1",
            "status":{"code":"INVALID_ARGUMENT","rest":400,"error":"x"},
            "request":{"base64":"e30A","header_length":2}}}"#;
        let recorded = read(line).unwrap();
        let told = recorded.told.unwrap();
        assert_eq!((recorded.model.as_str(), told), ("m", Told::Status(400)));
        assert_eq!(recorded.request.bytes.as_ref(), b"{}\0");
        assert_eq!(recorded.asked_version.as_deref(), Some("1"));
        let line = r#"{"data":{"status":{"code":"200"},"request":{"json":{"inputs": []}}}}"#;
        let recorded = read(line).unwrap();
        assert_eq!(recorded.request.bytes.as_ref(), br#"{"inputs": []}"#);
        assert_eq!(recorded.asked_version, None);
        assert!(read(r#"{"data":{"status":{"code":"cancelled"}}}"#).is_none());
        let message = r#"{"data":{"status":{"code":"INVALID_ARGUMENT"},
            "request":{"base64":"//8=","protobuf":true}}}"#;
        assert!(read(message).is_none());
        assert!(Recorded::read(b"{}").is_err());
        assert!(Recorded::read(b"\xff").is_err());
    }

    #[test]
    fn a_payload_is_read_as_it_was_sent_whatever_its_numbers_strings_and_depth() {
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        for payload in [r#"{"data":[1e400]}"#, r#"{"id":"\ud800"}"#, deep.as_str()] {
            let event = format!(
                r#"{{"data":{{"status":{{"code":"400"}},"request":{{"json":{payload}}}}}}}"#
            );
            let recorded = read(&event).unwrap();
            assert_eq!(recorded.request.bytes.as_ref(), payload.as_bytes());
        }
    }

    #[test]
    fn a_code_of_grpc_stands_for_every_status_that_has_it_unless_it_was_kept_which() {
        let told = |status: &str| {
            let event = format!(r#"{{"data":{{"status":{status},"request":{{"json":{{}}}}}}}}"#);
            read(&event).unwrap().told.unwrap()
        };
        let old = told(r#"{"code":"RESOURCE_EXHAUSTED"}"#);
        assert!(old.is(413) && old.is(429) && !old.is(503) && old.is_for_load());
        let new = told(r#"{"code":"RESOURCE_EXHAUSTED","rest":413}"#);
        assert!(new.is(413) && !new.is(429) && !new.is_for_load());
        assert!(told(r#"{"code":"DEADLINE_EXCEEDED"}"#).is_for_load());
        assert_eq!(told(r#"{"code":"OK"}"#), Told::Status(200));
        assert_eq!(told(r#"{"code":"404"}"#), Told::Status(404));
    }

    #[test]
    fn the_json_of_a_binary_answer_is_found_by_its_end() {
        let body = Bytes::from_static(b"{\"a\":[1]}{\x00\xff");
        let body = Body::of_answer(Some("application/octet-stream"), body);
        assert_eq!(body.header_length, Some(9));
    }
}
