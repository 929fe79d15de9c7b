//! Answers kept for requests that are the same: bounded in bytes, for a time, and looked up by
//! content. What is the same is told by comparing the tensors themselves, never by a hash alone,
//! so no request can be made that gets another's answer.

mod store;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oip_protocol::{Bytes, InferRequest, Parameters, Result, Tensor};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::settings::CacheSettings;
use store::{Found, Store};

/// The answers of one model version.
pub(crate) struct Cache {
    store: Mutex<Store>,
}

/// What makes two requests the same: inputs in the model's order, and the parameters that a model
/// could see.
#[derive(PartialEq)]
pub(crate) struct Question {
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

impl Cache {
    pub(crate) fn new(settings: &CacheSettings) -> Self {
        let day = Duration::from_secs(86_400);
        // As long as the model is loaded: a century of days is no time that a server runs.
        let ttl = settings.ttl.unwrap_or(day * 36_500);
        Self {
            store: Mutex::new(Store::new(settings.max_bytes, ttl)),
        }
    }

    /// The answer to a request: kept, brought by another that is under way, or run. Of requests
    /// that are the same one runs at a time; when that one fails, each that waited runs by
    /// itself, and when its caller leaves the next one takes its place.
    ///
    /// # Errors
    /// Those of `run`; nothing is kept then.
    pub(crate) async fn answer<F>(
        &self,
        request: InferRequest,
        run: impl FnOnce(InferRequest) -> F,
    ) -> (Lookup, Result<Vec<Tensor>>)
    where
        F: Future<Output = Result<Vec<Tensor>>>,
    {
        let question = Arc::new(Question {
            inputs: request.inputs.clone(),
            parameters: crate::schedule::telling(request.parameters.clone()),
        });
        let hash = store::hash(&question);
        let mut flight = loop {
            let mut found = match self.store().find(hash, &question, Instant::now()) {
                Found::Kept(outputs) => return (Lookup::Hit, Ok(outputs)),
                Found::Lead(sender) => {
                    break Flight {
                        cache: self,
                        hash,
                        question: &question,
                        sender,
                        ended: Ended::Left,
                    };
                }
                Found::Wait(receiver) => receiver,
            };
            let ended = found.wait_for(Option::is_some).await;
            match ended.map(|ended| ended.clone()) {
                Ok(Some(Ended::Answered(outputs))) => return (Lookup::Hit, Ok(outputs)),
                Ok(Some(Ended::Failed)) => return (Lookup::Miss, run(request).await),
                Ok(Some(Ended::Left) | None) | Err(_) => {}
            }
        };
        let outputs = run(request).await;
        flight.ended = match &outputs {
            Ok(outputs) => Ended::Answered(outputs.clone()),
            Err(_) => Ended::Failed,
        };
        drop(flight);
        (Lookup::Miss, outputs)
    }

    fn store(&self) -> std::sync::MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a run that others wait for has ended.
#[derive(Clone)]
enum Ended {
    Answered(Vec<Tensor>),
    Failed,
    /// Its caller left before.
    Left,
}

/// A run that others wait for.
struct Flight<'a> {
    cache: &'a Cache,
    hash: u64,
    question: &'a Arc<Question>,
    sender: watch::Sender<Option<Ended>>,
    ended: Ended,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let kept = match &self.ended {
            Ended::Answered(outputs) => Some((owned(&self.question.inputs), owned(outputs))),
            Ended::Failed | Ended::Left => None,
        };
        let mut store = self.cache.store();
        store.land(self.hash, self.question);
        if let Some((inputs, outputs)) = kept {
            let question = Question {
                inputs,
                parameters: self.question.parameters.clone(),
            };
            store.keep(self.hash, question, outputs, Instant::now());
        }
        drop(store);
        self.sender.send_replace(Some(self.ended.clone()));
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
