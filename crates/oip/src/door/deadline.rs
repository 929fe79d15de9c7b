//! The caller's deadline, from the head of a request.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use oip_protocol::{Error, Result};
use tokio::time::Instant;

/// The REST header by which a caller says how long it waits, in milliseconds.
pub const TIMEOUT_HEADER: &str = "x-oip-timeout-ms";

/// The names as headers are looked up by them: parsing a name takes longer than looking.
static REST: HeaderName = HeaderName::from_static(TIMEOUT_HEADER);
static GRPC: HeaderName = HeaderName::from_static("grpc-timeout");

/// Most digits that the gRPC specification allows in `grpc-timeout`.
const GRPC_DIGITS: usize = 8;

/// When the caller no longer waits: the earliest that `grpc-timeout` and [`TIMEOUT_HEADER`] say,
/// at either door and however often they stand in the head. A proxy may add one to that of the
/// caller.
///
/// # Errors
/// A header that is not a time, whatever the others are.
pub fn deadline(headers: &HeaderMap) -> Result<Option<Instant>> {
    let grpc = headers.get_all(&GRPC).iter().map(|value| {
        time(value, grpc_timeout)
            .ok_or("grpc-timeout is no time: it is up to 8 digits and one of H, M, S, m, u, n")
    });
    let rest = headers.get_all(&REST).iter().map(|value| {
        time(value, milliseconds)
            .ok_or("x-oip-timeout-ms is no time: it is a whole number of milliseconds")
    });
    let mut earliest = None;
    for waits in grpc.chain(rest) {
        let waits = waits.map_err(Error::malformed)?;
        earliest = Some(earliest.map_or(waits, |earliest: Duration| earliest.min(waits)));
    }
    Ok(earliest.and_then(|waits| Instant::now().checked_add(waits)))
}

fn time(value: &HeaderValue, read: impl Fn(&str) -> Option<Duration>) -> Option<Duration> {
    value.to_str().ok().and_then(read)
}

fn milliseconds(value: &str) -> Option<Duration> {
    // `parse` would take a sign too.
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let milliseconds = value.parse().ok().filter(|_| digits)?;
    Some(Duration::from_millis(milliseconds))
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
        for value in ["", "soon", "+5", "-5", "1.5", "99999999999999999999"] {
            assert_eq!(milliseconds(value), None, "{value}");
        }
    }

    /// Seconds until the deadline that these headers set, rounded up.
    fn seconds(pairs: &[(&'static str, &str)]) -> Result<Option<u64>> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        let now = Instant::now();
        let left = deadline(&headers)?.map(|end| end.saturating_duration_since(now));
        Ok(left.map(|left| left.as_secs_f64().round() as u64))
    }

    #[test]
    fn the_earliest_of_all_headers_counts_at_either_door() {
        let (grpc, rest) = ("grpc-timeout", TIMEOUT_HEADER);
        for (pairs, expected) in [
            (&[(grpc, "60S"), (rest, "5000")][..], 5),
            (&[(grpc, "5S"), (rest, "60000")], 5),
            (&[(rest, "60000"), (rest, "5000")], 5),
            (&[(rest, "5000"), (rest, "60000")], 5),
            (&[(grpc, "1M"), (grpc, "7S"), (rest, "60000")], 7),
        ] {
            assert_eq!(seconds(pairs).unwrap(), Some(expected), "{pairs:?}");
        }
    }

    #[test]
    fn one_that_is_no_time_is_refused_beside_one_that_is() {
        let (grpc, rest) = ("grpc-timeout", TIMEOUT_HEADER);
        for (pairs, named) in [
            (&[(grpc, "60S"), (rest, "soon")][..], rest),
            (&[(grpc, "soon"), (rest, "60000")], grpc),
            (&[(rest, "60000"), (rest, "soon")], rest),
        ] {
            let error = seconds(pairs).unwrap_err();
            assert!(error.message().starts_with(named), "{error}");
        }
    }

    #[test]
    fn without_a_header_there_is_no_deadline() {
        assert_eq!(deadline(&HeaderMap::new()).unwrap(), None);
    }
}
