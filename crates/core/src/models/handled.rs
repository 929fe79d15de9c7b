//! A user's handler as the models of a server, with the names that the server was given.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use oip_protocol::error::excerpt;
use oip_protocol::{
    Error, ErrorKind, InferRequest, InferResponse, ModelMetadata, ModelRef, ModelState,
    RepositoryEntry, Result,
};

use super::bounds::Places;
use super::{Bounds, Models, ResolvedModel};
use crate::call::Part;
use crate::execute::{Slots, fenced};
use crate::telemetry::{Loads, ModelLoads};
use crate::{BoxFuture, Call, ModelHandler};

/// A handler and the names it answers for; without names it answers for every one.
pub struct Handled<H> {
    handler: Arc<H>,
    /// The state of each name that was given, and why it is so.
    names: RwLock<BTreeMap<String, (ModelState, String)>>,
    named: bool,
    loads: Loads,
    places: Places,
    declared: RwLock<Declared<H>>,
}

/// How long what a handler declares is believed.
const BELIEVED: Duration = Duration::from_secs(1);
/// Of how many models it is remembered. Where a handler answers for every name, callers choose
/// the names.
const MOST_DECLARED: usize = 64;

/// What the handler declares of the models that were asked last, so that it is not asked anew by
/// every inference.
struct Declared<H> {
    models: HashMap<ModelRef, (Instant, Arc<HandledModel<H>>), foldhash::fast::RandomState>,
    /// Counts loads, unloads and changes of state: what was declared before one is not believed
    /// after it.
    generation: u64,
}

impl<H: ModelHandler> Handled<H> {
    /// A handler that answers for these names, or for every name when there are none.
    pub fn new<N: Into<String>>(handler: H, names: impl IntoIterator<Item = N>) -> Self {
        let unknown = || (ModelState::Unknown, "not loaded yet".to_owned());
        let names: BTreeMap<_, _> = names
            .into_iter()
            .map(|name| (name.into(), unknown()))
            .collect();
        Self {
            handler: Arc::new(handler),
            named: !names.is_empty(),
            loads: Loads::default(),
            places: Places::default(),
            names: RwLock::new(names),
            declared: RwLock::new(Declared {
                models: HashMap::default(),
                generation: 0,
            }),
        }
    }

    /// What each model may take.
    #[must_use]
    pub fn with_bounds(self, bounds: Bounds) -> Self {
        Self {
            places: Places::new(bounds),
            ..self
        }
    }

    fn state(&self, name: &str) -> Option<(ModelState, String)> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.get(name).cloned()
    }

    fn set(&self, name: &str, state: ModelState, reason: impl Into<String>) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        // A handler without names remembers only the loads that callers asked it for, and
        // forgets what was unloaded, so that callers cannot make it grow.
        if self.named || state == ModelState::Ready {
            names.insert(name.to_owned(), (state, reason.into()));
        } else {
            names.remove(name);
        }
        drop(names);
        // What is remembered is answered for without a look at its state.
        self.forget();
    }

    /// The models that are loaded; `None` where one is not that should be.
    fn loaded(&self) -> Option<Vec<ModelRef>> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let mut loaded = Vec::with_capacity(names.len());
        for (name, (state, reason)) in &*names {
            match state {
                ModelState::Ready => loaded.push(ModelRef::new(name)),
                ModelState::Unavailable if reason == UNLOADED => {}
                _ => return None,
            }
        }
        Some(loaded)
    }

    /// Whether a name can be asked for.
    fn check(&self, model: &ModelRef) -> Result<()> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        match names.get(&model.name) {
            Some((ModelState::Ready, _)) => Ok(()),
            Some((ModelState::Unavailable, reason)) if reason == UNLOADED => Err(unknown(model)),
            Some((_, reason)) => Err(Error::unavailable(format!(
                "{model} is not ready: {reason}"
            ))),
            None if self.named => Err(unknown(model)),
            None => Ok(()),
        }
    }

    /// The model as it was declared a moment ago, or the generation to declare it in.
    fn known(
        &self,
        model: &ModelRef,
        now: Instant,
    ) -> std::result::Result<Arc<HandledModel<H>>, u64> {
        let declared = self.declared.read().unwrap_or_else(PoisonError::into_inner);
        match declared.models.get(model) {
            Some((since, known)) if now.saturating_duration_since(*since) < BELIEVED => {
                Ok(Arc::clone(known))
            }
            _ => Err(declared.generation),
        }
    }

    fn remember(&self, generation: u64, model: &ModelRef, known: &Arc<HandledModel<H>>) {
        let declared = self.declared.write();
        let mut declared = declared.unwrap_or_else(PoisonError::into_inner);
        if declared.generation != generation {
            return;
        }
        if declared.models.len() >= MOST_DECLARED {
            declared.models.clear();
        }
        let kept = (now(), Arc::clone(known));
        declared.models.insert(model.clone(), kept);
    }

    fn forget(&self) {
        let declared = self.declared.write();
        let mut declared = declared.unwrap_or_else(PoisonError::into_inner);
        declared.generation += 1;
        declared.models.clear();
    }

    async fn load_named(&self, name: &str, at_start: bool) -> Result<()> {
        let begun = Instant::now();
        // A panic is the failure of this model alone: others are still to be loaded.
        let loaded = fenced(self.handler.model_load(&ModelRef::new(name))).await;
        // A handler that loads nothing has no loads to count.
        if !matches!(&loaded, Err(error) if error.kind() == ErrorKind::NotImplemented) {
            self.loads.add(name, begun.elapsed(), loaded.is_ok());
        }
        match loaded {
            // A handler that loads nothing is ready as it is.
            Err(error) if at_start && error.kind() == ErrorKind::NotImplemented => Ok(()),
            other => other,
        }
    }
}

