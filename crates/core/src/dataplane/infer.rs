//! The way of one inference through the rooms.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use oip_protocol::{
    Error, ErrorKind, InferRequest, InferResponse, ModelRef, RequestedOutput, Result,
};

use super::Dataplane;
use crate::access::actions;
use crate::call::Part;
use crate::content::{Asked, ContentCodecs};
use crate::execute::blocking;
use crate::statistics::{self, Ended};
use crate::telemetry::{ModelFigures, Room, Seen, Way};
use crate::validate::{check_request, check_response};
use crate::{Call, Permit, ResolvedModel, execute, select};

impl Dataplane {
    /// Runs a model. `deadline` is the door's; the request's parameter `timeout` (microseconds)
    /// or the server's own limit may come first.
    ///
    /// Dropping the future cancels the work.
    ///
    /// # Errors
    /// By kind, as the table of [`ErrorKind`] says; each message names what does not fit.
    pub async fn infer(
        &self,
        permit: Permit<actions::Infer>,
        request: InferRequest,
        deadline: Option<tokio::time::Instant>,
    ) -> Result<InferResponse> {
        let mut seen = Seen::new(Way::InProcess);
        let result = self.infer_seen(permit, request, deadline, &mut seen).await;
        self.ended(&seen, None, result.as_ref().err().map(Error::kind));
        result
    }

    /// The same for a door, which says in the end what became of it:
    /// [`ended`](Self::ended) or [`cancelled`](Self::cancelled).
    ///
    /// # Errors
    /// As [`infer`](Self::infer).
    // An `async fn` would keep what it is given a second time, all the while.
    #[expect(clippy::manual_async_fn)]
    pub fn infer_seen<'a>(
        &'a self,
        permit: Permit<actions::Infer>,
        request: InferRequest,
        deadline: Option<tokio::time::Instant>,
        seen: &'a mut Seen,
    ) -> impl Future<Output = Result<InferResponse>> + Send + 'a {
        async move {
            let slot = self.slots.take().await;
            let limit = self.request_timeout();
            let now = tokio::time::Instant::now();
            // The clock of tests can stand still and leap; both are read at it.
            let begun = now.into_std();
            let passed = begun.saturating_duration_since(seen.begun());
            let deadline = execute::deadline(deadline, &request.parameters, limit, now, passed);
            let (_slot, deadline) = match (slot, deadline) {
                (Ok(slot), Ok(deadline)) => (slot, deadline),
                (Err(error), _) | (_, Err(error)) => {
                    let model = permit.model();
                    seen.found(model.and_then(|model| self.statistics.of_known(model)));
                    return Err(error);
                }
            };
            let (caller, model) = permit.into_parts();
            let call = Call::new(model.ok_or_else(no_model)?, caller, deadline);
            // Whoever still works for this call when it ends, by an answer or by the caller leaving,
            // is told to stop.
            let _ending = Ending(&call);
            let mut resolved = None;
            let result = {
                // Pinned here: handed on by value it would be moved with all of its size.
                let run = pin!(async {
                    let model = match self.models.resolve_at_once(call.model(), begun) {
                        Some(found) => found?,
                        None => {
                            let asked = Instant::now();
                            let found = execute::fenced(self.models.resolve(call.model())).await;
                            seen.asked(asked, call.timings());
                            found?
                        }
                    };
                    let model = resolved.insert(model);
                    let (name, version) = (&call.model().name, model.version());
                    seen.found(self.statistics.of(name, version, model.is_listed()));
                    self.run(model, request, &call, seen).await
                });
                execute::until_from(Some(now), deadline, run).await
            };
            self.account(resolved.as_deref(), &call, begun, &result, seen);
            result
        }
    }

    /// Counts an inference that was answered, or failed in this way. `model` is what it asked for,
    /// where it failed before [`infer_seen`](Self::infer_seen).
    pub fn ended(&self, seen: &Seen, model: Option<&ModelRef>, failure: Option<ErrorKind>) {
        if let Some(record) = seen.record() {
            return lock(record).ended(seen, failure);
        }
        if let Some(record) = model.and_then(|model| self.statistics.of_known(model)) {
            lock(&record).ended(seen, failure);
        }
    }

    /// Counts an inference whose caller left before there was an answer.
    pub fn cancelled(&self, seen: &Seen) {
        match seen.record() {
            Some(record) => lock(record).cancelled(seen),
            None => self.telemetry.cancel(seen.way()),
        }
    }

    /// One line a room.
    async fn run(
        &self,
        model: &Arc<dyn ResolvedModel>,
        request: InferRequest,
        call: &Call,
        seen: &mut Seen,
    ) -> Result<InferResponse> {
        let entered = seen.enter();
        let checked = check_request(model.metadata(), request);
        seen.leave(Room::Validate, entered);
        let request = checked?;
        let wanted = self.codecs.asked(&request)?;
        let asked = without_tensors(&request);
        let request = match self.codecs.decoding_takes_long(&request) {
            true => Box::pin(self.decode_elsewhere(request)).await?,
            false => self.codecs.decode_request(request)?,
        };
        let entered = seen.enter();
        let answered = execute::fenced(model.infer(request, call)).await;
        seen.worked(entered, call.timings());
        let response = answered?;
        check_response(model.metadata(), &asked, &response)?;
        let takes_long = select::takes_long(&asked.outputs, &response)
            || self.codecs.encoding_takes_long(&response, &wanted);
        let mut response = match takes_long {
            true => Box::pin(self.finish_elsewhere(model, response, &asked, wanted)).await?,
            false => finish(&**model, &self.codecs, response, &asked.outputs, &wanted)?,
        };
        address(&mut response, &**model, call.model(), asked.id);
        Ok(response)
    }

    /// Off the async threads, as all that computes for long.
    async fn decode_elsewhere(&self, request: InferRequest) -> Result<InferRequest> {
        let codecs = self.codecs.clone();
        blocking::run(move || codecs.decode_request(request)).await?
    }

    async fn finish_elsewhere(
        &self,
        model: &Arc<dyn ResolvedModel>,
        response: InferResponse,
        asked: &InferRequest,
        wanted: Asked,
    ) -> Result<InferResponse> {
        let (model, codecs) = (Arc::clone(model), self.codecs.clone());
        let outputs = asked.outputs.clone();
        blocking::run(move || finish(&*model, &codecs, response, &outputs, &wanted)).await?
    }

    /// Writes down what became of an inference: once, whatever happened.
    fn account(
        &self,
        model: Option<&dyn ResolvedModel>,
        call: &Call,
        begun: Instant,
        result: &Result<InferResponse>,
        seen: &mut Seen,
    ) {
        // A name that led to no model has no statistics: callers must not make them grow.
        let Some(model) = model else {
            if let Err(error) = result {
                let asked = call.model();
                log(&asked.name, asked.version.as_deref(), error);
            }
            seen.found(self.statistics.of_known(call.model()));
            return;
        };
        let (name, version) = (call.model().name.as_str(), model.version());
        let batch = result
            .as_ref()
            .ok()
            .map(|response| batch_size(model, response));
        let now = Instant::now();
        let took = now.saturating_duration_since(begun);
        seen.answered(now);
        if let Some(record) = seen.record() {
            let ended = Ended {
                now,
                took,
                timings: call.timings(),
                batch,
            };
            statistics::add(&mut lock(record), &ended);
        }
        if let Err(error) = result {
            log(name, version, error);
        }
        log_latency(name, version, call, took, result.is_ok());
    }
}

