//! Which of the wire forms a body is in.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName};
use oip_protocol::error::excerpt;
use oip_protocol::{Error, Result};

use crate::door::Present;

/// The header that says how many bytes of JSON stand before the tensors' buffers.
pub(crate) static HEADER_LENGTH: HeaderName =
    HeaderName::from_static("inference-header-content-length");

/// The wire form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// JSON and nothing else.
    Json,
    /// This many bytes of JSON, and the buffers of tensors behind them.
    Binary(usize),
}

impl Form {
    /// What the head says of the body.
    ///
    /// A body of `application/octet-stream` without a header length is JSON alone, as Triton
    /// takes it.
    ///
    /// # Errors
    /// `UnsupportedMedia` for a content type that is not read; `Malformed` for a header length
    /// that is no number.
    pub(crate) fn of(headers: &HeaderMap, present: Present) -> Result<Self> {
        let length = match present.has(Present::HEADER_LENGTH) {
            true => headers.get(&HEADER_LENGTH),
            false => None,
        };
        if let Some(value) = length {
            let once = headers.get_all(&HEADER_LENGTH).iter().count() == 1;
            let length = value.to_str().ok().and_then(number).filter(|_| once);
            return length.map(Self::Binary).ok_or_else(|| {
                Error::malformed(format!(
                    "Inference-Header-Content-Length is '{}', but it is one number of bytes",
                    excerpt(&String::from_utf8_lossy(value.as_bytes()))
                ))
            });
        }
        let Some(value) = headers.get(CONTENT_TYPE) else {
            return Ok(Self::Json);
        };
        if value == "application/json" {
            return Ok(Self::Json);
        }
        let value = String::from_utf8_lossy(value.as_bytes());
        let essence = value.split(';').next().unwrap_or("").trim();
        let known = essence.to_ascii_lowercase();
        match known.as_str() {
            "" | "text/plain" | "application/x-www-form-urlencoded" => Ok(Self::Json),
            "application/octet-stream" => Ok(Self::Json),
            json if json.starts_with("application/json") => Ok(Self::Json),
            _ => Err(Error::unsupported_media(format!(
                "the content type '{}' is not read; known are application/json and \
                 application/octet-stream",
                excerpt(essence)
            ))),
        }
    }

    /// How many bytes of JSON stand before the tensors' buffers, in the binary form.
    pub(crate) fn binary_length(self) -> Option<usize> {
        match self {
            Self::Json => None,
            Self::Binary(length) => Some(length),
        }
    }

    /// How many bytes of JSON stand before the tensors' buffers; 0 where there are none.
    pub(crate) fn header_length(self) -> usize {
        match self {
            Self::Json => 0,
            Self::Binary(length) => length,
        }
    }
}

fn number(value: &str) -> Option<usize> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| value.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use oip_protocol::ErrorKind;

    use super::*;

    const LENGTH: &str = "inference-header-content-length";

    fn form(name: &'static str, value: &'static str) -> Result<Form> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        Form::of(&headers, Present::of(&headers))
    }

    #[test]
    fn json_comes_under_many_names_or_under_none() {
        for value in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json-seq",
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/octet-stream",
            "",
        ] {
            assert_eq!(form("content-type", value).unwrap(), Form::Json, "{value}");
        }
        assert_eq!(
            Form::of(&HeaderMap::new(), Present::default()).unwrap(),
            Form::Json
        );
    }

    #[test]
    fn anything_else_is_not_read() {
        for value in [
            "application/xml",
            "text/html",
            "multipart/form-data; boundary=x",
            "*/*",
        ] {
            let error = form("content-type", value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnsupportedMedia, "{value}");
        }
    }

    #[test]
    fn a_header_length_is_a_plain_number() {
        assert_eq!(form(LENGTH, "0").unwrap(), Form::Binary(0));
        assert_eq!(form(LENGTH, "123").unwrap().header_length(), 123);
        for value in [
            "",
            "+1",
            "-1",
            "1.0",
            "0x1",
            "99999999999999999999999",
            "1, 2",
        ] {
            let error = form(LENGTH, value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed, "{value}");
        }
        let mut twice = HeaderMap::new();
        twice.append(&HEADER_LENGTH, "1".parse().unwrap());
        twice.append(&HEADER_LENGTH, "1".parse().unwrap());
        assert!(Form::of(&twice, Present::of(&twice)).is_err());
    }
}
