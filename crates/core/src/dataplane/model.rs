//! The calls that concern one model, and the model repository.

use oip_protocol::{
    Error, ErrorKind, ModelConfig, ModelMetadata, ModelRef, ModelState, ModelStatistics,
    RepositoryEntry, Result,
};

use super::{Dataplane, Phase};
use crate::Permit;
use crate::access::actions;
use crate::execute::fenced;
use crate::telemetry::{DecisionFigures, ModelFigures, ModelLoads, Queued};

/// What is counted of models and of decisions on access, at one moment.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Of every model version that is ready or was asked, by name and version.
    pub models: Vec<ModelFigures>,
    /// The state of each model version.
    pub states: Vec<RepositoryEntry>,
    /// What runs and waits, by model; only of models that have a queue of their own.
    pub queues: Vec<Queued>,
    /// How often models were loaded.
    pub loads: Vec<ModelLoads>,
    /// What was decided; `None` where nobody decides, as authentication is off.
    pub decisions: Option<DecisionFigures>,
}

impl Dataplane {
    /// What a model declares.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable`, `TimedOut` beyond the server's own limit, or the handler's own.
    pub async fn model_metadata(&self, permit: Permit<actions::Metadata>) -> Result<ModelMetadata> {
        self.ask(self.models.metadata(&of(permit.model())?)).await
    }

    /// Whether a model can answer now.
    ///
    /// # Errors
    /// `NotFound` for a model that is not here, `TimedOut` beyond the server's own limit.
    pub async fn model_ready(&self, permit: Permit<actions::Ready>) -> Result<bool> {
        let model = of(permit.model())?;
        let ready = self.ask(self.models.ready(&model)).await?;
        Ok(ready && !matches!(self.phase(), Phase::Draining | Phase::Closing))
    }

    /// How a model is served.
    ///
    /// # Errors
    /// As [`model_metadata`](Self::model_metadata); `NotFound` where the extension does not work.
    pub async fn model_config(&self, permit: Permit<actions::Config>) -> Result<ModelConfig> {
        if !self.models.has_configs() {
            return Err(no_extension("model_configuration"));
        }
        self.ask(self.models.config(&of(permit.model())?)).await
    }

    /// The statistics of a model, or of every model that was asked.
    ///
    /// # Errors
    /// `NotFound` for a model that is not here.
    pub async fn statistics(
        &self,
        permit: Permit<actions::Statistics>,
    ) -> Result<Vec<ModelStatistics>> {
        let Some(model) = permit.model() else {
            return Ok(self.with_loaded(self.statistics.read(None)).await);
        };
        self.ask(self.models.ready(model)).await?;
        let found = self.statistics.read(Some(model));
        if !found.is_empty() {
            return Ok(found);
        }
        // A model that was never asked has statistics too: all zero.
        let loaded = self.with_loaded(Vec::new()).await;
        let of_model = |statistics: &ModelStatistics| {
            statistics.name == model.name
                && model
                    .version
                    .as_ref()
                    .is_none_or(|version| *version == statistics.version)
        };
        let mut loaded: Vec<_> = loaded.into_iter().filter(of_model).collect();
        if loaded.is_empty() {
            loaded.push(ModelStatistics {
                name: model.name.clone(),
                version: model.version.clone().unwrap_or_default(),
                ..ModelStatistics::default()
            });
        }
        Ok(loaded)
    }

    /// What the metrics are made of.
    ///
    /// # Errors
    /// None yet.
    pub async fn metrics(&self, _permit: Permit<actions::Metrics>) -> Result<Figures> {
        let states = fenced(self.models.index()).await;
        if let Ok(states) = &states {
            self.statistics.forget_gone(states);
        }
        let states = states.unwrap_or_default();
        let mut models = self.statistics.figures(None);
        for entry in &states {
            let known = models.iter().any(|row| {
                row.statistics.name == entry.name && row.statistics.version == entry.version
            });
            // A model that was never asked has figures too: all zero.
            if entry.state == ModelState::Ready && !known {
                let mut zeros = ModelFigures::default();
                zeros.statistics.name.clone_from(&entry.name);
                zeros.statistics.version.clone_from(&entry.version);
                models.push(zeros);
            }
        }
        models.sort_by(|a, b| {
            let (a, b) = (&a.statistics, &b.statistics);
            (&a.name, &a.version).cmp(&(&b.name, &b.version))
        });
        Ok(Figures {
            models,
            states,
            queues: self.models.queued(),
            loads: self.models.loads(),
            decisions: self.access.decisions(),
        })
    }

