//! The id of a request: its caller's, or one that is made. It stands in the access log, in the
//! audit and in kept payloads, and comes back with the answer.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::access_log::is_logged;
use super::{Door, Present};

/// The header that carries the id of a request.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is taken from a caller, in characters.
const LONGEST: usize = 128;

/// Sees to it that a request has an id, and returns the one that its answer must carry. Where
/// nothing is written down under an id, no id is made: a caller gets back what it sent. `present`
/// is of its head, and stays so.
///
/// `None` where there is none, or where the access log, which stands around the doors, has done
/// it already.
pub(crate) fn identify(
    parts: &mut Parts,
    present: &mut Present,
    door: &Door,
) -> Option<HeaderValue> {
    if is_logged(&parts.extensions) {
        return None;
    }
    let taken = match present.has(Present::REQUEST_ID) {
        true => taken(&parts.headers),
        false => None,
    };
    match taken {
        Some(id) => Some(id.clone()),
        None if !is_written_down(door) => None,
        None => {
            present.add(Present::REQUEST_ID);
            Some(give(&mut parts.headers))
        }
    }
}

/// Puts its id on an answer.
///
/// Marked so that HTTP/2 does not take it into its table of headers: it is another one each time,
/// and a connection would look through the sixty before it, and throw one of them out, for nothing.
pub(crate) fn show(mut id: HeaderValue, headers: &mut HeaderMap) {
    id.set_sensitive(true);
    headers.insert(REQUEST_ID, id);
}

/// Whether something is written down under the ids of requests: by the audit, the payload log or
/// traces.
fn is_written_down(door: &Door) -> bool {
    let telemetry = &door.telemetry;
    !door.dataplane.is_open() || telemetry.payloads.is_some() || telemetry.tracer.switch.is_on()
}

/// The caller's id, if it is one: visible ASCII, not long, and only one.
pub(super) fn taken(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut ids = headers.get_all(&REQUEST_ID).iter();
    let id = ids.next().filter(|_| ids.next().is_none())?;
    let bytes = id.as_bytes();
    let fits = !bytes.is_empty() && bytes.len() <= LONGEST;
    (fits && bytes.iter().all(u8::is_ascii_graphic)).then_some(id)
}

/// Gives a request an id in place of whatever it came with.
pub(super) fn give(headers: &mut HeaderMap) -> HeaderValue {
    let id = made();
    headers.insert(REQUEST_ID, id.clone());
    id
}

/// A number that no other start has, and a counter. It can be guessed.
fn made() -> HeaderValue {
    static START: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Relaxed);
    let mut text = [b'-'; 33];
    let (start, rest) = text.split_at_mut(16);
    put_hex(start, *START);
    let digits = (16 - count.leading_zeros() as usize / 4).max(1);
    let end = 17 + digits;
    put_hex(rest.get_mut(1..=digits).unwrap_or_default(), count);
    let id = HeaderValue::from_bytes(text.get(..end).unwrap_or_default());
    id.unwrap_or(HeaderValue::from_static("-"))
}

/// Writes the last digits of a number, as many as there is room for.
fn put_hex(room: &mut [u8], number: u64) {
    let mut left = number;
    for place in room.iter_mut().rev() {
        *place = b"0123456789abcdef"[(left & 15) as usize];
        left >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_id_is_another_each_time_and_fits_a_header() {
        let [one, two] = [made(), made()];
        assert_ne!(one, two);
        let text = one.to_str().unwrap();
        assert_eq!(text.as_bytes()[16], b'-');
        assert!(text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()));
        assert_eq!(text[..16], two.to_str().unwrap()[..16]);
    }

    #[test]
    fn digits_are_those_of_the_number() {
        for number in [0, 9, 0xa0, 0x0123_4567_89ab_cdef, u64::MAX] {
            let mut room = [0; 16];
            put_hex(&mut room, number);
            assert_eq!(
                std::str::from_utf8(&room).unwrap(),
                format!("{number:016x}")
            );
        }
    }

    #[test]
    fn an_id_is_taken_when_it_is_one_that_can_stand_in_a_line() {
        let headers = |values: &[&[u8]]| {
            let values = values.iter().map(|value| {
                let value = HeaderValue::from_bytes(value).unwrap();
                (REQUEST_ID, value)
            });
            values.collect::<HeaderMap>()
        };
        assert_eq!(taken(&headers(&[b"abc-1"])).unwrap(), "abc-1");
        let long = [b'a'; 129];
        let odd: [&[&[u8]]; 6] = [&[], &[b""], &[b"a b"], &[b"a\xff"], &[b"a", b"b"], &[&long]];
        for values in odd {
            assert_eq!(taken(&headers(values)), None, "{values:?}");
        }
    }

    #[test]
    fn an_id_is_made_where_something_is_written_down_under_it() {
        use std::sync::Arc;

        use oip_core::{Access, Dataplane, DefaultModelHandler};

        use crate::DoorOptions;
        use crate::telemetry::{PayloadOptions, Telemetry, TraceOptions};

        let made = |telemetry: Telemetry| {
            let dataplane = Dataplane::of_handler(DefaultModelHandler, Access::open());
            let mut door = Door::new(Arc::new(dataplane), DoorOptions::default());
            door.telemetry = Arc::new(telemetry);
            let mut parts = http::Request::new(()).into_parts().0;
            let mut present = Present::of(&parts.headers);
            let id = identify(&mut parts, &mut present, &door);
            assert_eq!(id.as_ref(), parts.headers.get(&REQUEST_ID));
            assert_eq!(present.has(Present::REQUEST_ID), id.is_some());
            id.is_some()
        };
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("payloads").display().to_string();
        let payloads = PayloadOptions::new(to);
        let traces = TraceOptions::default();
        assert!(!made(Telemetry::default()));
        assert!(made(Telemetry::new(&traces, Some(&payloads)).unwrap()));
    }
}