fn lock(record: &Mutex<ModelFigures>) -> MutexGuard<'_, ModelFigures> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends a call when it is dropped, by whatever way.
struct Ending<'a>(&'a Call);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Name, version and id, where the handler left them empty. The id is always the request's.
fn address(
    response: &mut InferResponse,
    model: &dyn ResolvedModel,
    asked: &ModelRef,
    id: Option<String>,
) {
    if response.model_name.is_empty() {
        response.model_name.clone_from(&asked.name);
    }
    if response.model_version.is_none() {
        response.model_version = model.version().map(str::to_owned);
    }
    response.id = id;
}

/// One line with the parts of the time, for whoever asks for them (`latency_log`).
fn log_latency(
    model: &str,
    version: Option<&str>,
    call: &Call,
    took: std::time::Duration,
    ok: bool,
) {
    let us = |part| call.timings().get(part) / 1000;
    tracing::info!(
        target: "oip::latency",
        model,
        version = version.unwrap_or(""),
        request_id = call.caller().request_id().unwrap_or(""),
        queue_us = us(Part::Queue),
        input_us = us(Part::ComputeInput),
        infer_us = us(Part::ComputeInfer),
        output_us = us(Part::ComputeOutput),
        total_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        ok,
        "inference ended"
    );
}

/// What of a request is still needed when the handler has taken its tensors.
fn without_tensors(request: &InferRequest) -> InferRequest {
    InferRequest {
        id: request.id.clone(),
        outputs: request.outputs.clone(),
        ..InferRequest::default()
    }
}

/// What was asked for of a model's answer, in the form in which it was asked for.
fn finish(
    model: &dyn ResolvedModel,
    codecs: &ContentCodecs,
    mut response: InferResponse,
    outputs: &[RequestedOutput],
    wanted: &Asked,
) -> Result<InferResponse> {
    select::select(model, outputs, &mut response)?;
    codecs.encode_response(response, wanted)
}

/// How many inferences an answer stands for: its first dimension where the model declares that
/// open, else one.
fn batch_size(model: &dyn ResolvedModel, response: &InferResponse) -> u64 {
    let declared = model
        .metadata()
        .and_then(|metadata| metadata.outputs.first());
    let open = declared.is_some_and(|output| output.shape.dims().first() == Some(&-1));
    let first = response.outputs.first();
    match first.and_then(|output| output.shape().dims().first()) {
        Some(batch) if open => (*batch).max(1),
        _ => 1,
    }
}

fn log(name: &str, version: Option<&str>, error: &Error) {
    let kind = error.kind();
    let version = version.unwrap_or("");
    let cause = error.cause().unwrap_or("");
    let message = error.message();
    match kind {
        ErrorKind::HandlerFailed => {
            tracing::error!(model = %name, version, ?kind, cause, "{message}");
        }
        _ => tracing::debug!(model = %name, version, ?kind, cause, "{message}"),
    }
}

fn no_model() -> Error {
    Error::malformed("an inference needs the name of a model")
}
