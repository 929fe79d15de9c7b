//! What a repository serves, for whoever prints it at start.

use oip_protocol::{ModelState, TensorMetadata};

use super::state::{Phase, Version};
use super::{Repository, best};

/// One model of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelOverview {
    /// Its name.
    pub name: String,
    /// As ready as its best version.
    pub state: ModelState,
    /// Why it has no version at all; empty where it has.
    pub reason: String,
    /// Its versions by number; the last that is ready answers by default.
    pub versions: Vec<VersionOverview>,
}

/// One version of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionOverview {
    /// Its number.
    pub version: String,
    /// Its state.
    pub state: ModelState,
    /// Why it is not ready; empty where it is.
    pub reason: String,
    /// The engine that runs it, such as `onnxruntime` or `tract`; empty where none does.
    pub engine: &'static str,
    /// Its inputs; none where it is not loaded.
    pub inputs: Vec<TensorMetadata>,
    /// Its outputs; none where it is not loaded.
    pub outputs: Vec<TensorMetadata>,
}

impl Repository {
    /// Every model and version, by name and number.
    #[must_use]
    pub fn overview(&self) -> Vec<ModelOverview> {
        let of_slot = |slot: &std::sync::Arc<super::ModelSlot>| {
            let snapshot = slot.snapshot();
            let versions: Vec<_> = snapshot.versions.iter().map(of_version).collect();
            let states = snapshot.states();
            ModelOverview {
                name: slot.name().to_owned(),
                state: best(states.iter().map(|(state, _, _)| *state)),
                reason: match &snapshot.phase {
                    Phase::Failed(reason) => reason.clone(),
                    _ => String::new(),
                },
                versions,
            }
        };
        self.all().iter().map(of_slot).collect()
    }
}

fn of_version((number, version): (&u64, &Version)) -> VersionOverview {
    let version_number = number.to_string();
    match version {
        Version::Ready(served) => VersionOverview {
            version: version_number,
            state: ModelState::Ready,
            reason: String::new(),
            engine: served.version.engine,
            inputs: served.metadata.inputs.clone(),
            outputs: served.metadata.outputs.clone(),
        },
        Version::Broken { reason } => VersionOverview {
            version: version_number,
            state: ModelState::Unavailable,
            reason: reason.clone(),
            engine: "",
            inputs: Vec::new(),
            outputs: Vec::new(),
        },
    }
}
