//! Answers kept for requests that are the same: bounded in bytes for each model, for a time, and
//! looked up by content. What is the same is told by comparing the tensors themselves, never by a hash alone,
//! so no request can be made that gets another's answer.

mod store;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oip_core::execute::blocking;
use oip_protocol::{Bytes, InferRequest, Parameters, Result, Tensor};
use tokio::time::Instant;

use crate::settings::CacheSettings;
use store::{Asked, Found, Sender, Store};

/// The answers of all versions of one model, across its reloads: they share one bound.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<Store>>);

/// The answers of one version; with it they go.
pub(crate) struct Cache {
    answers: Answers,
    /// Which version's they are; no two that were ever loaded have the same.
    version: u64,
    max_bytes: usize,
    ttl: Duration,
}

/// What makes two requests the same: the version, the inputs, and the parameters that a model
/// could see.
#[derive(PartialEq)]
pub(crate) struct Question {
    pub(crate) version: u64,
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) parameters: Parameters,
}

/// Whether an answer was kept already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// It was, or another request that ran already brought it.
    Hit,
    /// It was not.
    Miss,
}

impl Answers {
    /// The cache of a version that was loaded just now.
    pub(crate) fn of_version(&self, settings: &CacheSettings) -> Cache {
        static LOADED: AtomicU64 = AtomicU64::new(0);
        let day = Duration::from_secs(86_400);
        let version = LOADED.fetch_add(1, Relaxed);
        self.store().remember(version);
        Cache {
            answers: self.clone(),
            version,
            max_bytes: settings.max_bytes,
            // As long as the model is loaded: a century of days is no time that a server runs.
            ttl: settings.ttl.unwrap_or(day * 36_500),
        }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.answers.store().forget(self.version);
    }
}

impl Cache {
    /// The answer to a request of this priority (0 the highest): kept, brought by another that is
    /// under way, or run. Of requests that are the same one runs at a time; when that one fails, or
    /// its caller leaves, one of those that waited takes its place. One of a higher priority than
    /// that which runs does not wait for it, but runs as well. Whoever leads gets the answer or the
    /// error of a run of its own, so a request that fails costs each caller one run and never all
    /// of them at once.
    ///
    /// # Errors
    /// Those of `run`; nothing is kept then.
    pub(crate) async fn answer<F>(
        &self,
        request: InferRequest,
        level: usize,
        run: impl FnOnce(InferRequest) -> F,
    ) -> (Lookup, Result<Vec<Tensor>>)
    where
        F: Future<Output = Result<Vec<Tensor>>>,
    {
        let question = Arc::new(Question {
            version: self.version,
            inputs: request.inputs.clone(),
            parameters: crate::schedule::telling(request.parameters.clone()),
        });
        let mut flight = loop {
            let found = match self.find(&question, level).await {
                Ok(found) => found,
                Err(error) => return (Lookup::Miss, Err(error)),
            };
            let mut under_way = match found {
                Found::Kept(outputs) => return (Lookup::Hit, Ok(outputs)),
                Found::Lead(flight) => break flight,
                Found::Wait(receiver) => receiver,
            };
            let ended = under_way.wait_for(Option::is_some).await;
            match ended.map(|ended| ended.clone()) {
                Ok(Some(Ended::Answered(outputs))) => return (Lookup::Hit, Ok(outputs)),
                Ok(Some(Ended::Without) | None) | Err(_) => {}
            }
        };
        let outputs = run(request).await;
        if let Ok(outputs) = &outputs {
            flight.ended = Ended::Answered(outputs.clone());
            if bytes(&question.inputs) + bytes(outputs) >= LARGE {
                tokio::spawn(blocking::run(|| drop(flight)));
            }
        }
        (Lookup::Miss, outputs)
    }

    /// What there is of a question. Whoever is to lead and is gone by then leads no longer.
    async fn find(&self, question: &Arc<Question>, level: usize) -> Result<Found<Flight>> {
        let (question, answers) = (Arc::clone(question), self.answers.clone());
        let (ttl, max_bytes) = (self.ttl, self.max_bytes);
        let large = bytes(&question.inputs) >= LARGE;
        let find = move || {
            let asked = Asked {
                hash: store::hash(&question),
                question,
                level,
            };
            match store::find(&answers.0, &asked, Instant::now()) {
                Found::Kept(outputs) => Found::Kept(outputs),
                Found::Wait(receiver) => Found::Wait(receiver),
                Found::Lead(sender) => Found::Lead(Flight {
                    answers,
                    hash: asked.hash,
                    question: asked.question,
                    ttl,
                    max_bytes,
                    sender,
                    ended: Ended::Without,
                }),
            }
        };
        match large {
            true => blocking::run(find).await,
            false => Ok(find()),
        }
    }
}

/// From so many bytes on, tensors are looked through and copied in turn, off the threads that serve
/// connections.
const LARGE: usize = 256 * 1024;

fn bytes(tensors: &[Tensor]) -> usize {
    tensors.iter().map(|tensor| tensor.data().len()).sum()
}

/// How a run that others wait for has ended.
#[derive(Clone)]
enum Ended {
    Answered(Vec<Tensor>),
    /// It failed, or its caller left before.
    Without,
}

/// A run that others wait for.
struct Flight {
    answers: Answers,
    hash: u64,
    question: Arc<Question>,
    ttl: Duration,
    max_bytes: usize,
    sender: Arc<Sender>,
    ended: Ended,
}

impl Drop for Flight {
    fn drop(&mut self) {
        let kept = match &self.ended {
            Ended::Answered(outputs) => self.copy(outputs),
            Ended::Without => None,
        };
        let answered = matches!(self.ended, Ended::Answered(_));
        let mut store = self.answers.store();
        let others = store.land(&self.sender, answered);
        if let Some((question, outputs)) = kept {
            let until = Instant::now() + self.ttl;
            store.keep(self.hash, question, outputs, until, self.max_bytes);
        }
        drop(store);
        for sender in others.iter().chain([&self.sender]) {
            sender.send_replace(Some(self.ended.clone()));
        }
    }
}

impl Flight {
    /// What is kept of a question and its answer; `None` for what is too large to be.
    fn copy(&self, outputs: &[Tensor]) -> Option<(Arc<Question>, Vec<Tensor>)> {
        if store::size(&self.question, outputs) > self.max_bytes {
            return None;
        }
        let question = Question {
            version: self.question.version,
            inputs: owned(&self.question.inputs),
            parameters: self.question.parameters.clone(),
        };
        Some((Arc::new(question), owned(outputs)))
    }
}

/// Tensors with buffers of their own, so that what is kept holds no request's body and no batch.
fn owned(tensors: &[Tensor]) -> Vec<Tensor> {
    let owned = |tensor: &Tensor| {
        let data = Bytes::copy_from_slice(tensor.data());
        let (name, datatype) = (tensor.name(), tensor.datatype());
        // The same elements under the same shape hold together as they did.
        Tensor::new(name, datatype, tensor.shape().clone(), data)
            .map(|copied| copied.with_parameters(tensor.parameters().clone()))
            .unwrap_or_else(|_| tensor.clone())
    };
    tensors.iter().map(owned).collect()
}

#[cfg(test)]
mod tests;
