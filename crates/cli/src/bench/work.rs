//! What is measured: five kinds of request.

/// Elements of the small requests.
const SMALL: usize = 16;
/// Elements of the large requests: one image of 3 x 224 x 224.
const LARGE: usize = 150_528;

/// How a request travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    /// REST, tensors as JSON.
    Json,
    /// REST, tensors behind a JSON header, both ways.
    Binary,
    /// gRPC, raw contents as `tritonclient` sends them.
    Grpc,
}

/// One kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Work {
    /// Its name, as `--only` takes it.
    pub(super) name: &'static str,
    /// How it travels.
    pub(super) wire: Wire,
    /// Elements of each input, as far as the model's shapes leave a choice.
    pub(super) elements: usize,
}

/// All of them, in the order of the report.
pub(super) const WORKS: [Work; 5] = [
    work("rest-json-16", Wire::Json, SMALL),
    work("rest-json-150528", Wire::Json, LARGE),
    work("rest-binary-150528", Wire::Binary, LARGE),
    work("grpc-16", Wire::Grpc, SMALL),
    work("grpc-150528", Wire::Grpc, LARGE),
];

const fn work(name: &'static str, wire: Wire, elements: usize) -> Work {
    Work {
        name,
        wire,
        elements,
    }
}

impl Work {
    /// Whether it carries so little that the tensors cost next to nothing.
    pub(super) fn is_small(&self) -> bool {
        self.elements == SMALL
    }

    /// Whether it goes through the gRPC door.
    pub(super) fn is_grpc(&self) -> bool {
        self.wire == Wire::Grpc
    }
}
