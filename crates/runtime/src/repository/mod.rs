//! A folder of models as [`oip_core::Models`]: loading, swapping, unloading, and what is said of
//! them. Which folder holds what is [`crate::directory`]'s; how a model runs is its engine's.

mod config;
mod load;
mod make;
mod options;
mod overview;
mod poll;
mod served;
mod slot;
mod state;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Instant;

use oip_core::telemetry::{Loads, ModelLoads, Queued};
use oip_core::{BoxFuture, Models, ResolvedModel};
use oip_protocol::{
    Error, ModelConfig, ModelMetadata, ModelRef, ModelState, RepositoryEntry, Result,
};

pub use options::{ModelControl, OpenError, RepositoryOptions};
pub use overview::{ModelOverview, VersionOverview};

use crate::directory::{Directory, FoundModel};
use crate::engine::{self, Engines};
use crate::schedule::Threads;
use slot::ModelSlot;

/// A folder of models.
pub struct Repository {
    options: RepositoryOptions,
    directory: Directory,
    engines: Engines,
    /// Every model that was ever found here and has not vanished. Names come from the folder's
    /// listing only, so callers cannot make it grow.
    slots: RwLock<BTreeMap<String, Arc<ModelSlot>>>,
    /// Where models run, all of them.
    threads: Arc<Threads>,
    loads: Loads,
    /// This very repository, for the task that watches the folder.
    this: Weak<Self>,
}

impl Repository {
    /// Reads which models the folder holds and chooses the engine; loads nothing yet (that is
    /// [`Models::start`]).
    ///
    /// # Errors
    /// A sentence that names what is missing: the folder, or the library that was asked for.
    pub fn open(options: RepositoryOptions) -> Result<Arc<Self>, OpenError> {
        let programs = options.programs.iter().map(|programs| programs.file);
        let directory = Directory::new(&options.directory, options.single_model.clone())
            .with_programs(programs);
        let root = || options.directory.clone();
        match std::fs::metadata(&options.directory) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(OpenError::NotAFolder { path: root() }),
            Err(error) => return Err(OpenError::unreadable(root(), &error)),
        }
        let found = directory
            .read()
            .map_err(|error| OpenError::unreadable(root(), &error))?;
        let engines = engine::choose(&options.onnxruntime)?;
        let engines = engines.with_programs(options.programs.clone());
        Ok(Self::with_engines(options, directory, engines, &found))
    }

    fn with_engines(
        options: RepositoryOptions,
        directory: Directory,
        engines: Engines,
        found: &[FoundModel],
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| {
            let repository = Self {
                options,
                directory,
                engines,
                slots: RwLock::default(),
                threads: Arc::default(),
                loads: Loads::default(),
                this: Weak::clone(this),
            };
            for model in found {
                repository.slot_for(&model.name);
            }
            repository
        })
    }

    /// The name of the engine that serves models that ask for none, such as `onnxruntime` or `tract`.
    #[must_use]
    pub fn engine(&self) -> &'static str {
        self.engines.preferred().name()
    }

    /// The slot of a model that the folder has.
    fn slot_for(&self, name: &str) -> Arc<ModelSlot> {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(ModelSlot::new(name, &self.options, &self.threads));
        Arc::clone(slots.entry(name.to_owned()).or_insert_with(new))
    }

    fn known(&self, name: &str) -> Option<Arc<ModelSlot>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(name).cloned()
    }

    /// Every slot, by name.
    fn all(&self) -> Vec<Arc<ModelSlot>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.values().cloned().collect()
    }

    /// Unloads a model whose folder is gone, and drops its name.
    async fn forget(&self, name: &str) {
        if let Some(slot) = self.known(name) {
            slot.unload().await;
        }
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots.remove(name);
    }

    fn find(&self, model: &ModelRef) -> Result<Arc<ModelSlot>> {
        self.known(&model.name).ok_or_else(|| not_found(model))
    }

    /// What answers for this model now.
    fn pick(&self, model: &ModelRef) -> Result<Arc<dyn ResolvedModel>> {
        let served = self.find(model)?.snapshot().pick(model)?;
        Ok(served)
    }

    fn controlled(&self) -> Result<()> {
        match self.options.control {
            ModelControl::None => Err(Error::unavailable(
                "models are not loaded or unloaded by callers on this server (model control is 'none')",
            )),
            ModelControl::Explicit | ModelControl::Poll => Ok(()),
        }
    }
}

