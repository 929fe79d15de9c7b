//! A binary request of any bytes, its header length before it: no panic, and what is read is
//! written and read back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oip_protocol::{Bytes, DecodeLimits, binary};

fuzz_target!(|input: &[u8]| {
    let Some((length, body)) = input.split_first_chunk::<2>() else {
        return;
    };
    let (length, body) = (
        usize::from(u16::from_le_bytes(*length)),
        Bytes::copy_from_slice(body),
    );
    let limits = DecodeLimits::default();
    let _ = binary::decode_response(body.clone(), length, &limits);
    let Ok(request) = binary::decode_request(body, length, &limits) else {
        return;
    };
    if request.raw_input.is_some() {
        return;
    }
    let written = binary::encode_request(&request, |_| true).expect("bytes hold anything");
    let again = binary::decode_request(written.to_bytes(), written.header_length(), &limits);
    assert_eq!(again.expect("what we write, we read"), request);
});
