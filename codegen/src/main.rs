//! Regenerates protobuf code.

fn main() {}
