//! What a decoder refuses to take in, however well formed it is, and how often any limit of a
//! server was reached.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{Datatype, DecodeError, Tensor};

/// How many times [`DecodeLimits::parameters`] one request may hold in all.
const PARAMETERS_IN_ALL: usize = 16;

/// Limits of a decoder. The defaults are the contract's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecodeLimits {
    /// Deepest nesting of JSON arrays and objects: 64.
    pub json_depth: usize,
    /// Most tensors (inputs, or requested outputs) in one request: 1,024.
    pub tensors: usize,
    /// Most parameters on one object: 1,024. A whole request may hold sixteen times as many, as
    /// JSON and as protobuf.
    pub parameters: usize,
    /// Most dimensions of one tensor: 1,024.
    pub rank: usize,
    /// Most `BYTES` elements in one request, all tensors together, that come as JSON, binary or
    /// raw: 4,194,304. An empty one takes three bytes of JSON or four of binary, and 24 to 32 in
    /// an engine.
    pub strings: usize,
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
            strings: 4 << 20,
            typed_elements: 16 << 20,
            typed_strings: 1 << 20,
        }
    }
}

impl DecodeLimits {
    /// Most parameters in one request, all its objects together. One takes some 100 bytes in
    /// memory, and as JSON seven.
    pub(crate) fn parameters_in_all(&self) -> usize {
        self.parameters.saturating_mul(PARAMETERS_IN_ALL)
    }

    /// Refuses tensors with too many elements of `BYTES`, all together.
    pub(crate) fn check_strings(&self, tensors: &[Tensor]) -> Result<(), DecodeError> {
        let strings = tensors
            .iter()
            .filter(|tensor| tensor.datatype() == Datatype::Bytes);
        let count = strings.fold(0_usize, |count, tensor| {
            count.saturating_add(tensor.shape().element_count().unwrap_or(usize::MAX))
        });
        match count > self.strings {
            false => Ok(()),
            true => Err(DecodeError::TooMany {
                place: "request".to_owned(),
                what: "BYTES elements",
                limit: self.strings,
            }),
        }
    }
}

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        /// The limits of a server, by what reaches them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Limit {
            $($(#[$doc])* $name,)*
        }

        impl Limit {
            /// Every limit.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name, as metrics and the documentation have it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }

            fn counter(self) -> &'static AtomicU64 {
                match self {
                    $(Self::$name => {
                        static COUNT: AtomicU64 = AtomicU64::new(0);
                        &COUNT
                    })*
                }
            }
        }
    };
}

limits! {
    /// A body or message is too long.
    BodyLimit = "body_limit",
    /// What a body or message decompresses to is too long.
    Decompressed = "body_limit_decompressed",
    /// Nothing more came of a body or message.
    BodyTimeout = "body_timeout",
    /// A body or message took too long in all.
    BodyTime = "body_time",
    /// Bodies take too much memory together.
    BodyMemory = "body_memory",
    /// The head of a request is too long.
    HeaderLimit = "header_limit",
    /// The head of a request took too long.
    HeaderTimeout = "header_timeout",
    /// A client takes nothing of its answer.
    WriteTimeout = "write_timeout",
    /// All places for connections are taken.
    Connections = "connections",
    /// The process, or the system, has as many files and connections open as it may.
    OpenFiles = "open_files",
    /// A connection rested for too long.
    ConnectionIdle = "connection_idle",
    /// A connection was old enough to end.
    ConnectionAge = "connection_age",
    /// The other end of a quiet connection is gone.
    KeepAlive = "keep_alive",
    /// A connection carries as many requests at once as it may, or the server as many streams.
    Streams = "streams",
    /// As many calls wait for their messages as may.
    CallsWaiting = "calls_waiting",
    /// As many inferences are in flight as may be.
    InFlight = "in_flight",
    /// The queue of a model is full, or longer than a caller can wait.
    ModelQueue = "model_queue",
    /// The time of a request ran out: the caller's, or the server's.
    RequestTimeout = "request_timeout",
    /// A caller asks a model too often.
    RateLimit = "rate_limit",
    /// JSON is nested too deep.
    JsonDepth = "json_depth",
    /// A request has too many tensors.
    Tensors = "tensors_limit",
    /// A request has too many parameters.
    Parameters = "parameters_limit",
    /// A request has too many elements of `BYTES`, or typed ones.
    Strings = "strings_limit",
    /// The name of a model, or its version, is too long.
    Name = "name_limit",
}

impl Limit {
    /// Counts that it was reached.
    pub fn reached(self) {
        self.counter().fetch_add(1, Relaxed);
    }

    /// How often it was reached, by all servers of this process.
    #[must_use]
    pub fn count(self) -> u64 {
        self.counter().load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_counts_by_itself_and_has_a_name_of_its_own() {
        let before = Limit::JsonDepth.count();
        Limit::JsonDepth.reached();
        assert!(Limit::JsonDepth.count() > before);
        assert_eq!(Limit::KeepAlive.count(), 0);
        let mut names: Vec<_> = Limit::ALL.iter().map(|limit| limit.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Limit::ALL.len());
    }
}
