//! The model repository extension: which models there are and in what state.
//!
//! Source: Triton's `extension_model_repository.md`.

/// The state of a model version in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModelState {
    /// Known, never loaded.
    Unknown,
    /// It answers requests.
    Ready,
    /// It does not answer requests: unloaded, or its load failed.
    Unavailable,
    /// A load is under way.
    Loading,
    /// It finishes what is in flight and then goes.
    Unloading,
}

impl ModelState {
    /// The name on the wire, such as `"READY"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Ready => "READY",
            Self::Unavailable => "UNAVAILABLE",
            Self::Loading => "LOADING",
            Self::Unloading => "UNLOADING",
        }
    }
}

/// One line of the repository index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryEntry {
    /// The model's name.
    pub name: String,
    /// The version; empty where the model has none that could be read.
    pub version: String,
    /// Its state.
    pub state: ModelState,
    /// Why it is in that state; empty where there is nothing to say.
    pub reason: String,
}
