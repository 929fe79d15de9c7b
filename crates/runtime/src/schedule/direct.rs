//! Running one request alone.

use tokio::time::Instant;

use super::job::{Job, Ran};
use crate::engine::{fenced, run_fenced};
use crate::model::Laps;

/// Runs a request and answers it; whether it has run and went well. Nothing runs for one that
/// nobody waits for any more.
pub(super) fn run(job: Job) -> bool {
    let now = Instant::now();
    let Some(mut job) = job.unless_late(now) else {
        return false;
    };
    let mut laps = Laps::begin();
    let (model, inputs) = (&*job.runnable.model, &job.inputs);
    let outputs = match job.note.take() {
        None => run_fenced(model, inputs, &mut laps),
        Some(note) => fenced(|| model.run_noted(inputs, note, &mut laps)),
    };
    let ran = outputs.map(|outputs| Ran {
        outputs,
        waited: now.duration_since(job.queued),
        laps,
        batch: None,
        leads: true,
    });
    let well = ran.is_ok();
    // Whoever has left meanwhile misses it.
    let _ = job.answer.send(ran);
    well
}
