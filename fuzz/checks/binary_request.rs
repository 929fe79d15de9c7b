//! A binary request of any bytes, its header length before it: no panic, and what is read is
//! written and read back the same.

use oip_protocol::{Bytes, DecodeLimits, binary};

/// Whether it is a request, and not one whose bytes are left to the model to be understood.
pub(crate) fn check(input: &[u8]) -> bool {
    let Some((length, body)) = input.split_first_chunk::<2>() else {
        return false;
    };
    let (length, body) = (
        usize::from(u16::from_le_bytes(*length)),
        Bytes::copy_from_slice(body),
    );
    let limits = DecodeLimits::default();
    let _ = binary::decode_response(body.clone(), length, &limits);
    let Ok(request) = binary::decode_request(body, length, &limits) else {
        return false;
    };
    if request.raw_input.is_some() {
        return false;
    }
    let written = binary::encode_request(&request, |_| true).expect("bytes hold anything");
    let again = binary::decode_request(written.to_bytes(), written.header_length(), &limits);
    assert_eq!(again.expect("what we write, we read"), request);
    true
}
