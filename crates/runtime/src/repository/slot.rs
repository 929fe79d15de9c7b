//! The place of one model in a repository. Requests read its snapshot without waiting; a load
//! makes the next one beside it and swaps it in.

use std::sync::Arc;

use arc_swap::ArcSwap;
use oip_protocol::RepositoryEntry;
use oip_protocol::error::excerpt;

use super::RepositoryOptions;
use super::state::{Phase, Snapshot, Version};
use crate::cache::Answers;
use crate::schedule::{Schedule, Threads};
use crate::settings::ModelSettings;

/// The place of one model.
pub(super) struct ModelSlot {
    name: String,
    snapshot: ArcSwap<Snapshot>,
    /// How requests run and wait, all versions together and across reloads.
    schedule: Schedule,
    /// The answers that are kept, those of all versions together.
    answers: Answers,
    /// Held by whoever loads or unloads, so that one is done before the next begins.
    changing: tokio::sync::Mutex<()>,
}

impl ModelSlot {
    /// Its requests run on these threads.
    pub(super) fn new(name: &str, options: &RepositoryOptions, threads: &Arc<Threads>) -> Self {
        let owner = format!("model '{}'", excerpt(name));
        let limits = options.limits(&ModelSettings::default(), None, None);
        Self {
            name: name.to_owned(),
            snapshot: ArcSwap::from_pointee(Snapshot::of(Phase::Loading)),
            schedule: Schedule::new(owner, limits, Arc::clone(threads)),
            answers: Answers::default(),
            changing: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    pub(super) fn answers(&self) -> &Answers {
        &self.answers
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// From now on requests get this; those in flight keep what they hold.
    pub(super) fn swap(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    /// Waits until no other load or unload of this model is under way.
    pub(super) async fn change(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// Lets go of every version. Requests in flight finish on what they hold.
    pub(super) async fn unload(&self) {
        let _changing = self.change().await;
        let reason = || super::state::UNLOADED.to_owned();
        let was = self.snapshot();
        let gone = |number: &u64| (*number, Version::Broken { reason: reason() });
        self.swap(Snapshot {
            phase: Phase::Unloaded,
            versions: was.versions.keys().map(gone).collect(),
        });
    }

    /// The model's lines of the repository index.
    pub(super) fn index(&self) -> Vec<RepositoryEntry> {
        let entry = |(state, version, reason)| RepositoryEntry {
            name: self.name.clone(),
            version,
            state,
            reason,
        };
        self.snapshot().states().into_iter().map(entry).collect()
    }
}
