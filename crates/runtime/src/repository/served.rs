//! One version as requests meet it: pinned, with its metadata, running off the async threads.

use std::sync::Arc;

use oip_core::call::Part;
use oip_core::{BoxFuture, Call, ResolvedModel};
use oip_protocol::{InferRequest, InferResponse, ModelMetadata, Result, Tensor};
use tokio::time::Instant;

use crate::cache::{Cache, Lookup};
use crate::directory::Fingerprint;
use crate::schedule::{Runnable, Schedule, priority};
use crate::settings::ModelSettings;

/// A version that is loaded: what survives a reload when its file has not changed.
pub(super) struct LoadedVersion {
    pub(super) runnable: Arc<Runnable>,
    /// Why requests are not gathered though `model.toml` asks for it.
    pub(super) alone_because: Option<String>,
    /// The answers that are kept, where `model.toml` asks for it.
    pub(super) cache: Option<Cache>,
    pub(super) engine: &'static str,
    pub(super) platform: &'static str,
    pub(super) fingerprint: Fingerprint,
    /// Whether a change of the file after it was read would show in the fingerprint.
    pub(super) settled: bool,
    /// What `model.toml` said when it was loaded.
    pub(super) settings: Arc<ModelSettings>,
}

/// A version that is loaded, among the versions that it is served with.
pub(super) struct Served {
    pub(super) number: String,
    pub(super) version: Arc<LoadedVersion>,
    pub(super) metadata: Arc<ModelMetadata>,
    pub(super) schedule: Schedule,
}

impl ResolvedModel for Served {
    fn version(&self) -> Option<&str> {
        Some(&self.number)
    }

    fn metadata(&self) -> Option<&ModelMetadata> {
        Some(&self.metadata)
    }

    fn refuse_unread(&self, deadline: Option<Instant>) -> Result<()> {
        // A kept answer needs no place in the queue and no run, and whether there is one shows in
        // the body alone.
        match self.version.cache {
            Some(_) => Ok(()),
            None => self
                .schedule
                .refuse_unread(&self.version.runnable, deadline),
        }
    }

    fn label(&self, output: &str, class: usize) -> Option<&str> {
        let labels = self.version.settings.labels.get(output)?;
        labels.get(class).map(String::as_str)
    }

    fn infer<'a>(
        &'a self,
        request: InferRequest,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<InferResponse>> {
        Box::pin(async move {
            let outputs = match &self.version.cache {
                None => self.run(request, call).await,
                Some(cache) => {
                    // A kept answer would hide that the request says nonsense.
                    let level = self.schedule.level(priority(&request.parameters)?);
                    let run = |request| self.run(request, call);
                    let (lookup, outputs) = cache.answer(request, level, run).await;
                    call.timings().set_cached(lookup == Lookup::Hit);
                    outputs
                }
            };
            Ok(InferResponse::new(outputs?))
        })
    }
}

impl Served {
    async fn run(&self, request: InferRequest, call: &Call) -> Result<Vec<Tensor>> {
        let ran = self
            .schedule
            .run(&self.version.runnable, request, call)
            .await?;
        let timings = call.timings();
        timings.add(Part::Queue, ran.waited);
        timings.add(Part::ComputeInput, ran.laps.input);
        timings.add(Part::ComputeInfer, ran.laps.infer);
        timings.add(Part::ComputeOutput, ran.laps.output);
        if let Some(batch) = ran.batch {
            timings.set_batch(batch, ran.leads);
        }
        Ok(ran.outputs)
    }
}
