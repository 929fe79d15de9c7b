//! Loading: reads the folder again, makes what is new beside what serves, and swaps all versions
//! of a model at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use oip_protocol::error::excerpt;
use oip_protocol::{Error, ModelMetadata, ModelRef, Result};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::make::{Attempt, Maker};
use super::served::{LoadedVersion, Served};
use super::slot::ModelSlot;
use super::state::{Phase, Snapshot, Version};
use super::{Repository, not_found};
use crate::directory::FoundModel;
use crate::model::LoadError;
use crate::schedule::Limits;

/// When a loaded version may stay because its file looks unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Only when its file was old enough as it was read: a caller's load never misses a change.
    SettledOnly,
    /// Whenever it looks the same, as the watcher, which looks again and again, may.
    AsItLooks,
}

impl Repository {
    /// Loads these models side by side. One that fails is listed with its reason.
    pub(super) async fn load_all(&self, names: Vec<String>) {
        let Some(this) = self.this.upgrade() else {
            return;
        };
        let room = Arc::new(Semaphore::new(self.options.threads()));
        let mut loads = JoinSet::new();
        for name in names {
            let (this, room) = (Arc::clone(&this), Arc::clone(&room));
            loads.spawn(async move {
                let _place = room.acquire_owned().await;
                match this.load_model(&name, Trust::AsItLooks).await {
                    Ok(()) => tracing::info!(model = name, "model loaded"),
                    Err(error) => tracing::error!(model = name, "load failed: {error}"),
                }
            });
        }
        loads.join_all().await;
    }

    /// Loads a model, or loads it again.
    ///
    /// # Errors
    /// `NotFound` for a name that the folder does not have, `DoesNotFit` with the reason for a
    /// model that cannot be loaded; then what served goes on.
    pub(super) async fn load_model(&self, name: &str, trust: Trust) -> Result<()> {
        let asked = ModelRef::new(name);
        // Before the slot is made, so that only names of the folder get one.
        if self.known(name).is_none() && self.look_up(name).await?.is_none() {
            return Err(not_found(&asked));
        }
        let slot = self.slot_for(name);
        let _changing = slot.change().await;
        // Read after waiting: the load that we waited for may have seen an older folder.
        let Some(found) = self.look_up(name).await? else {
            self.vanished(&slot);
            return Err(not_found(&asked));
        };
        let was = slot.snapshot();
        let kept: BTreeMap<u64, Arc<LoadedVersion>> = was
            .ready()
            .filter_map(|served| Some((served.number.parse().ok()?, Arc::clone(&served.version))))
            .filter(|(_, version): &(u64, _)| trust == Trust::AsItLooks || version.settled)
            .collect();
        let maker = Maker {
            engines: self.engines.clone(),
            options: self.options.clone(),
            model: excerpt(name),
            answers: slot.answers().clone(),
            kept,
        };
        let begun = Instant::now();
        let made = tokio::task::spawn_blocking(move || maker.attempt(found));
        let (found, attempt) = made.await.map_err(Error::handler_failed)?;
        let settled = self.settle(&slot, &was, &found, attempt);
        self.loads.add(name, begun.elapsed(), settled.is_ok());
        settled
    }

    /// Swaps in what a load has made, unless something serves and the load failed.
    fn settle(
        &self,
        slot: &ModelSlot,
        was: &Snapshot,
        found: &FoundModel,
        attempt: Attempt,
    ) -> Result<()> {
        let failures: Vec<String> = attempt
            .iter()
            .filter_map(|(number, loaded)| {
                Some(format!("version {number}: {}", loaded.as_ref().err()?))
            })
            .collect();
        let fault = found.fault.clone();
        let failure = match (failures.is_empty(), fault) {
            (true, None) => None,
            (true, Some(fault)) => Some(fault),
            (false, _) => Some(failures.join("; ")),
        };
        let serves = was.phase == Phase::Loaded && was.ready().next().is_some();
        if failure.is_none() || !serves {
            if let Some(version) = attempt.values().flatten().next_back() {
                slot.schedule().limit(self.limits(version));
            }
            slot.swap(snapshot(slot, found, attempt));
        }
        match failure {
            None => Ok(()),
            Some(reason) => Err(Error::does_not_fit(format!(
                "model '{}' could not be loaded: {reason}",
                excerpt(slot.name())
            ))),
        }
    }

    /// How requests of a model run and wait, by its newest version.
    fn limits(&self, version: &LoadedVersion) -> Limits {
        let runnable = &version.runnable;
        let wish = match runnable.gathers {
            Some(_) => None,
            None => runnable.model.would_run(),
        };
        let sessions = runnable.model.side_by_side();
        self.options.limits(&version.settings, sessions, wish)
    }

    async fn look_up(&self, name: &str) -> Result<Option<FoundModel>> {
        let (directory, name) = (self.directory.clone(), name.to_owned());
        let found = tokio::task::spawn_blocking(move || directory.find(&name)).await;
        found.map_err(Error::handler_failed)?.map_err(|error| {
            Error::unavailable("the model repository cannot be read now").caused_by(error)
        })
    }

    /// A slot that was never filled and whose folder is gone is forgotten.
    fn vanished(&self, slot: &ModelSlot) {
        if slot.snapshot().phase == Phase::Loading {
            slot.swap(Snapshot::of(Phase::Failed("its folder is gone".to_owned())));
        }
    }
}

/// The snapshot that a load leaves.
fn snapshot(slot: &ModelSlot, found: &FoundModel, attempt: Attempt) -> Snapshot {
    if attempt.is_empty() {
        let reason = found.fault.clone();
        return Snapshot::of(Phase::Failed(
            reason.unwrap_or_else(|| "its folder holds no version".to_owned()),
        ));
    }
    let numbers: Vec<String> = attempt
        .iter()
        .filter(|(_, loaded)| loaded.is_ok())
        .map(|(number, _)| number.to_string())
        .collect();
    let version = |(number, loaded): (u64, Result<Arc<LoadedVersion>, LoadError>)| {
        let version = match loaded {
            Ok(version) => Version::Ready(Arc::new(Served {
                number: number.to_string(),
                metadata: Arc::new(ModelMetadata {
                    name: slot.name().to_owned(),
                    versions: numbers.clone(),
                    platform: version.platform.to_owned(),
                    inputs: version.runnable.model.inputs().to_vec(),
                    outputs: version.runnable.model.outputs().to_vec(),
                }),
                version,
                schedule: slot.schedule().clone(),
            })),
            Err(error) => Version::Broken {
                reason: error.to_string(),
            },
        };
        (number, version)
    };
    Snapshot {
        phase: Phase::Loaded,
        versions: attempt.into_iter().map(version).collect(),
    }
}
