//! What a decoder refuses to take in, however well formed it is.

/// Limits of a decoder. The defaults are the contract's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecodeLimits {
    /// Deepest nesting of JSON arrays and objects: 64.
    pub json_depth: usize,
    /// Most tensors (inputs, or requested outputs) in one request: 1,024.
    pub tensors: usize,
    /// Most parameters on one object: 1,024. A whole protobuf message may hold sixteen times as
    /// many.
    pub parameters: usize,
    /// Most dimensions of one tensor: 1,024.
    pub rank: usize,
    /// Most elements in typed protobuf contents, all tensors of a message together: 16,777,216.
    /// A small integer takes one byte on the wire and eight in memory, so this holds what is
    /// decoded to 128 MiB. Four-byte and eight-byte floats reach 64 MiB first. Raw contents know
    /// no such limit.
    pub typed_elements: usize,
    /// Most `BYTES` elements in typed protobuf contents, all tensors of a message together:
    /// 1,048,576. An empty one takes two bytes on the wire and 32 in memory. Raw contents know no
    /// such limit.
    pub typed_strings: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            json_depth: 64,
            tensors: 1024,
            parameters: 1024,
            rank: 1024,
            typed_elements: 16 << 20,
            typed_strings: 1 << 20,
        }
    }
}
