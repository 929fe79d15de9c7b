//! What is kept, least recently used first out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

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
    /// The versions that are loaded. A run may land when its own is no more.
    versions: BTreeSet<u64>,
}

struct Entry {
    question: Arc<Question>,
    outputs: Vec<Tensor>,
    bytes: usize,
    until: Instant,
    turn: u64,
}

struct Pending {
    hash: u64,
    /// One for all that are the same.
    question: Arc<Question>,
    /// The priority of the one that runs, 0 the highest.
    level: usize,
    ended: Arc<Sender>,
}

/// Says how a run has ended to those that wait for it.
pub(super) type Sender = watch::Sender<Option<Ended>>;

/// A question, where to look for it, and the priority of whoever asks.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) hash: u64,
    pub(super) question: Arc<Question>,
    pub(super) level: usize,
}

/// Which questions were compared with one, and whether they are the same.
#[derive(Default)]
struct Compared(Vec<(Arc<Question>, bool)>);

impl Compared {
    /// Whether this one is the same; `None` where it was not compared.
    fn same(&self, question: &Arc<Question>) -> Option<bool> {
        let mut known = self.0.iter();
        let (_, same) = known.find(|(known, _)| Arc::ptr_eq(known, question))?;
        Some(*same)
    }
}

/// Looks for the answer to a question. Questions are compared outside the lock, as that may take
/// as long as megabytes do.
pub(super) fn find(store: &Mutex<Store>, asked: &Asked, now: Instant) -> Found<Arc<Sender>> {
    let mut compared = Compared::default();
    loop {
        let other = {
            let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
            match store.find(asked, &compared, now) {
                Ok(found) => return found,
                Err(other) => other,
            }
        };
        let same = *other == *asked.question;
        compared.0.push((other, same));
    }
}

/// What there is of a question. `L` is what whoever leads gets.
pub(super) enum Found<L> {
    /// The answer.
    Kept(Vec<Tensor>),
    /// Nobody has asked it, or only somebody of a lower priority: whoever does now is to say how
    /// it ends.
    Lead(L),
    /// It is being answered.
    Wait(watch::Receiver<Option<Ended>>),
}

/// What an entry takes besides its buffers.
const OVERHEAD: usize = 512;
/// What the pieces of a tensor take where they lie on the heap.
const TENSOR_OVERHEAD: usize = 64;

impl Store {
    /// What there is of a question, as far as that can be told from those that it was compared
    /// with; or one more that it is to be compared with.
    fn find(
        &mut self,
        asked: &Asked,
        compared: &Compared,
        now: Instant,
    ) -> Result<Found<Arc<Sender>>, Arc<Question>> {
        if let Some(outputs) = self.kept(asked.hash, compared, now)? {
            return Ok(Found::Kept(outputs));
        }
        let mut question = &asked.question;
        for flight in self
            .flights
            .iter()
            .filter(|flight| flight.hash == asked.hash)
        {
            match compared.same(&flight.question) {
                // Who waits for a run waits in its place in the queue, which is not to be behind
                // his own.
                Some(true) if flight.level <= asked.level => {
                    return Ok(Found::Wait(flight.ended.subscribe()));
                }
                Some(true) => question = &flight.question,
                Some(false) => {}
                None => return Err(Arc::clone(&flight.question)),
            }
        }
        let question = Arc::clone(question);
        let ended = Arc::new(Sender::new(None));
        self.flights.push(Pending {
            hash: asked.hash,
            question,
            level: asked.level,
            ended: Arc::clone(&ended),
        });
        Ok(Found::Lead(ended))
    }

    fn kept(
        &mut self,
        hash: u64,
        compared: &Compared,
        now: Instant,
    ) -> Result<Option<Vec<Tensor>>, Arc<Question>> {
        let Some(entry) = self.kept.get_mut(&hash) else {
            return Ok(None);
        };
        if entry.until <= now {
            self.drop_entry(hash);
            return Ok(None);
        }
        match compared.same(&entry.question) {
            Some(true) => {}
            Some(false) => return Ok(None),
            None => return Err(Arc::clone(&entry.question)),
        }
        self.order.remove(&entry.turn);
        self.used += 1;
        entry.turn = self.used;
        self.order.insert(self.used, hash);
        Ok(Some(entry.outputs.clone()))
    }

    /// A run has ended. Where it has `answered`, nobody waits any longer for others that answer the
    /// same: returns those.
    pub(super) fn land(&mut self, ended: &Arc<Sender>, answered: bool) -> Vec<Arc<Sender>> {
        let own = |flight: &Pending| Arc::ptr_eq(&flight.ended, ended);
        let Some(place) = self.flights.iter().position(own) else {
            return Vec::new();
        };
        let question = self.flights.swap_remove(place).question;
        let same = |flight: &mut Pending| answered && Arc::ptr_eq(&flight.question, &question);
        let others = self.flights.extract_if(.., same);
        others.map(|flight| flight.ended).collect()
    }

    /// Keeps an answer until then, and lets go of those used longest ago until all fit into
    /// `most` bytes. One that is larger than everything is not kept, nor one of a version that is
    /// gone: nobody could ask for it.
    pub(super) fn keep(
        &mut self,
        hash: u64,
        question: Arc<Question>,
        outputs: Vec<Tensor>,
        until: Instant,
        most: usize,
    ) {
        let bytes = size(&question, &outputs);
        if bytes > most || !self.versions.contains(&question.version) {
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

    /// From now on answers of this version are kept.
    pub(super) fn remember(&mut self, version: u64) {
        self.versions.insert(version);
    }

    /// Lets go of everything of a version, and keeps nothing more of it.
    pub(super) fn forget(&mut self, version: u64) {
        self.versions.remove(&version);
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

    /// How many questions are being answered.
    #[cfg(test)]
    pub(super) fn flights(&self) -> usize {
        self.flights.len()
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
