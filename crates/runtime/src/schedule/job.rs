//! One request on its way to an instance.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use oip_core::Call;
use oip_protocol::{Error, InferRequest, ParameterValue, Parameters, Result, Tensor};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::merge::{rows_of, trailing};
use super::pace::{Pace, Paced};
use super::sessions::{Session, Sessions};
use crate::model::{Laps, Model, Note};
use crate::settings::{Batching, MOST_ROWS};

/// What an instance runs: a loaded version, and whether its requests may be gathered.
pub(crate) struct Runnable {
    pub(crate) model: Arc<dyn Model>,
    /// `None` where each request runs alone.
    pub(crate) gathers: Option<Batching>,
    /// Whether `model.toml` has its requests gathered or its answers kept for others. Where a check
    /// then finds that they may not be gathered, it is so all the same: what a model is told of its
    /// callers does not depend on that.
    shared: bool,
    /// `None` where its engine runs as many at once as it is asked to.
    sessions: Option<Sessions>,
    /// How fast its runs have been.
    pub(super) paced: Arc<Paced>,
}

impl Runnable {
    pub(crate) fn new(model: Arc<dyn Model>, gathers: Option<Batching>, shared: bool) -> Self {
        let most = gathers.as_ref().map(|batching| batching.max_batch_size);
        Self {
            paced: Arc::new(Paced::new(most.unwrap_or(u64::MAX))),
            sessions: model.side_by_side().map(Sessions::new),
            model,
            gathers,
            shared,
        }
    }

    /// How fast its runs have been.
    pub(super) fn pace(&self) -> MutexGuard<'_, Pace> {
        self.paced.pace()
    }

    /// Whether its requests are gathered now: what takes microseconds is not worth it.
    pub(super) fn gathers_now(&self) -> bool {
        let batching = self.gathers.as_ref();
        batching.is_some_and(|batching| !batching.adaptive || self.pace().is_worth_gathering())
    }

    /// Waits for a session, where its engine has so many and no more.
    pub(super) fn session(&self) -> Option<Session<'_>> {
        self.sessions.as_ref().map(Sessions::take)
    }

    /// What the model notes of a request, where its answer is for this caller alone.
    pub(super) fn note(&self, request: &InferRequest, call: &Call) -> Option<Note> {
        let alone = !self.shared;
        alone.then(|| self.model.note(request, call)).flatten()
    }
}

/// One request on its way to an instance.
pub(super) struct Job {
    pub(super) id: u64,
    pub(super) runnable: Arc<Runnable>,
    /// In the model's order.
    pub(super) inputs: Vec<Tensor>,
    /// Those parameters that must be alike in a batch.
    pub(super) parameters: Parameters,
    /// What the model has noted of it.
    pub(super) note: Option<Note>,
    /// Its rows; `None` for one that runs alone.
    pub(super) rows: Option<u64>,
    /// Its priority, 0 the highest.
    pub(super) level: usize,
    pub(super) queued: Instant,
    pub(super) deadline: Option<Instant>,
    /// Until when it may wait for others to join it, where it has a deadline.
    pub(super) latest: Option<Instant>,
    pub(super) answer: oneshot::Sender<Result<Ran>>,
}

/// What requests have in common that may share a batch: the version, the parameters, and of each
/// input the name, the datatype, every dimension but the first and its parameters. As bytes,
/// each part behind its length.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Kind(Vec<u8>);

impl Kind {
    fn put_number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn put(&mut self, bytes: &[u8]) {
        self.put_number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// In the order of their names, as the order that they came in says nothing.
    fn put_parameters(&mut self, parameters: &Parameters) {
        self.put_number(parameters.len() as u64);
        let mut sorted: Vec<_> = parameters.iter().collect();
        sorted.sort_unstable_by_key(|(name, _)| *name);
        for (name, value) in sorted {
            self.put(name.as_bytes());
            match value {
                ParameterValue::Bool(value) => self.put(&[b'b', u8::from(*value)]),
                ParameterValue::Int64(value) => self.put(&value.to_le_bytes()),
                ParameterValue::Uint64(value) => {
                    self.put(&[&b"u"[..], &value.to_le_bytes()].concat())
                }
                ParameterValue::Double(value) => {
                    self.put(&[&b"double"[..], &value.to_bits().to_le_bytes()].concat());
                }
                ParameterValue::String(value) => {
                    self.put(&[b"a string:", value.as_bytes()].concat())
                }
            }
        }
    }
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) outputs: Vec<Tensor>,
    /// How long the request waited for the run to begin.
    pub(crate) waited: Duration,
    /// How long the parts of the run took.
    pub(crate) laps: Laps,
    /// The rows of the batch that it ran in; `None` when it ran alone.
    pub(crate) batch: Option<u64>,
    /// Whether it is the one request of its batch that the run is counted by.
    pub(crate) leads: bool,
}