fn not_found(model: &ModelRef) -> Error {
    Error::not_found(format!("{model} is not found"))
}

impl Models for Repository {
    fn start(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let names: Vec<String> = self.all().iter().map(|slot| slot.name().into()).collect();
            let polls = self.options.control == ModelControl::Poll;
            let seen = match polls {
                true => poll::look(&self.this).await,
                false => None,
            };
            self.load_all(names).await;
            if polls {
                poll::watch(Weak::clone(&self.this), self.options.poll_interval, seen);
            }
        })
    }

    fn all_ready(&self) -> BoxFuture<'_, bool> {
        let ready = self.all().iter().all(|slot| slot.snapshot().is_well());
        Box::pin(std::future::ready(ready))
    }

    fn resolve<'a>(&'a self, model: &'a ModelRef) -> BoxFuture<'a, Result<Arc<dyn ResolvedModel>>> {
        Box::pin(std::future::ready(self.pick(model)))
    }

    fn resolve_at_once(
        &self,
        model: &ModelRef,
        _now: Instant,
    ) -> Option<Result<Arc<dyn ResolvedModel>>> {
        Some(self.pick(model))
    }

    fn metadata<'a>(&'a self, model: &'a ModelRef) -> BoxFuture<'a, Result<ModelMetadata>> {
        let metadata = self
            .find(model)
            .and_then(|slot| Ok((*slot.snapshot().pick(model)?.metadata).clone()));
        Box::pin(std::future::ready(metadata))
    }

    fn ready<'a>(&'a self, model: &'a ModelRef) -> BoxFuture<'a, Result<bool>> {
        let ready = self
            .find(model)
            .and_then(|slot| match slot.snapshot().pick(model) {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == oip_protocol::ErrorKind::Unavailable => Ok(false),
                Err(error) => Err(error),
            });
        Box::pin(std::future::ready(ready))
    }

    fn load<'a>(&'a self, model: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.controlled()?;
            self.load_model(model, load::Trust::SettledOnly).await
        })
    }

    fn unload<'a>(&'a self, model: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.controlled()?;
            self.find(&ModelRef::new(model))?.unload().await;
            Ok(())
        })
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            for slot in self.all() {
                slot.unload().await;
            }
            self.threads.end();
        })
    }

    fn index(&self) -> BoxFuture<'_, Result<Vec<RepositoryEntry>>> {
        let entries = self.all().iter().flat_map(|slot| slot.index()).collect();
        Box::pin(std::future::ready(Ok(entries)))
    }

    fn config<'a>(&'a self, model: &'a ModelRef) -> BoxFuture<'a, Result<ModelConfig>> {
        let config = self.find(model).and_then(|slot| {
            let served = slot.snapshot().pick(model)?;
            Ok(config::of(&served, &self.options))
        });
        Box::pin(std::future::ready(config))
    }

    fn queued(&self) -> Vec<Queued> {
        let of_slot = |slot: &Arc<ModelSlot>| slot.schedule().queued(slot.name());
        self.all().iter().map(of_slot).collect()
    }

    fn loads(&self) -> Vec<ModelLoads> {
        self.loads.read()
    }

    fn has_configs(&self) -> bool {
        true
    }
}

/// The state of a model as a whole: it is as ready as its best version.
fn best(states: impl Iterator<Item = ModelState>) -> ModelState {
    let mut best = ModelState::Unavailable;
    for state in states {
        if state == ModelState::Ready {
            return state;
        }
        best = state;
    }
    best
}

#[cfg(all(test, feature = "tract"))]
mod tests;
