//! The caller's deadline, from the head of a request.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use oip_protocol::{Error, Result};
use tokio::time::Instant;

/// The REST header by which a caller says how long it waits, in milliseconds.
pub const TIMEOUT_HEADER: &str = "x-oip-timeout-ms";

/// The names as headers are looked up by them: parsing a name takes longer than looking.
static REST: HeaderName = HeaderName::from_static(TIMEOUT_HEADER);
static GRPC: HeaderName = HeaderName::from_static("grpc-timeout");

/// Most digits that the gRPC specification allows in `grpc-timeout`.
const GRPC_DIGITS: usize = 8;

/// When the caller no longer waits: by `grpc-timeout` (gRPC) or [`TIMEOUT_HEADER`] (REST).
///
/// # Errors
/// A header that is not a time.
pub fn deadline(headers: &HeaderMap) -> Result<Option<Instant>> {
    let waits = match (headers.get(&GRPC), headers.get(&REST)) {
        (Some(value), _) => value.to_str().ok().and_then(grpc_timeout).map(Some),
        (None, Some(value)) => value
            .to_str()
            .ok()
            .and_then(|value| value.parse().ok())
            .map(|milliseconds| Some(Duration::from_millis(milliseconds))),
        (None, None) => Some(None),
    };
    match waits {
        Some(waits) => Ok(waits.and_then(|waits| Instant::now().checked_add(waits))),
        None => Err(Error::malformed(format!(
            "the time-out is no time: grpc-timeout is up to 8 digits and one of H, M, S, m, u, n; \
             {TIMEOUT_HEADER} is a number of milliseconds"
        ))),
    }
}

/// Source: gRPC over HTTP/2, "Timeout".
fn grpc_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > GRPC_DIGITS {
        return None;
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts_read_in_every_unit() {
        assert_eq!(grpc_timeout("5S"), Some(Duration::from_secs(5)));
        assert_eq!(
            grpc_timeout("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3600))
        );
        assert_eq!(grpc_timeout("20m"), Some(Duration::from_millis(20)));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for value in ["", "S", "5", "5s", "-5S", "123456789S", "5é"] {
            assert_eq!(grpc_timeout(value), None, "{value}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(TIMEOUT_HEADER, "soon".parse().unwrap());
        assert!(deadline(&headers).is_err());
    }

    #[test]
    fn without_a_header_there_is_no_deadline() {
        assert_eq!(deadline(&HeaderMap::new()).unwrap(), None);
    }
}