/// The time by the clock that the pipeline reads, too: that of tests can stand still and leap.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

const UNLOADED: &str = "unloaded";

fn unknown(model: &ModelRef) -> Error {
    Error::not_found(format!("{model} is not found"))
}

impl<H: ModelHandler> Models for Handled<H> {
    fn start(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let names: Vec<String> = {
                let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
                names.keys().cloned().collect()
            };
            for name in names {
                self.set(&name, ModelState::Loading, "loading");
                match self.load_named(&name, true).await {
                    Ok(()) => self.set(&name, ModelState::Ready, ""),
                    Err(error) => {
                        let name = name.as_str();
                        tracing::error!(model = name, error = ?error, "load failed");
                        self.set(name, ModelState::Unavailable, error.message());
                    }
                }
            }
        })
    }

    fn all_ready(&self) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let Some(loaded) = self.loaded() else {
                return false;
            };
            // Side by side: whoever asks does not wait for long.
            let asked = loaded.into_iter().map(|model| async move {
                let ready = fenced(self.handler.model_ready(&model)).await;
                ready.unwrap_or(false)
            });
            let asked: FuturesUnordered<_> = asked.collect();
            asked.all(std::future::ready).await
        })
    }

    fn resolve<'a>(&'a self, model: &'a ModelRef) -> BoxFuture<'a, Result<Arc<dyn ResolvedModel>>> {
        Box::pin(async move {
            let generation = match self.known(model, now()) {
                Ok(known) => return Ok(known as Arc<dyn ResolvedModel>),
                Err(generation) => generation,
            };
            // After the generation is known: a state that changes behind this look has another one.
            self.check(model)?;
            let metadata = match self.handler.checks_metadata_of(model) {
                false => None,
                true => match self.handler.model_metadata(model).await {
                    Ok(metadata) => Some(metadata),
                    Err(error) if error.kind() == ErrorKind::NotImplemented => None,
                    Err(error) => return Err(error),
                },
            };
            let handler = Arc::clone(&self.handler);
            let version = version(model, metadata.as_ref());
            let declares = |metadata: &ModelMetadata| metadata.versions.contains(&version);
            let chosen = model.version.is_some() && !metadata.as_ref().is_some_and(declares);
            let resolved = Arc::new(HandledModel {
                handler,
                version,
                metadata,
                slots: self.places.of(&model.name),
                listed: self.named && !chosen,
            });
            self.remember(generation, model, &resolved);
            Ok(resolved as Arc<dyn ResolvedModel>)
        })
    }

    fn resolve_at_once(
        &self,
        model: &ModelRef,
        now: Instant,
    ) -> Option<Result<Arc<dyn ResolvedModel>>> {
        match self.known(model, now) {
            Ok(known) => Some(Ok(known)),
            Err(_) => self.check(model).err().map(Err),
        }
    }

    fn metadata<'a>(&'a self, model: &'a ModelRef) -> BoxFuture<'a, Result<ModelMetadata>> {
        Box::pin(async move {
            self.check(model)?;
            let mut metadata = self.handler.model_metadata(model).await?;
            if metadata.name.is_empty() {
                metadata.name.clone_from(&model.name);
            }
            Ok(metadata)
        })
    }

    fn ready<'a>(&'a self, model: &'a ModelRef) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            match self.check(model) {
                Ok(()) => self.handler.model_ready(model).await,
                Err(error) if error.kind() == ErrorKind::Unavailable => Ok(false),
                Err(error) => Err(error),
            }
        })
    }

    fn load<'a>(&'a self, model: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let before = self.state(model);
            if self.named && before.is_none() {
                return Err(unknown(&ModelRef::new(model)));
            }
            let loaded = self.load_named(model, false).await;
            self.forget();
            match loaded {
                Ok(()) => {
                    self.set(model, ModelState::Ready, "");
                    Ok(())
                }
                Err(error) => {
                    // What was ready goes on; what was not now has a newer reason.
                    if !matches!(before, Some((ModelState::Ready, _)))
                        && error.kind() != ErrorKind::NotImplemented
                    {
                        self.set(model, ModelState::Unavailable, error.message());
                    }
                    Err(error)
                }
            }
        })
    }

    fn unload<'a>(&'a self, model: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if self.named && self.state(model).is_none() {
                return Err(unknown(&ModelRef::new(model)));
            }
            let unloaded = fenced(self.handler.model_unload(&ModelRef::new(model))).await;
            self.forget();
            unloaded?;
            self.set(model, ModelState::Unavailable, UNLOADED);
            Ok(())
        })
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let ready: Vec<String> = {
                let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
                let ready = names
                    .iter()
                    .filter(|(_, (state, _))| *state == ModelState::Ready);
                ready.map(|(name, _)| name.clone()).collect()
            };
            for name in ready {
                let unloaded = fenced(self.handler.model_unload(&ModelRef::new(&*name))).await;
                match unloaded {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::NotImplemented => {}
                    Err(error) => tracing::warn!(model = name, ?error, "unload failed"),
                }
            }
        })
    }

    fn index(&self) -> BoxFuture<'_, Result<Vec<RepositoryEntry>>> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let entry = |(name, (state, reason)): (&String, &(ModelState, String))| RepositoryEntry {
            name: excerpt(name),
            version: String::new(),
            state: *state,
            reason: reason.clone(),
        };
        let entries = names.iter().map(entry).collect();
        Box::pin(async move { Ok(entries) })
    }

    fn loads(&self) -> Vec<ModelLoads> {
        self.loads.read()
    }
}

