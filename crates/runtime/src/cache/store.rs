//! What is kept, least recently used first out.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, LazyLock};

use oip_protocol::{ParameterValue, Parameters, Tensor};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Ended, Question};

/// Answers by their question, and the questions that are being answered.
#[derive(Default)]
pub(super) struct Store {
    kept: HashMap<u64, Entry>,
    /// The hashes of what is kept by when it was used last.
    order: BTreeMap<u64, u64>,
    used: u64,
    bytes: usize,
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
/// What the pieces of a tensor take where they lie on the heap.
const TENSOR_OVERHEAD: usize = 64;

impl Store {
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

    /// Keeps an answer until then, and lets go of those used longest ago until all fit into
    /// `most` bytes. One that is larger than everything is not kept.
    pub(super) fn keep(
        &mut self,
        hash: u64,
        question: Question,
        outputs: Vec<Tensor>,
        until: Instant,
        most: usize,
    ) {
        let bytes = size(&question, &outputs);
        if bytes > most {
            return;
        }
        self.drop_entry(hash);
        while self.bytes + bytes > most {
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
            until,
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

    /// Lets go of everything of a version.
    pub(super) fn forget(&mut self, version: u64) {
        let of_version =
            |(hash, entry): (&u64, &Entry)| (entry.question.version == version).then_some(*hash);
        let gone: Vec<u64> = self.kept.iter().filter_map(of_version).collect();
        for hash in gone {
            self.drop_entry(hash);
        }
    }

    /// How many answers are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// How many bytes are kept.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// How many bytes keeping an answer takes: elements, names, shapes, and every parameter of the
/// request and of its tensors.
pub(super) fn size(question: &Question, outputs: &[Tensor]) -> usize {
    let tensors = question.inputs.iter().chain(outputs).map(tensor_size);
    tensors.sum::<usize>() + parameters_size(&question.parameters) + OVERHEAD
}

fn tensor_size(tensor: &Tensor) -> usize {
    let shape = size_of::<u64>() * tensor.shape().rank();
    let own = size_of::<Tensor>() + TENSOR_OVERHEAD + tensor.name().len() + shape;
    own + tensor.data().len() + parameters_size(tensor.parameters())
}

fn parameters_size(parameters: &Parameters) -> usize {
    let one = |(name, value): (&str, &ParameterValue)| {
        size_of::<(String, ParameterValue)>() + name.len() + value.as_str().map_or(0, str::len)
    };
    parameters.iter().map(one).sum()
}

/// One key a process, so that callers cannot aim at a hash.
static KEYED: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Where to look for a question. Two that are the same have the same; two that have the same need
/// not be the same.
pub(super) fn hash(question: &Question) -> u64 {
    let mut hasher = KEYED.build_hasher();
    hasher.write_u64(question.version);
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
