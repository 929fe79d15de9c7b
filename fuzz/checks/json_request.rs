//! A JSON request of any bytes: no panic, and what is read is written and read back the same.

use oip_protocol::{DecodeLimits, json};

/// Whether it is a request.
pub(crate) fn check(body: &[u8]) -> bool {
    let limits = DecodeLimits::default();
    let _ = json::decode_response(body, &limits);
    let Ok(request) = json::decode_request(body, &limits) else {
        return false;
    };
    let written = json::encode_request(&request).expect("what JSON held, JSON can hold");
    let again = json::decode_request(&written, &limits).expect("what we write, we read");
    assert_eq!(again, request);
    true
}
