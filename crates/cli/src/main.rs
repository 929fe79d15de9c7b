//! The `oip` binary.

fn main() {}