/// The version that answers: the one that was asked for, else the highest that the handler
/// declares, else 1, so that every answer names one.
fn version(model: &ModelRef, metadata: Option<&ModelMetadata>) -> String {
    let asked = model.version.clone();
    let highest = || {
        let versions = metadata?.versions.iter();
        versions
            .max_by_key(|version| version.parse().unwrap_or(0_u64))
            .cloned()
    };
    asked.or_else(highest).unwrap_or_else(|| "1".to_owned())
}

/// One model of a handler, as one request sees it.
struct HandledModel<H> {
    handler: Arc<H>,
    version: String,
    metadata: Option<ModelMetadata>,
    slots: Slots,
    /// Whether its name was given and its version is one that it declares.
    listed: bool,
}

impl<H: ModelHandler> ResolvedModel for HandledModel<H> {
    fn version(&self) -> Option<&str> {
        Some(&self.version)
    }

    fn metadata(&self) -> Option<&ModelMetadata> {
        self.metadata.as_ref()
    }

    fn infer<'a>(
        &'a self,
        request: InferRequest,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<InferResponse>> {
        Box::pin(async move {
            let mut begun = Instant::now();
            let slot = self.slots.take().await?;
            if slot.has_waited() {
                call.timings().add(Part::Queue, begun.elapsed());
                begun = Instant::now();
            }
            call.takes(slot);
            let noted = call.timings().get(Part::ComputeInfer);
            let response = self.handler.infer(request, call).await;
            // A handler that notes the parts itself would have its run counted twice.
            if call.timings().get(Part::ComputeInfer) == noted {
                call.timings().add(Part::ComputeInfer, begun.elapsed());
            }
            response
        })
    }

    fn refuse_unread(&self, _: Option<tokio::time::Instant>) -> Result<()> {
        self.slots.refuse_full()
    }

    fn is_listed(&self) -> bool {
        self.listed
    }
}

#[cfg(test)]
mod tests;
