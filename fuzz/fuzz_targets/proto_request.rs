//! Feeds `checks/proto_request.rs`.
#![no_main]

#[path = "../checks/proto_request.rs"]
mod proto_request;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    proto_request::check(input);
});
