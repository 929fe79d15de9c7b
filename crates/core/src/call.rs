//! What a handler may know of a request besides its tensors.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use oip_protocol::ModelRef;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Caller;
use crate::execute::Slot;

/// The circumstances of one inference.
#[derive(Debug)]
pub struct Call {
    model: ModelRef,
    caller: Caller,
    deadline: Option<Instant>,
    /// Made for the first who asks for it: most handlers never do.
    cancelled: OnceLock<CancellationToken>,
    timings: Timings,
    place: Mutex<Place>,
}

/// A call's place with its model.
#[derive(Debug, Default)]
enum Place {
    /// It has none yet.
    #[default]
    None,
    /// Nobody else has asked for it, as most handlers never do.
    Own(Slot),
    Shared(Arc<Slot>),
}

impl Call {
    pub(crate) fn new(model: ModelRef, caller: Caller, deadline: Option<Instant>) -> Self {
        Self {
            model,
            caller,
            deadline,
            cancelled: OnceLock::new(),
            timings: Timings::default(),
            place: Mutex::default(),
        }
    }

    /// The model that is asked, with the version where the caller named one.
    #[must_use]
    pub fn model(&self) -> &ModelRef {
        &self.model
    }

    /// Who is asking, from where, and with which of the headers that handlers may see.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// When the answer is no longer wanted; `None` when there is no such moment.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Is cancelled when the caller has left or the deadline has passed. The future of the
    /// handler is dropped then by itself; work that runs elsewhere (a thread, a process) should
    /// look here.
    #[must_use]
    pub fn cancelled(&self) -> &CancellationToken {
        self.cancelled.get_or_init(CancellationToken::new)
    }

    /// Tells whoever still works for it to stop.
    pub(crate) fn end(&self) {
        if let Some(cancelled) = self.cancelled.get() {
            cancelled.cancel();
        }
    }

    /// The place that it takes with its model. Work that goes on elsewhere (on a thread) when the
    /// call has ended should hold this until it is done: then a model whose work hangs finds no
    /// more places, and takes no more threads.
    #[must_use]
    pub fn place(&self) -> Option<Arc<Slot>> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = match std::mem::take(&mut *place) {
            Place::None => return None,
            Place::Own(slot) => Arc::new(slot),
            Place::Shared(slot) => slot,
        };
        *place = Place::Shared(Arc::clone(&slot));
        Some(slot)
    }

    /// It has this place from now on.
    pub(crate) fn takes(&self, slot: Slot) {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        // There is one already only where a call is made twice.
        if matches!(*place, Place::None) {
            *place = Place::Own(slot);
        }
    }

    /// Where to write down how long the parts of the work took. Optional.
    #[must_use]
    pub fn timings(&self) -> &Timings {
        &self.timings
    }
}

/// How long the parts of an inference took, written by whoever does them and read once at the
/// end. Nanoseconds.
#[derive(Debug, Default)]
pub struct Timings {
    queue: AtomicU64,
    input: AtomicU64,
    infer: AtomicU64,
    output: AtomicU64,
    /// The size of the batch that the request ran in; 0 when it ran alone.
    batch: AtomicU64,
    /// Whether the run is counted by another request of its batch.
    follows: AtomicBool,
    /// 0: no cache was asked; 1: it did not have the answer; 2: it had.
    cache: AtomicU8,
}

/// The parts of an inference, as the statistics extension names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Waiting for a slot.
    Queue,
    /// Making the engine's inputs.
    ComputeInput,
    /// Running the model.
    ComputeInfer,
    /// Taking the engine's outputs.
    ComputeOutput,
}

impl Timings {
    fn part(&self, part: Part) -> &AtomicU64 {
        match part {
            Part::Queue => &self.queue,
            Part::ComputeInput => &self.input,
            Part::ComputeInfer => &self.infer,
            Part::ComputeOutput => &self.output,
        }
    }

    /// Adds to the time that a part took.
    pub fn add(&self, part: Part, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.part(part).fetch_add(ns, Relaxed);
    }

    /// The request ran in a batch of this size, its own rows included. Of the requests of one
    /// run `leads` is said of one, so that the run is counted once.
    pub fn set_batch(&self, size: u64, leads: bool) {
        self.batch.store(size, Relaxed);
        self.follows.store(!leads, Relaxed);
    }

    /// The size of the batch that the request ran in; `None` when it ran alone.
    #[must_use]
    pub fn batch(&self) -> Option<u64> {
        match self.batch.load(Relaxed) {
            0 => None,
            size => Some(size),
        }
    }

    /// Whether the run is counted by this request.
    #[must_use]
    pub fn leads(&self) -> bool {
        !self.follows.load(Relaxed)
    }

    /// A response cache was asked, and had the answer or had not.
    pub fn set_cached(&self, hit: bool) {
        self.cache.store(1 + u8::from(hit), Relaxed);
    }

    /// Whether a response cache had the answer; `None` when none was asked.
    #[must_use]
    pub fn cached(&self) -> Option<bool> {
        match self.cache.load(Relaxed) {
            0 => None,
            found => Some(found == 2),
        }
    }

    /// The time that a part took so far, in nanoseconds.
    pub fn get(&self, part: Part) -> u64 {
        self.part(part).load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::Slots;
    use crate::{Access, Arrival};

    #[tokio::test]
    async fn a_place_is_held_until_the_call_and_all_who_asked_for_it_are_done() {
        let caller = Access::open().authenticate(Arrival::default()).await;
        let caller = caller.unwrap();
        let slots = Slots::new("model 'm'", 1, 0);
        for asked in 0..3 {
            let call = Call::new(ModelRef::new("m"), caller.clone(), None);
            assert!(call.place().is_none());
            call.takes(slots.take().await.unwrap());
            let mut held: Vec<_> = (0..asked).map(|_| call.place().unwrap()).collect();
            drop(call);
            while held.pop().is_some() {
                assert_eq!(slots.is_in_use(), !held.is_empty(), "asked {asked} times");
            }
            assert!(!slots.is_in_use());
        }
    }
}
