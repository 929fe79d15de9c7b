//! One inference on its way.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{ModelFigures, Way};
use crate::call::{Part, Timings};

/// The rooms that a request walks, as spans name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Who is asking.
    Authenticate,
    /// Taking in the request's bytes, and making a request of them.
    Decode,
    /// May they.
    Decide,
    /// Does the request fit the model.
    Validate,
    /// Waiting for an instance or a batch.
    Queue,
    /// From the engine's inputs to its outputs.
    Compute,
    /// Writing the answer.
    Encode,
}

impl Room {
    /// Its name, such as `"authenticate"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authenticate => "authenticate",
            Self::Decode => "decode",
            Self::Decide => "decide",
            Self::Validate => "validate",
            Self::Queue => "queue",
            Self::Compute => "compute",
            Self::Encode => "encode",
        }
    }
}

/// The time in one room.
#[derive(Debug, Clone, Copy)]
pub struct Lap {
    /// Which.
    pub room: Room,
    /// When it was entered.
    pub begun: Instant,
    /// How long it took.
    pub took: Duration,
}

/// How long the parts of a run took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Parts {
    /// Waiting for an instance or a batch.
    pub queue: Duration,
    /// Making the engine's inputs.
    pub input: Duration,
    /// The model.
    pub infer: Duration,
    /// Taking the engine's outputs.
    pub output: Duration,
    /// Whether a response cache had the answer, so that nothing ran.
    pub from_cache: bool,
    /// The size of the batch it ran in, where it did not run alone.
    pub batch: Option<u64>,
}

/// What is seen of one inference between its arrival and its answer. Whoever lets it in makes one
/// and hands it to [`Dataplane::infer_seen`](crate::Dataplane::infer_seen) and then to
/// [`Dataplane::ended`](crate::Dataplane::ended). It allocates only where rooms are timed.
#[derive(Debug)]
pub struct Seen {
    way: Way,
    begun: Instant,
    record: Option<Arc<Mutex<ModelFigures>>>,
    laps: Option<Vec<Lap>>,
    parts: Parts,
    /// How long the model was asked what it declares, which is part of the waiting.
    asked: Duration,
    /// When the model had answered.
    answered: Option<Instant>,
    /// When the answer was written.
    written: Option<Instant>,
    received: u64,
    sent: u64,
}

impl Seen {
    /// A request that has just arrived.
    #[must_use]
    pub fn new(way: Way) -> Self {
        Self {
            way,
            begun: tokio::time::Instant::now().into_std(),
            record: None,
            laps: None,
            parts: Parts::default(),
            asked: Duration::ZERO,
            answered: None,
            written: None,
            received: 0,
            sent: 0,
        }
    }

    /// From now on the time in each room is kept, too.
    pub fn time_rooms(&mut self) {
        self.laps.get_or_insert_with(|| Vec::with_capacity(8));
    }

    /// The way the request came in.
    #[must_use]
    pub fn way(&self) -> Way {
        self.way
    }

    /// When it arrived.
    #[must_use]
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// The moment a room is entered; `None` where rooms are not timed.
    #[must_use]
    pub fn enter(&self) -> Option<Instant> {
        self.laps.as_ref().map(|_| Instant::now())
    }

    /// A room that was [entered](Self::enter) is left.
    pub fn leave(&mut self, room: Room, entered: Option<Instant>) {
        if let (Some(begun), Some(laps)) = (entered, &mut self.laps) {
            let took = begun.elapsed();
            laps.push(Lap { room, begun, took });
        }
    }

    /// A room was entered at one moment and left at another.
    pub fn lap(&mut self, room: Room, entered: Option<Instant>, left: Option<Instant>) {
        if let (Some(begun), Some(left), Some(laps)) = (entered, left, &mut self.laps) {
            let took = left.saturating_duration_since(begun);
            laps.push(Lap { room, begun, took });
        }
    }

    /// The rooms so far, in order; none where they are not timed.
    #[must_use]
    pub fn laps(&self) -> &[Lap] {
        self.laps.as_deref().unwrap_or_default()
    }

    /// The model has been asked since then what it declares, perhaps behind others' inferences.
    pub(crate) fn asked(&mut self, begun: Instant, timings: &Timings) {
        self.asked = begun.elapsed();
        timings.add(Part::Queue, self.asked);
        if let Some(laps) = &mut self.laps {
            laps.push(Lap {
                room: Room::Queue,
                begun,
                took: self.asked,
            });
        }
    }

    /// A handler has worked on it since then.
    pub(crate) fn worked(&mut self, entered: Option<Instant>, timings: &Timings) {
        let part = |part| Duration::from_nanos(timings.get(part));
        self.parts = Parts {
            queue: part(Part::Queue),
            input: part(Part::ComputeInput),
            infer: part(Part::ComputeInfer),
            output: part(Part::ComputeOutput),
            from_cache: timings.cached() == Some(true),
            batch: timings.batch(),
        };
        let (Some(begun), Some(laps)) = (entered, &mut self.laps) else {
            return;
        };
        let queue = self.parts.queue.saturating_sub(self.asked);
        laps.push(Lap {
            room: Room::Queue,
            begun,
            took: queue,
        });
        laps.push(Lap {
            room: Room::Compute,
            begun: begun + queue,
            took: begun.elapsed().saturating_sub(queue),
        });
    }

    /// How long the parts of its run took.
    #[must_use]
    pub fn parts(&self) -> Parts {
        self.parts
    }

    /// The model has answered; what is left is to write that.
    pub(crate) fn answered(&mut self, now: Instant) {
        self.answered = Some(now);
    }

    /// The answer was written.
    pub fn encoded(&mut self) {
        let Some(begun) = self.answered else { return };
        self.written = Some(Instant::now());
        let took = self.encoding();
        if let Some(laps) = &mut self.laps {
            laps.push(Lap {
                room: Room::Encode,
                begun,
                took,
            });
        }
    }

    /// How long writing the answer took.
    #[must_use]
    pub fn encoding(&self) -> Duration {
        match (self.answered, self.written) {
            (Some(answered), Some(written)) => written.saturating_duration_since(answered),
            _ => Duration::ZERO,
        }
    }

    /// How long it took from its arrival until its answer was written, or until now.
    pub(crate) fn took(&self) -> Duration {
        let end = self.written.unwrap_or_else(Instant::now);
        end.saturating_duration_since(self.begun)
    }

    /// So many bytes of its body or message have come.
    pub fn received(&mut self, bytes: usize) {
        self.received += bytes as u64;
    }

    /// So many bytes are sent as its answer.
    pub fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// Bytes of its body or message.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.received
    }

    /// Bytes of its answer.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent
    }

    /// Whether the model was found that it asks for, of those that have figures: names of models
    /// that a caller makes up have none.
    #[must_use]
    pub fn has_model(&self) -> bool {
        self.record.is_some()
    }

    pub(crate) fn found(&mut self, record: Option<Arc<Mutex<ModelFigures>>>) {
        self.record = record;
    }

    /// Where the figures of the model are, once that was found.
    pub(crate) fn record(&self) -> Option<&Arc<Mutex<ModelFigures>>> {
        self.record.as_ref()
    }
}
