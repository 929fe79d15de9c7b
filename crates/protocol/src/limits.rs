//! What a decoder refuses to take in, however well formed it is.

/// Limits of a decoder. The defaults are the contract's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecodeLimits {
    /// Deepest nesting of JSON arrays and objects: 64.
    pub json_depth: usize,
    /// Most tensors (inputs, or requested outputs) in one request: 1,024.
    pub tensors: usize,
    /// Most parameters on one object: 1,024.
    pub parameters: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            json_depth: 64,
            tensors: 1024,
            parameters: 1024,
        }
    }
}
