//! What models declare, as the handler said it last. Every request is held to it, and the
//! handler is not asked every time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use oip::{Error, ErrorKind, ModelMetadata, ModelRef, Result};

/// How long an answer stands.
const FRESH: Duration = Duration::from_secs(1);
/// How many models are remembered. Callers choose the names, so there must be an end.
const MOST: usize = 1024;

/// The answers of a handler to "what does this model declare".
#[derive(Default)]
pub(crate) struct MetadataCache(Mutex<HashMap<ModelRef, Known>>);

struct Known {
    since: Instant,
    /// `None`: the handler does not say.
    metadata: Option<ModelMetadata>,
}

impl MetadataCache {
    fn lock(&self) -> MutexGuard<'_, HashMap<ModelRef, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last answer, if it still stands.
    pub(crate) fn get(&self, model: &ModelRef) -> Option<Result<ModelMetadata>> {
        let known = self.lock();
        let known = known
            .get(model)
            .filter(|known| known.since.elapsed() < FRESH)?;
        Some(match &known.metadata {
            Some(metadata) => Ok(metadata.clone()),
            None => Err(Error::not_implemented(
                "model metadata is not implemented by this server's handler",
            )),
        })
    }

    /// Name and datatype of each output that was declared last.
    pub(crate) fn outputs(&self, model: &ModelRef) -> Vec<(String, &'static str)> {
        let known = self.lock();
        let metadata = known.get(model).and_then(|known| known.metadata.as_ref());
        let outputs = metadata.into_iter().flat_map(|metadata| &metadata.outputs);
        outputs
            .map(|output| (output.name.clone(), output.datatype.name()))
            .collect()
    }

    /// Remembers an answer. Failures are not remembered.
    pub(crate) fn put(&self, model: &ModelRef, answer: &Result<ModelMetadata>) {
        let metadata = match answer {
            Ok(metadata) => Some(metadata.clone()),
            Err(error) if error.kind() == ErrorKind::NotImplemented => None,
            Err(_) => return,
        };
        let mut known = self.lock();
        if known.len() >= MOST {
            known.clear();
        }
        let since = Instant::now();
        known.insert(model.clone(), Known { since, metadata });
    }

    /// Models were loaded or unloaded: everything is asked again.
    pub(crate) fn forget(&self) {
        self.lock().clear();
    }
}
