//! Feeds `checks/properties.rs`.
#![no_main]

#[path = "../checks/properties.rs"]
mod properties;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    properties::check(input);
});
