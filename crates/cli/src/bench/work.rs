//! What is measured: kinds of request.

/// Elements of the small requests.
pub(super) const SMALL: usize = 16;
/// Elements of the large requests: one image of 3 x 224 x 224.
pub(super) const LARGE: usize = 150_528;

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

impl Wire {
    pub(super) const ALL: [Self; 3] = [Self::Json, Self::Binary, Self::Grpc];

    /// Its name, as `--only` takes it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Json => "rest-json",
            Self::Binary => "rest-binary",
            Self::Grpc => "grpc",
        }
    }

    pub(super) fn is_grpc(self) -> bool {
        self == Self::Grpc
    }
}

/// One kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Work {
    /// How it travels.
    pub(super) wire: Wire,
    /// Elements of each input, as far as the model's shapes leave a choice; `None` where the
    /// inputs are those of a file.
    pub(super) elements: Option<usize>,
    /// How many are sent, where the shapes leave no such choice.
    pub(super) sent: Option<usize>,
}

/// Those of a plain run, in the order of the report.
pub(super) const WORKS: [Work; 5] = [
    Work::new(Wire::Json, SMALL),
    Work::new(Wire::Json, LARGE),
    Work::new(Wire::Binary, LARGE),
    Work::new(Wire::Grpc, SMALL),
    Work::new(Wire::Grpc, LARGE),
];

impl Work {
    pub(super) const fn new(wire: Wire, elements: usize) -> Self {
        Self {
            wire,
            elements: Some(elements),
            sent: None,
        }
    }

    /// The inputs of a file.
    pub(super) const fn of_file(wire: Wire) -> Self {
        Self {
            wire,
            elements: None,
            sent: None,
        }
    }

    /// The same, where so many elements are sent for each input: of inputs that differ, all
    /// together.
    pub(super) fn sending(self, counts: &[usize]) -> Self {
        let first = counts.first().copied().unwrap_or(0);
        let sent = match counts.iter().all(|count| *count == first) {
            true => first,
            false => counts.iter().sum(),
        };
        let differs = self.elements.is_some_and(|elements| elements != sent);
        Self {
            sent: differs.then_some(sent),
            ..self
        }
    }

    /// Its name in the report, such as `rest-json-16`, by what is sent.
    pub(super) fn name(&self) -> String {
        let wire = self.wire.name();
        match self.sent.or(self.elements) {
            Some(elements) => format!("{wire}-{elements}"),
            None => wire.to_owned(),
        }
    }

    /// Whether it carries so little that the tensors cost next to nothing.
    pub(super) fn is_small(&self) -> bool {
        self.elements == Some(SMALL)
    }

    /// Whether it goes through the gRPC door.
    pub(super) fn is_grpc(&self) -> bool {
        self.wire.is_grpc()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_request_is_named_by_what_is_sent() {
        for (counts, name) in [
            (&[16][..], "rest-json-16"),
            (&[16, 16], "rest-json-16"),
            (&[784], "rest-json-784"),
            (&[784, 16], "rest-json-800"),
        ] {
            assert_eq!(WORKS[0].sending(counts).name(), name);
        }
        assert_eq!(Work::of_file(Wire::Json).sending(&[3]).name(), "rest-json");
    }
}
