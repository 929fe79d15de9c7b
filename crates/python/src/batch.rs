//! Handlers with `max_batch_size`: requests that wait at the same time are stacked along their
//! first dimension and answered by one call.
//!
//! A call is due as soon as somebody waits (after `max_batch_delay`, where there is one). It
//! takes whoever waits when it begins: the longer the handler is busy, the larger the batch.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oip::{Bytes, Datatype, Error, InferRequest, InferResponse, ModelRef, Result, Shape, Tensor};
use tokio::sync::oneshot::Sender;

/// What requests must have in common to be stacked: the model, and of each input its name,
/// datatype and all dimensions but the first.
pub(crate) type Key = (ModelRef, Vec<(String, Datatype, Vec<u64>)>);

/// How a handler wants its batches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    /// Most rows in one call.
    pub(crate) most: u64,
    /// How long a request may wait for others.
    pub(crate) delay: Duration,
}

/// One request that waits.
pub(crate) struct Waiting {
    pub(crate) request: InferRequest,
    pub(crate) rows: u64,
    reply: Sender<Result<InferResponse>>,
}

impl Waiting {
    /// Whether nobody waits for the answer any more.
    pub(crate) fn has_left(&self) -> bool {
        self.reply.is_closed()
    }

    /// Waits until nobody waits for the answer any more.
    pub(crate) async fn left(&mut self) {
        self.reply.closed().await;
    }

    pub(crate) fn answer(self, answer: Result<InferResponse>) {
        // Whoever has left does not read it.
        let _ = self.reply.send(answer);
    }
}

/// The requests that wait, by what they have in common.
#[derive(Default)]
pub(crate) struct Batches(Mutex<HashMap<Key, Group>>);

#[derive(Default)]
struct Group {
    waiting: VecDeque<Waiting>,
    /// A call is due that will take them.
    due: bool,
}

/// Why a request cannot be stacked with others: it runs alone.
pub(crate) fn key(model: &ModelRef, request: &InferRequest) -> Option<(Key, u64)> {
    let mut rows = None;
    let mut inputs = Vec::with_capacity(request.inputs.len());
    if !request.parameters.is_empty() || !request.outputs.is_empty() {
        return None;
    }
    for input in &request.inputs {
        let (first, rest) = input.shape().dims().split_first()?;
        let same = *rows.get_or_insert(*first) == *first;
        if !same || *first == 0 || !input.parameters().is_empty() {
            return None;
        }
        inputs.push((input.name().to_owned(), input.datatype(), rest.to_vec()));
    }
    Some(((model.clone(), inputs), rows?))
}

impl Batches {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Group>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a request among those that wait; whether a call must be made for it.
    ///
    /// # Errors
    /// How many wait, where they are `most` already.
    pub(crate) fn wait(
        &self,
        key: Key,
        request: InferRequest,
        rows: u64,
        reply: Sender<Result<InferResponse>>,
        most: usize,
    ) -> std::result::Result<bool, usize> {
        let mut groups = self.lock();
        let group = groups.entry(key).or_default();
        if group.waiting.len() >= most {
            // Nobody is refused for those who have left.
            group.waiting.retain(|one| !one.has_left());
        }
        if group.waiting.len() >= most && group.due {
            return Err(group.waiting.len());
        }
        group.waiting.push_back(Waiting {
            request,
            rows,
            reply,
        });
        Ok(!std::mem::replace(&mut group.due, true))
    }

    /// Whoever waits, up to `most` rows, and whether another call is due for the rest.
    pub(crate) fn take(&self, key: &Key, most: u64) -> (Vec<Waiting>, bool) {
        let mut groups = self.lock();
        let Some(group) = groups.get_mut(key) else {
            return (Vec::new(), false);
        };
        let mut taken = Vec::new();
        let mut rows = 0;
        while let Some(next) = group.waiting.front() {
            // One that has more rows than fit runs alone.
            if !taken.is_empty() && rows + next.rows > most {
                break;
            }
            if let Some(next) = group.waiting.pop_front()
                && !next.has_left()
            {
                rows += next.rows;
                taken.push(next);
            }
        }
        let more = !group.waiting.is_empty();
        if !more {
            groups.remove(key);
        }
        (taken, more)
    }
}

/// One request of all.
pub(crate) fn merge(waiting: &[Waiting]) -> Result<InferRequest> {
    let Some(first) = waiting.first() else {
        return Err(Error::unavailable("nobody waits any more"));
    };
    if waiting.len() == 1 {
        return Ok(first.request.clone());
    }
    let rows: u64 = waiting.iter().map(|one| one.rows).sum();
    let mut inputs = Vec::with_capacity(first.request.inputs.len());
    for (index, input) in first.request.inputs.iter().enumerate() {
        let parts = waiting
            .iter()
            .filter_map(|one| one.request.inputs.get(index));
        let parts: Vec<&[u8]> = parts.map(|tensor| tensor.data().as_ref()).collect();
        let mut dims = input.shape().dims().to_vec();
        if let Some(dim) = dims.first_mut() {
            *dim = rows;
        }
        let data = Bytes::from(parts.concat());
        inputs.push(Tensor::new(
            input.name(),
            input.datatype(),
            Shape::from(dims),
            data,
        )?);
    }
    Ok(InferRequest::new(inputs))
}

/// Everybody's rows of the answer: the first one has as many as `rows` begins with, and so on.
///
/// # Errors
/// A fault of the handler where the answer does not have them.
pub(crate) fn split(response: &InferResponse, rows: &[u64]) -> Result<Vec<InferResponse>> {
    if rows.len() == 1 {
        return Ok(vec![response.clone()]);
    }
    let mut from = 0;
    let mut answers = Vec::with_capacity(rows.len());
    let total: u64 = rows.iter().sum();
    for rows in rows.iter().copied() {
        let outputs = response.outputs.iter();
        let outputs: Result<Vec<Tensor>> = outputs
            .map(|output| rows_of(output, from, rows, total))
            .collect();
        answers.push(InferResponse {
            outputs: outputs?,
            ..response.clone()
        });
        from += rows;
    }
    Ok(answers)
}

/// Some rows of an output, in a buffer of their own: a slice would keep those of all others until
/// the caller of these has read them.
fn rows_of(output: &Tensor, from: u64, rows: u64, total: u64) -> Result<Tensor> {
    let fault = || {
        Error::handler_failed(format!(
            "output '{}' has shape {}, but a batch of {total} rows is due",
            output.name(),
            output.shape()
        ))
    };
    let mut dims = output.shape().dims().to_vec();
    match dims.first_mut() {
        Some(dim) if *dim == total => *dim = rows,
        _ => return Err(fault()),
    }
    let each = output.element_count() / usize::try_from(total).unwrap_or(usize::MAX).max(1);
    let place = |row: u64| {
        usize::try_from(row)
            .unwrap_or(usize::MAX)
            .saturating_mul(each)
    };
    let (start, end) = (place(from), place(from + rows));
    let (start, end) = match output.datatype().size() {
        Some(size) => (start.saturating_mul(size), end.saturating_mul(size)),
        None => {
            let offset = |count: usize| -> Result<usize> {
                let strings = output.byte_strings()?.take(count);
                Ok(strings.map(|string| string.len() + 4).sum())
            };
            (offset(start)?, offset(end)?)
        }
    };
    let own = output.data().get(start..end).ok_or_else(fault)?;
    let tensor = Tensor::new(
        output.name(),
        output.datatype(),
        Shape::from(dims),
        Bytes::copy_from_slice(own),
    )?;
    Ok(tensor.with_parameters(output.parameters().clone()))
}
