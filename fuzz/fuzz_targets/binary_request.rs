//! Feeds `checks/binary_request.rs`.
#![no_main]

#[path = "../checks/binary_request.rs"]
mod binary_request;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    binary_request::check(input);
});
