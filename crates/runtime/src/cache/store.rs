//! What is kept, least recently used first out.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use oip_protocol::Tensor;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Ended, Question};

/// Answers by their question, and the questions that are being answered.
pub(super) struct Store {
    kept: HashMap<u64, Entry>,
    /// The hashes of what is kept by when it was used last.
    order: BTreeMap<u64, u64>,
    used: u64,
    bytes: usize,
    most_bytes: usize,
    ttl: Duration,
    flights: Vec<Pending>,
}

struct Entry {
    question: Question,
    outputs: Vec<Tensor>,
    bytes: usize,
    until: Instant,
    turn: u64,
}

struct Pending {
    hash: u64,
    question: Arc<Question>,
    ended: watch::Receiver<Option<Ended>>,
}

pub(super) enum Found {
    /// The answer.
    Kept(Vec<Tensor>),
    /// Nobody has asked it: whoever does now is to say how it ends.
    Lead(watch::Sender<Option<Ended>>),
    /// It is being answered.
    Wait(watch::Receiver<Option<Ended>>),
}

/// What an entry takes besides its buffers.
const OVERHEAD: usize = 512;

impl Store {
    pub(super) fn new(most_bytes: usize, ttl: Duration) -> Self {
        Self {
            kept: HashMap::new(),
            order: BTreeMap::new(),
            used: 0,
            bytes: 0,
            most_bytes,
            ttl,
            flights: Vec::new(),
        }
    }

    pub(super) fn find(&mut self, hash: u64, question: &Arc<Question>, now: Instant) -> Found {
        if let Some(outputs) = self.kept(hash, question, now) {
            return Found::Kept(outputs);
        }
        let same = |flight: &&Pending| flight.hash == hash && *flight.question == **question;
        if let Some(flight) = self.flights.iter().find(same) {
            return Found::Wait(flight.ended.clone());
        }
        let (sender, ended) = watch::channel(None);
        self.flights.push(Pending {
            hash,
            question: Arc::clone(question),
            ended,
        });
        Found::Lead(sender)
    }

    fn kept(&mut self, hash: u64, question: &Question, now: Instant) -> Option<Vec<Tensor>> {
        let entry = self.kept.get_mut(&hash)?;
        if entry.until <= now {
            self.drop_entry(hash);
            return None;
        }
        if entry.question != *question {
            return None;
        }
        self.order.remove(&entry.turn);
        self.used += 1;
        entry.turn = self.used;
        self.order.insert(self.used, hash);
        Some(entry.outputs.clone())
    }

    /// A question is no longer being answered.
    pub(super) fn land(&mut self, hash: u64, question: &Arc<Question>) {
        self.flights
            .retain(|flight| flight.hash != hash || !Arc::ptr_eq(&flight.question, question));
    }

    /// Keeps an answer, and lets go of those used longest ago until all fit. One that is larger
    /// than everything is not kept.
    pub(super) fn keep(
        &mut self,
        hash: u64,
        question: Question,
        outputs: Vec<Tensor>,
        now: Instant,
    ) {
        let bytes = size(&question.inputs) + size(&outputs) + OVERHEAD;
        if bytes > self.most_bytes {
            return;
        }
        self.drop_entry(hash);
        while self.bytes + bytes > self.most_bytes {
            let Some((_, oldest)) = self.order.pop_first() else {
                break;
            };
            self.drop_entry(oldest);
        }
        self.used += 1;
        self.bytes += bytes;
        self.order.insert(self.used, hash);
        let entry = Entry {
            question,
            outputs,
            bytes,
            until: now + self.ttl,
            turn: self.used,
        };
        self.kept.insert(hash, entry);
    }

    fn drop_entry(&mut self, hash: u64) {
        if let Some(entry) = self.kept.remove(&hash) {
            self.order.remove(&entry.turn);
            self.bytes -= entry.bytes;
        }
    }

    /// How many bytes are kept.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn size(tensors: &[Tensor]) -> usize {
    tensors
        .iter()
        .map(|tensor| tensor.data().len() + tensor.name().len() + 8 * tensor.shape().rank() + 128)
        .sum()
}

/// One key a process, so that callers cannot aim at a hash.
static KEYED: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Where to look for a question. Two that are the same have the same; two that have the same need
/// not be the same.
pub(super) fn hash(question: &Question) -> u64 {
    let mut hasher = KEYED.build_hasher();
    for input in &question.inputs {
        hasher.write(input.name().as_bytes());
        for dim in input.shape().dims() {
            hasher.write_u64(*dim);
        }
        hasher.write(input.data());
    }
    // In whatever order they stand.
    let one = |(name, value)| KEYED.hash_one(format!("{name}={value:?}"));
    let parameters = question.parameters.iter().map(one);
    hasher.write_u64(parameters.fold(0, u64::wrapping_add));
    hasher.finish()
}
