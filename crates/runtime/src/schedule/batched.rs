//! Running several requests as one.

use tokio::time::Instant;

use super::direct;
use super::job::{Job, Ran};
use super::merge::merge;
use super::split::split;
use crate::engine::run_fenced;
use crate::model::Laps;

/// Runs requests that are alike as one batch and gives each its rows. When that fails, for
/// whatever reason, each runs alone, so that a bad request gets its own error and the others
/// their answers. How many rows the model ran on; 0 where it did not run at all.
pub(super) fn run(jobs: Vec<Job>) -> u64 {
    let now = Instant::now();
    let jobs: Vec<Job> = jobs
        .into_iter()
        .filter_map(|job| job.unless_late(now))
        .collect();
    if jobs.len() < 2 {
        return one_by_one(jobs);
    }
    match together(&jobs) {
        Ok((answers, laps)) => {
            let rows = jobs.iter().map(Job::size).sum();
            answer(jobs, answers, laps, now);
            rows
        }
        Err(reason) => {
            tracing::debug!(requests = jobs.len(), reason, "a batch is run one by one");
            one_by_one(jobs)
        }
    }
}

fn one_by_one(jobs: Vec<Job>) -> u64 {
    let mut rows = 0;
    for job in jobs {
        let size = job.size();
        if direct::run(job) {
            rows += size;
        }
    }
    rows
}

type Answers = Vec<Vec<oip_protocol::Tensor>>;

fn together(jobs: &[Job]) -> Result<(Answers, Laps), String> {
    let Some(first) = jobs.first() else {
        return Err("there is nothing to run".to_owned());
    };
    let mut laps = Laps::begin();
    let members: Vec<_> = jobs.iter().map(|job| job.inputs.as_slice()).collect();
    let inputs = merge(&members)?;
    let outputs = run_fenced(&*first.runnable.model, &inputs, &mut laps);
    let outputs = outputs.map_err(|error| format!("{error:?}"))?;
    let rows: Vec<u64> = jobs.iter().filter_map(|job| job.rows).collect();
    let answers = split(&outputs, &rows)?;
    match answers.len() == jobs.len() {
        true => Ok((answers, laps)),
        false => Err("a request without rows is in the batch".to_owned()),
    }
}

fn answer(jobs: Vec<Job>, answers: Answers, laps: Laps, began: Instant) {
    let total = jobs.iter().filter_map(|job| job.rows).sum();
    let mut leads = true;
    for (job, outputs) in jobs.into_iter().zip(answers) {
        let ran = Ran {
            outputs,
            waited: began.duration_since(job.queued),
            laps,
            batch: Some(total),
            leads,
        };
        // Whoever has left meanwhile counts nothing; the next one does.
        leads &= job.answer.send(Ok(ran)).is_err();
    }
}
