//! Errors as gRPC statuses.

use std::borrow::Cow;

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use oip_protocol::{Error, ErrorKind, Limit};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::door::Body;
use crate::telemetry::Watched;

/// An error as a status, by the one table of outcomes.
pub(super) fn status(error: &Error) -> Status {
    if let Some(limit) = error.limit() {
        limit.reached();
    }
    let code = Code::from_i32(error.kind().grpc_code());
    let mut status = Status::new(code, excerpt(error.message()));
    if let Some(seconds) = error.retry_after_seconds() {
        let metadata = status.metadata_mut();
        metadata.insert("retry-after", MetadataValue::from(seconds));
        // What clients with a retry policy read. Source: gRFC A6.
        let pushback = MetadataValue::from(u64::from(seconds) * 1000);
        metadata.insert("grpc-retry-pushback-ms", pushback);
    }
    status
}

/// Most bytes of a message, as it is written in `grpc-message`. Clients take so much metadata in all
/// (16 KiB, and 8 KiB as a rule), and read RESOURCE_EXHAUSTED in place of a status that has more.
const MESSAGE: usize = 4096;

/// A message, or the beginning of a long one.
fn excerpt(message: &str) -> Cow<'_, str> {
    // Whatever is no letter or digit may be written as `%XX`, each of its bytes.
    let written = |letter: char| match letter.is_ascii_alphanumeric() {
        true => 1,
        false => 3 * letter.len_utf8(),
    };
    if message.len().saturating_mul(3) <= MESSAGE {
        return Cow::Borrowed(message);
    }
    let (mut bytes, mut end) = (0, None);
    for (at, letter) in message.char_indices() {
        bytes += written(letter);
        // Here the message is cut, where all of it does not fit: the ellipsis takes room too.
        if bytes > MESSAGE - written('…') {
            end = end.or(Some(at));
        }
        if bytes > MESSAGE {
            let (beginning, _) = message.split_at(end.unwrap_or(at));
            return Cow::Owned(format!("{beginning}…"));
        }
    }
    Cow::Borrowed(message)
}

/// An error as a whole response.
pub(super) fn refusal(error: &Error) -> Response<Body> {
    status(error).into_http()
}

/// A status as it stands behind the messages of an answer.
pub(super) fn trailers(status: Status) -> HeaderMap {
    let (mut parts, ()) = status.into_http::<()>().into_parts();
    parts.headers.remove(CONTENT_TYPE);
    parts.headers
}

/// The same where nothing has failed.
pub(super) fn no_failure() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    trailers
}

/// The code of a response, as far as its head says it: a failure of a stream stands at its end.
pub(super) fn code<T>(response: &Response<T>) -> i32 {
    if response.status() != StatusCode::OK {
        // What was no gRPC request was answered in the form of the other door.
        return Code::Unimplemented as i32;
    }
    let status = response.headers().get(Status::GRPC_STATUS);
    let code = status.and_then(|code| code.to_str().ok()?.parse().ok());
    code.unwrap_or(0)
}

/// The kind of failure that a code stands for; of several that share it, one.
pub(super) fn kind(code: i32) -> Option<ErrorKind> {
    if code == 0 {
        return None;
    }
    let mut kinds = ErrorKind::ALL.into_iter();
    let kind = kinds.find(|kind| kind.grpc_code() == code);
    Some(kind.unwrap_or(ErrorKind::HandlerFailed))
}

/// Ends what was watched by a response, which may say itself that the call has failed.
pub(super) fn end(watched: Watched, failure: Option<&Error>, response: &mut Response<Body>) {
    let status = match (failure, kind(code(response))) {
        (None, Some(kind)) => {
            let status = Status::from_header_map(response.headers());
            let message = status.map(|status| status.message().to_owned());
            Some((kind, message.unwrap_or_default()))
        }
        _ => None,
    };
    let own = status
        .as_ref()
        .map(|(kind, message)| (*kind, message.as_str()));
    let failure = failure.map(|error| (error.kind(), error.message())).or(own);
    watched.end(None, failure, response.headers_mut());
}