/// What is said with the request and concerns only its way, so that requests that differ in it
/// may share a batch.
const NOT_THE_MODELS: [&str; 8] = [
    "binary_data_output",
    "content_type",
    "priority",
    "sequence_end",
    "sequence_id",
    "sequence_start",
    "timeout",
    "triton_enable_empty_final_response",
];

/// The parameters of a request that a model could see.
pub(crate) fn telling(mut parameters: Parameters) -> Parameters {
    if !parameters.is_empty() {
        for name in NOT_THE_MODELS {
            parameters.remove(name);
        }
    }
    parameters
}

/// The rows of a request that may be gathered; `None` for one that must run alone: empty, too
/// large, or with inputs of different sizes.
pub(super) fn rows(runnable: &Runnable, inputs: &[Tensor]) -> Option<u64> {
    let batching = runnable.gathers.as_ref()?;
    let rows = rows_of(inputs.first()?)?;
    let alike = inputs.iter().all(|input| rows_of(input) == Some(rows));
    (alike && (1..=batching.max_batch_size).contains(&rows)).then_some(rows)
}

/// The inputs in the order that the model declares them.
pub(super) fn in_order(model: &dyn Model, mut inputs: Vec<Tensor>) -> Vec<Tensor> {
    let place = |tensor: &Tensor| {
        let declared = model.inputs().iter();
        let place = declared.enumerate().find(|(_, d)| d.name == tensor.name());
        place.map_or(usize::MAX, |(place, _)| place)
    };
    if inputs.len() > 1 {
        inputs.sort_by_key(place);
    }
    inputs
}

/// What one is told whose deadline is over.
pub(super) fn too_late() -> Error {
    Error::timed_out("the deadline ran out before the model ran")
}

impl Job {
    /// Its rows, as the time of a run grows with them; 1 where the model's requests are not
    /// gathered at all.
    pub(super) fn size(&self) -> u64 {
        let rows = match &self.runnable.gathers {
            None => None,
            Some(_) => self.rows.or_else(|| rows_of(self.inputs.first()?)),
        };
        rows.unwrap_or(1).clamp(1, MOST_ROWS)
    }

    /// Whether it has no element for a model to look at: its run says nothing about others.
    pub(super) fn is_empty(&self) -> bool {
        let mut inputs = self.inputs.iter();
        !self.inputs.is_empty() && inputs.all(|input| input.element_count() == 0)
    }

    /// Until when it waits for others to join it; `None` where it runs alone.
    pub(super) fn waits(&self) -> Option<Instant> {
        self.rows?;
        let delay = self.runnable.gathers.as_ref()?.max_queue_delay;
        let until = self.queued + delay;
        Some(self.latest.map_or(until, |latest| latest.min(until)))
    }

    /// What it shares with those that it may share a batch with; `None` where it runs alone.
    pub(super) fn kind(&self) -> Option<Kind> {
        self.rows?;
        let mut kind = Kind(Vec::with_capacity(64));
        kind.put_number(Arc::as_ptr(&self.runnable).addr() as u64);
        kind.put_parameters(&self.parameters);
        for input in &self.inputs {
            kind.put(input.name().as_bytes());
            kind.put(input.datatype().name().as_bytes());
            let trailing = trailing(input);
            kind.put_number(trailing.len() as u64);
            for dim in trailing {
                kind.put_number(*dim);
            }
            kind.put_parameters(input.parameters());
        }
        Some(kind)
    }

    /// The request, unless nobody waits for it any more; then it is answered here.
    pub(super) fn unless_late(self, now: Instant) -> Option<Self> {
        if self.answer.is_closed() {
            return None;
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            let _ = self.answer.send(Err(too_late()));
            return None;
        }
        Some(self)
    }
}
