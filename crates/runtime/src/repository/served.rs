//! One version as requests meet it: pinned, with its metadata, running off the async threads.

use std::sync::Arc;
use std::time::Instant;

use oip_core::call::Part;
use oip_core::execute::Slots;
use oip_core::{BoxFuture, Call, ResolvedModel};
use oip_protocol::{Error, InferRequest, InferResponse, ModelMetadata, Result};

use crate::directory::Fingerprint;
use crate::engine::run_fenced;
use crate::model::{Laps, Model};
use crate::settings::ModelSettings;

/// A version that is loaded: what survives a reload when its file has not changed.
pub(super) struct LoadedVersion {
    pub(super) model: Arc<dyn Model>,
    pub(super) engine: &'static str,
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
    pub(super) slots: Slots,
}

impl ResolvedModel for Served {
    fn version(&self) -> Option<&str> {
        Some(&self.number)
    }

    fn metadata(&self) -> Option<&ModelMetadata> {
        Some(&self.metadata)
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
            let queued = Instant::now();
            let slot = self.slots.take().await?;
            let model = Arc::clone(&self.version.model);
            let (cancelled, deadline) = (call.cancelled().clone(), call.deadline());
            let ran = tokio::task::spawn_blocking(move || {
                // Given back when the run is over, also when the caller has left meanwhile.
                let _slot = slot;
                let waited = queued.elapsed();
                let late = deadline.is_some_and(|deadline| deadline.into_std() <= Instant::now());
                if late || cancelled.is_cancelled() {
                    return Err(Error::timed_out(
                        "the request was given up before the model ran",
                    ));
                }
                let mut laps = Laps::begin();
                let outputs = run_fenced(&*model, &request.inputs, &mut laps);
                Ok((outputs, waited, laps))
            });
            let (outputs, waited, laps) = ran.await.map_err(Error::handler_failed)??;
            call.timings().add(Part::Queue, waited);
            call.timings().add(Part::ComputeInput, laps.input);
            call.timings().add(Part::ComputeInfer, laps.infer);
            call.timings().add(Part::ComputeOutput, laps.output);
            Ok(InferResponse::new(outputs?))
        })
    }
}