/// What tonic says of a message that unpacks to more than the limit.
const UNPACKS_TO_TOO_MUCH: &str = "Error decompressing: size limit";

/// The table's codes where tonic chose others: a message over the limit, and one that does not
/// decompress.
pub(super) fn by_the_table(status: Status) -> Status {
    let code = match status.code() {
        Code::OutOfRange => Code::ResourceExhausted,
        Code::ResourceExhausted if status.message().starts_with(UNPACKS_TO_TOO_MUCH) => {
            Limit::Decompressed.reached();
            return status;
        }
        Code::Internal if status.message().starts_with("Error decompressing") => {
            Code::InvalidArgument
        }
        _ => return status,
    };
    Status::new(code, status.message())
}

/// A response as it is, but for a failure whose code is not the table's.
pub(super) fn translated(mut response: Response<tonic::body::Body>) -> Response<Body> {
    match response.extensions_mut().remove::<Status>() {
        Some(status) => by_the_table(status).into_http(),
        None => response.map(Body::new),
    }
}

/// The answer to what is no gRPC request, in the form of the other door.
pub(super) fn not_grpc(method: &Method) -> Response<Body> {
    let (status, sentence) = match *method {
        Method::POST => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "this port speaks gRPC: the content type must be application/grpc",
        ),
        _ => (
            StatusCode::METHOD_NOT_ALLOWED,
            "this port speaks gRPC: its method is POST",
        ),
    };
    let body = serde_json::json!({ "error": sentence }).to_string();
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

#[cfg(test)]
mod tests {
    use oip_protocol::ErrorKind;

    use super::*;

    #[test]
    fn every_kind_of_error_has_the_tables_code_and_its_message_survives() {
        // Control characters, a per cent sign and more than ASCII.
        let sentence = "tensor 'x\u{7}': 100 % größer\nals 数";
        for kind in ErrorKind::ALL {
            let response = refusal(&Error::new(kind, sentence));
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
            let read = Status::from_header_map(response.headers()).unwrap();
            assert_eq!(read.code() as i32, kind.grpc_code(), "{kind:?}");
            assert_eq!(read.message(), sentence);
        }
    }

    #[test]
    fn a_long_message_is_cut_so_that_clients_can_read_the_status() {
        let sentence = "größer als 数\u{7}";
        let long = sentence.repeat(2000);
        let response = refusal(&Error::new(ErrorKind::DoesNotFit, long.clone()));
        let written = response.headers().get("grpc-message").unwrap().len();
        assert!((3000..=MESSAGE).contains(&written), "{written}");
        let read = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(read.code(), Code::InvalidArgument);
        let beginning = read.message().strip_suffix('…').unwrap();
        assert!(long.starts_with(beginning));
        // One that just fits is whole, and one letter more is not.
        for (count, cut) in [(MESSAGE, false), (MESSAGE + 1, true)] {
            let message = "x".repeat(count);
            assert_eq!(excerpt(&message).ends_with('…'), cut);
            assert_eq!(excerpt(&message) == message, !cut);
        }
    }

    #[test]
    fn a_caller_is_told_when_to_come_back() {
        let status = status(&Error::unavailable("draining").retry_after(7));
        assert_eq!(status.metadata().get("retry-after").unwrap(), "7");
    }

    #[test]
    fn tonics_own_code_for_a_long_message_is_translated() {
        let response = Status::out_of_range("too long").into_http();
        let read = Status::from_header_map(translated(response).headers()).unwrap();
        assert_eq!(read.code(), Code::ResourceExhausted);
        let other = by_the_table(Status::internal("Error decompressing: bad, while …"));
        assert_eq!(other.code(), Code::InvalidArgument);
        assert_eq!(by_the_table(Status::internal("x")).code(), Code::Internal);
    }
}
