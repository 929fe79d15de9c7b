//! Handlers with `max_batch_size`: requests that wait at the same time, answered by one call.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oip::{Error, InferRequest, InferResponse, ModelRef, Result};
use pyo3::prelude::*;
use tokio::sync::oneshot;

use super::calls::stopping;
use super::{PyHandler, ask};
use crate::batch::{self, Batches, Key, Waiting, Wish};
use crate::{errors, messages};

/// What is settled when a call begins.
#[derive(Default)]
struct Taken {
    /// Whether it has begun: until then nobody else makes one for those who wait.
    begun: bool,
    /// Who is in it; nobody where all of them have left.
    waiting: Vec<Waiting>,
    /// Whether others wait for the next one.
    more: bool,
}

/// Whether a handler wants batches: `max_batch_size` rows, `max_batch_delay` seconds.
pub(super) fn wish(object: &Bound<'_, PyAny>) -> PyResult<Option<Wish>> {
    let Some(most) = object.getattr_opt("max_batch_size")? else {
        return Ok(None);
    };
    let most: u64 = most.extract::<Option<u64>>()?.unwrap_or(0);
    let delay: f64 = match object.getattr_opt("max_batch_delay")? {
        Some(delay) => delay.extract::<Option<f64>>()?.unwrap_or(0.0),
        None => 0.0,
    };
    let delay = Duration::try_from_secs_f64(delay).map_err(errors::value)?;
    Ok((most > 1).then_some(Wish { most, delay }))
}

impl PyHandler {
    /// Where a request waits for others, and the rows that it has; `None` where it runs alone.
    pub(super) fn stackable(
        &self,
        model: &ModelRef,
        request: &InferRequest,
    ) -> Option<(&(Wish, Batches), Key, u64)> {
        let batches = self.0.batches.as_ref()?;
        let (key, rows) = batch::key(model, request)?;
        (rows < batches.0.most).then_some((batches, key, rows))
    }

    /// Answers a request together with others.
    pub(super) async fn infer_stacked(
        &self,
        (wish, batches): &(Wish, Batches),
        key: Key,
        rows: u64,
        request: InferRequest,
    ) -> Result<InferResponse> {
        let (reply, answer) = oneshot::channel();
        let most = self.0.most_waiting;
        let due = batches.wait(key.clone(), request, rows, reply, most);
        // As if each that waits had one row.
        let calls = |waiting| waiting / usize::try_from(wish.most).unwrap_or(usize::MAX).max(1);
        let full = |waiting| self.queue_full(waiting, calls(waiting));
        if due.map_err(full)? {
            tokio::spawn(self.clone().run_batches(key, wish.delay));
        }
        let answer = answer.await;
        answer.unwrap_or_else(|_| Err(stopping()))
    }

    /// Answers everybody who waits for the same kind of call.
    async fn run_batches(self, key: Key, delay: Duration) {
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        loop {
            let taken = Arc::<Mutex<Taken>>::default();
            let result = self.run_batch(&key, &taken).await;
            let taken = {
                let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut *taken)
            };
            if let (false, Err(error), Some((_, batches))) = (taken.begun, &result, &self.0.batches)
            {
                // The call never began: the server is stopping, or its queue is full.
                let (left, _) = batches.take(&key, u64::MAX);
                for one in left {
                    one.answer(Err(error.clone()));
                }
                return;
            }
            // Whoever has come since it began may be another task's already.
            self.answer(&key.0, taken.waiting, result).await;
            if !taken.more {
                return;
            }
        }
    }

    /// Gives everybody their rows of the answer. Where a call of several has failed, for whatever
    /// reason, each is asked for alone, so that a bad request gets its own error and the others
    /// their answers.
    async fn answer(&self, model: &ModelRef, waiting: Vec<Waiting>, result: Result<InferResponse>) {
        let answers = match result {
            Ok(response) => parted(response, &waiting).await,
            Err(error) => Err(error),
        };
        match answers {
            Ok(answers) => {
                for (one, answer) in waiting.into_iter().zip(answers) {
                    one.answer(Ok(answer));
                }
            }
            Err(error) if waiting.len() == 1 => {
                for one in waiting {
                    one.answer(Err(error.clone()));
                }
            }
            Err(_) => {
                // Side by side with what waits by now: one that takes long holds up nobody.
                for one in waiting {
                    tokio::spawn(self.clone().answer_alone(model.clone(), one));
                }
            }
        }
    }

    async fn answer_alone(self, model: ModelRef, mut one: Waiting) {
        let declared = self.0.metadata.outputs(&model);
        let ask = ask::infer(&model, one.request.clone(), None, declared);
        tokio::select! {
            biased;
            () = one.left() => {}
            answer = self.call(ask) => one.answer(answer),
        }
    }

    /// One call. Who is in it is settled on the thread that runs it, at the last moment.
    async fn run_batch(&self, key: &Key, taken: &Arc<Mutex<Taken>>) -> Result<InferResponse> {
        let (this, taken, key) = (self.clone(), Arc::clone(taken), key.clone());
        let (model, declared) = (key.0.clone(), self.0.metadata.outputs(&key.0));
        let ask = ask::infer_with(&model, declared, move |py| {
            let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            taken.begun = true;
            if let Some((wish, batches)) = &this.0.batches {
                (taken.waiting, taken.more) = batches.take(&key, wish.most);
            }
            let request =
                batch::merge(&taken.waiting).map_err(|error| errors::exception(py, &error))?;
            drop(taken);
            let payload = messages::request(py, request, None)?;
            let ModelRef { name, version } = key.0;
            (payload, name, version).into_pyobject(py)
        });
        self.call(ask).await
    }
}

/// From so many bytes on an answer is parted off the async threads.
const LARGE: usize = 256 << 10;

/// Everybody's rows of an answer.
async fn parted(response: InferResponse, waiting: &[Waiting]) -> Result<Vec<InferResponse>> {
    let rows: Vec<u64> = waiting.iter().map(|one| one.rows).collect();
    let outputs = response.outputs.iter();
    let bytes: usize = outputs.map(|output| output.data().len()).sum();
    if rows.len() < 2 || bytes < LARGE {
        return batch::split(&response, &rows);
    }
    let parted = tokio::task::spawn_blocking(move || batch::split(&response, &rows));
    parted.await.map_err(Error::handler_failed)?
}
