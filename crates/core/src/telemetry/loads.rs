//! How often models were loaded and how long that took, and what waits for them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Loads of one outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadFigures {
    /// How often.
    pub count: u64,
    /// How long they took together.
    pub took: Duration,
}

/// The loads of one model since the server started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelLoads {
    /// The model's name.
    pub name: String,
    /// Those that succeeded.
    pub done: LoadFigures,
    /// Those that failed.
    pub failed: LoadFigures,
}

/// What runs and waits for one model, all its versions together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queued {
    /// The model's name.
    pub name: String,
    /// Requests that wait.
    pub waiting: usize,
    /// Requests that run.
    pub running: usize,
    /// Requests that may wait at most.
    pub most_waiting: usize,
    /// How many may run side by side.
    pub instances: usize,
}

/// Counts loads, by the models' names: those of the operator's folder, or that were loaded.
#[derive(Debug, Default)]
pub struct Loads(Mutex<BTreeMap<String, ModelLoads>>);

/// Most names that loads are counted for.
const MOST: usize = 4096;

impl Loads {
    /// Counts a load.
    pub fn add(&self, name: &str, took: Duration, done: bool) {
        let mut loads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if loads.len() >= MOST && !loads.contains_key(name) {
            return;
        }
        let model = loads.entry(name.to_owned()).or_insert_with(|| ModelLoads {
            name: name.to_owned(),
            ..ModelLoads::default()
        });
        let figures = match done {
            true => &mut model.done,
            false => &mut model.failed,
        };
        figures.count += 1;
        figures.took += took;
    }

    /// What was counted until now, by name.
    #[must_use]
    pub fn read(&self) -> Vec<ModelLoads> {
        let loads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loads.values().cloned().collect()
    }
}
