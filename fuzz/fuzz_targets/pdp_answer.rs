//! Feeds `checks/pdp_answer.rs`.
#![no_main]

#[path = "../checks/pdp_answer.rs"]
mod pdp_answer;
#[path = "../checks/strict.rs"]
mod strict;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    pdp_answer::check(input);
});
