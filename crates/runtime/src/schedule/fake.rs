//! A model for tests: it doubles INT64 rows, counts its runs, and can be held up.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oip_core::Call;
use oip_protocol::{Datatype, Error, InferRequest, Result, Tensor, TensorMetadata};

use super::job::Runnable;
use crate::model::{Laps, Model, Note};
use crate::settings::Batching;

/// A row that makes the run fail.
pub(crate) const POISON: i64 = -1;
/// A row that makes the engine panic.
pub(crate) const BOMB: i64 = -2;

pub(crate) struct Fake {
    inputs: Vec<TensorMetadata>,
    outputs: Vec<TensorMetadata>,
    /// The first column of each run.
    pub(crate) runs: Mutex<Vec<Vec<i64>>>,
    pub(crate) takes: Duration,
    /// Held by a test to hold up the runs.
    pub(crate) gate: Mutex<()>,
    pub(crate) entered: AtomicUsize,
    /// What it has noted of the requests that ran.
    pub(crate) noted: Mutex<Vec<String>>,
    /// How many runs it makes at once.
    pub(crate) sessions: Option<usize>,
}

impl Fake {
    pub(crate) fn new() -> Arc<Self> {
        Self::taking(Duration::ZERO)
    }

    pub(crate) fn taking(takes: Duration) -> Arc<Self> {
        Arc::new(Self::with(takes, None))
    }

    /// One that makes so many runs at once and no more.
    pub(crate) fn of_sessions(count: usize) -> Arc<Self> {
        Arc::new(Self::with(Duration::ZERO, Some(count)))
    }

    fn with(takes: Duration, sessions: Option<usize>) -> Self {
        Self {
            inputs: vec![TensorMetadata::new("x", Datatype::Int64, [-1, -1])],
            outputs: vec![TensorMetadata::new("y", Datatype::Int64, [-1, -1])],
            runs: Mutex::default(),
            takes,
            gate: Mutex::default(),
            entered: AtomicUsize::new(0),
            noted: Mutex::default(),
            sessions,
        }
    }

    /// How many rows each run had.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.runs.lock().unwrap().iter().map(Vec::len).collect()
    }
}

impl Model for Fake {
    fn inputs(&self) -> &[TensorMetadata] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorMetadata] {
        &self.outputs
    }

    fn note(&self, request: &InferRequest, _: &Call) -> Option<Note> {
        request.id.clone().map(|id| Box::new(id) as Note)
    }

    fn run_noted(&self, inputs: &[Tensor], note: Note, laps: &mut Laps) -> Result<Vec<Tensor>> {
        self.noted.lock().unwrap().push(*note.downcast().unwrap());
        self.run(inputs, laps)
    }

    fn side_by_side(&self) -> Option<usize> {
        self.sessions
    }

    fn run(&self, inputs: &[Tensor], _: &mut Laps) -> Result<Vec<Tensor>> {
        self.entered.fetch_add(1, SeqCst);
        drop(self.gate.lock());
        let x = inputs[0].to_slice::<i64>()?;
        let width = *inputs[0].shape().dims().last().unwrap() as usize;
        let firsts = x.chunks(width.max(1)).map(|row| row[0]).collect();
        self.runs.lock().unwrap().push(firsts);
        std::thread::sleep(self.takes);
        if x.contains(&POISON) {
            return Err(Error::does_not_fit("a row is poisoned"));
        }
        assert!(!x.contains(&BOMB), "a row is a bomb");
        let doubled = x.iter().map(|x| x * 2).collect();
        Ok(vec![Tensor::from_vec(
            "y",
            inputs[0].shape().clone(),
            doubled,
        )?])
    }
}

pub(crate) fn batching(max_batch_size: u64) -> Batching {
    Batching {
        max_batch_size,
        max_queue_delay: Duration::ZERO,
        preferred_batch_sizes: Vec::new(),
        adaptive: true,
        tolerance: 1e-5,
    }
}

pub(crate) fn runnable(model: &Arc<Fake>, gathers: Option<Batching>) -> Arc<Runnable> {
    let model = Arc::clone(model) as Arc<dyn Model>;
    let shared = gathers.is_some();
    Arc::new(Runnable::new(model, gathers, shared))
}

/// Rows of `width` equal numbers.
pub(crate) fn rows(firsts: &[i64], width: usize) -> Tensor {
    let elements = firsts.iter().flat_map(|x| vec![*x; width]).collect();
    Tensor::from_vec("x", [firsts.len() as u64, width as u64], elements).unwrap()
}
