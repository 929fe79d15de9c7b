//! The state of a model at one moment. A snapshot is never changed, only replaced as a whole, so
//! whoever holds one sees all versions of the model as they were together.

use std::collections::BTreeMap;
use std::sync::Arc;

use oip_protocol::error::excerpt;
use oip_protocol::{Error, ModelRef, ModelState, Result};

use super::served::Served;

/// All versions of a model at one moment.
pub(super) struct Snapshot {
    pub(super) phase: Phase,
    /// By number, so that the last that is ready is the one by default.
    pub(super) versions: BTreeMap<u64, Version>,
}

/// What a model is at, as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// The first load is under way or still to come.
    Loading,
    /// The last load that counted left these versions.
    Loaded,
    /// The last load that counted left no version at all, and why.
    Failed(String),
    /// Unloaded.
    Unloaded,
}

/// One version.
#[derive(Clone)]
pub(super) enum Version {
    Ready(Arc<Served>),
    Broken { reason: String },
}

impl Snapshot {
    pub(super) fn of(phase: Phase) -> Self {
        Self {
            phase,
            versions: BTreeMap::new(),
        }
    }

    pub(super) fn ready(&self) -> impl DoubleEndedIterator<Item = &Arc<Served>> {
        self.versions.values().filter_map(|version| match version {
            Version::Ready(served) => Some(served),
            Version::Broken { .. } => None,
        })
    }

    /// Whether the server can be ready as far as this model goes.
    pub(super) fn is_well(&self) -> bool {
        let broken = |version: &Version| matches!(version, Version::Broken { .. });
        match self.phase {
            Phase::Loaded => !self.versions.values().any(broken),
            Phase::Unloaded => true,
            Phase::Loading | Phase::Failed(_) => false,
        }
    }

    /// The version that a request asks for; the highest that is ready when it asks for none.
    ///
    /// # Errors
    /// `NotFound` for a version that is not here and for an unloaded model, `Unavailable` for
    /// one that is not ready.
    pub(super) fn pick(&self, model: &ModelRef) -> Result<Arc<Served>> {
        let name = excerpt(&model.name);
        match &self.phase {
            Phase::Unloaded => {
                return Err(Error::not_found(format!("model '{name}' is unloaded")));
            }
            Phase::Loading => {
                return Err(Error::unavailable(format!(
                    "model '{name}' is still loading"
                )));
            }
            Phase::Failed(reason) => {
                return Err(Error::unavailable(format!(
                    "model '{name}' is not available: {reason}"
                )));
            }
            Phase::Loaded => {}
        }
        match &model.version {
            Some(version) => self.pick_version(model, version),
            None => self.ready().next_back().cloned().ok_or_else(|| {
                Error::unavailable(format!(
                    "model '{name}' is not available: {}",
                    self.last_reason()
                ))
            }),
        }
    }

    fn pick_version(&self, model: &ModelRef, asked: &str) -> Result<Arc<Served>> {
        // Compared as text, so that `01` and `+1` are not version 1.
        let version = asked
            .parse::<u64>()
            .ok()
            .filter(|number| number.to_string() == asked)
            .and_then(|number| self.versions.get(&number));
        match version {
            Some(Version::Ready(served)) => Ok(Arc::clone(served)),
            Some(Version::Broken { reason }) => Err(Error::unavailable(format!(
                "{model} is not available: {reason}"
            ))),
            None => Err(super::not_found(model)),
        }
    }

    /// Why the highest version is broken.
    fn last_reason(&self) -> &str {
        match self.versions.values().next_back() {
            Some(Version::Broken { reason }) => reason,
            _ => "it has no version",
        }
    }

    /// State and reason of each version, or of the model where it has none: the second is the
    /// version's number.
    pub(super) fn states(&self) -> Vec<(ModelState, String, String)> {
        let unavailable = ModelState::Unavailable;
        match &self.phase {
            Phase::Loaded => {}
            Phase::Loading => {
                return vec![(ModelState::Loading, String::new(), String::new())];
            }
            Phase::Failed(reason) => return vec![(unavailable, String::new(), reason.clone())],
            Phase::Unloaded if self.versions.is_empty() => {
                return vec![(unavailable, String::new(), UNLOADED.to_owned())];
            }
            Phase::Unloaded => {
                let unloaded = |number: &u64| (unavailable, number.to_string(), UNLOADED.into());
                return self.versions.keys().map(unloaded).collect();
            }
        }
        let of = |(number, version): (&u64, &Version)| match version {
            Version::Ready(_) => (ModelState::Ready, number.to_string(), String::new()),
            Version::Broken { reason } => (unavailable, number.to_string(), reason.clone()),
        };
        self.versions.iter().map(of).collect()
    }
}

/// The reason that the index gives for a model that was unloaded.
pub(super) const UNLOADED: &str = "unloaded";
