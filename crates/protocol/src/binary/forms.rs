//! Which outputs a request wants as binary data.

use crate::json::document::{BINARY_DATA, BINARY_DATA_OUTPUT};
use crate::{InferRequest, ParameterValue};

/// Which outputs a request wants as binary data: the request's `binary_data_output` (false when
/// absent, true for a raw request), and for single outputs their own `binary_data`, which wins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutputForms {
    default: bool,
    /// The outputs that say so themselves, by name.
    overrides: Vec<(String, bool)>,
    /// Whether the request names the outputs that it wants.
    selects: bool,
    requested: usize,
}

impl OutputForms {
    /// What a request asks for.
    #[must_use]
    pub fn new(request: &InferRequest) -> Self {
        let flag = |value: Option<&ParameterValue>| value.and_then(ParameterValue::as_bool);
        let overrides = request.outputs.iter().filter_map(|output| {
            let binary = flag(output.parameters.get(BINARY_DATA))?;
            Some((output.name.clone(), binary))
        });
        Self {
            // A raw request has no JSON that could say how to answer, and is answered in kind.
            default: flag(request.parameters.get(BINARY_DATA_OUTPUT))
                .unwrap_or(request.raw_input.is_some()),
            overrides: overrides.collect(),
            selects: !request.outputs.is_empty(),
            requested: request.outputs.len(),
        }
    }

    /// Whether any output may have to be binary, so that the answer is of the binary form.
    #[must_use]
    pub fn any_binary(&self) -> bool {
        let by_default = self.default && (!self.selects || self.overrides.len() < self.requested);
        by_default || self.overrides.iter().any(|(_, binary)| *binary)
    }

    /// Whether this output is wanted as binary data.
    #[must_use]
    pub fn is_binary(&self, name: &str) -> bool {
        let own = self.overrides.iter().find(|(known, _)| known == name);
        own.map_or(self.default, |(_, binary)| *binary)
    }
}

impl From<&InferRequest> for OutputForms {
    fn from(request: &InferRequest) -> Self {
        Self::new(request)
    }
}
