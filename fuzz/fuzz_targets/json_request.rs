//! Feeds `checks/json_request.rs`.
#![no_main]

#[path = "../checks/json_request.rs"]
mod json_request;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    json_request::check(input);
});
