//! Feeds `checks/jwt.rs`.
#![no_main]

#[path = "../checks/jwt.rs"]
mod jwt;
#[path = "../checks/strict.rs"]
mod strict;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    jwt::check(input);
});