    /// Adds a row of zeros for each model that is ready and was never asked.
    async fn with_loaded(&self, mut statistics: Vec<ModelStatistics>) -> Vec<ModelStatistics> {
        for entry in fenced(self.models.index()).await.unwrap_or_default() {
            let known = statistics
                .iter()
                .any(|row| row.name == entry.name && row.version == entry.version);
            if entry.state == ModelState::Ready && !known {
                statistics.push(ModelStatistics {
                    name: entry.name,
                    version: entry.version,
                    ..ModelStatistics::default()
                });
            }
        }
        statistics.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        statistics
    }

    /// Every model version and its state; only those that are ready when `ready` is set.
    ///
    /// # Errors
    /// `NotFound` where the model repository extension does not work.
    pub async fn repository_index(
        &self,
        _permit: Permit<actions::Index>,
        ready: bool,
    ) -> Result<Vec<RepositoryEntry>> {
        self.needs_repository()?;
        let mut entries = fenced(self.models.index()).await?;
        entries.retain(|entry| !ready || entry.state == ModelState::Ready);
        Ok(entries)
    }

    /// The name of the model whose trace settings a caller may read and change; `None` for those
    /// of all models.
    ///
    /// # Errors
    /// `NotFound` for a model that is not here.
    pub async fn traced_model(&self, permit: Permit<actions::Trace>) -> Result<Option<String>> {
        let Some(model) = permit.model() else {
            return Ok(None);
        };
        self.ask(self.models.ready(model)).await?;
        Ok(Some(model.name.clone()))
    }

    /// Loads a model, or loads it again. For as long as that takes: it has no deadline of the
    /// server's.
    ///
    /// # Errors
    /// `NotFound`, `DoesNotFit` for one that cannot be loaded, `Unavailable` where callers do
    /// not control the models.
    pub async fn load(&self, permit: Permit<actions::Load>) -> Result<()> {
        self.needs_repository()?;
        let model = of(permit.model())?;
        let result = fenced(self.models.load(&model.name)).await;
        if let Ok(states) = fenced(self.models.index()).await {
            self.statistics.forget_gone(&states);
        }
        report("load", &model, &result);
        result
    }

    /// Unloads a model; what is in flight finishes first.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn unload(&self, permit: Permit<actions::Unload>) -> Result<()> {
        self.needs_repository()?;
        let model = of(permit.model())?;
        let result = fenced(self.models.unload(&model.name)).await;
        report("unload", &model, &result);
        result
    }

    fn needs_repository(&self) -> Result<()> {
        match self.models.has_repository() {
            true => Ok(()),
            false => Err(no_extension("model_repository")),
        }
    }
}

/// A call of an extension that is not listed: 404 at the REST door, `UNIMPLEMENTED` at the gRPC
/// door, which knows the kind by its own table.
fn no_extension(name: &str) -> Error {
    Error::new(
        ErrorKind::NoSuchExtension,
        format!("the extension '{name}' does not work on this server"),
    )
}

fn of(model: Option<&ModelRef>) -> Result<ModelRef> {
    model
        .cloned()
        .ok_or_else(|| Error::malformed("this needs the name of a model"))
}

fn report(what: &str, model: &ModelRef, result: &Result<()>) {
    match result {
        Ok(()) => tracing::info!(model = %model.name, "{what} done"),
        Err(error) => tracing::warn!(model = %model.name, error = ?error, "{what} refused"),
    }
}
