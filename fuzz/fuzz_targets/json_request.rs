//! A JSON request of any bytes: no panic, and what is read is written and read back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oip_protocol::{DecodeLimits, json};

fuzz_target!(|body: &[u8]| {
    let limits = DecodeLimits::default();
    let _ = json::decode_response(body, &limits);
    let Ok(request) = json::decode_request(body, &limits) else {
        return;
    };
    let written = json::encode_request(&request).expect("what JSON held, JSON can hold");
    let again = json::decode_request(&written, &limits).expect("what we write, we read");
    assert_eq!(again, request);
});
