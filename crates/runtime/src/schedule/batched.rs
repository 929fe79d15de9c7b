//! Running several requests as one.

use std::time::Duration;

use tokio::time::Instant;

use super::direct;
use super::job::{Job, Ran};
use super::merge::merge;
use super::split::split;
use crate::engine::run_fenced;
use crate::model::Laps;

/// Runs requests that are alike as one batch and gives each its rows. When that fails, for
/// whatever reason, each half of them is run, and so on down to single ones, so that a bad request
/// gets its own error and the others their answers: one among n costs twice log n runs. Of each
/// run that went well, its rows and how long it took are put down in `took`; how long a model
/// takes to refuse, or for requests without elements, says nothing about those that it answers.
pub(super) fn run(jobs: Vec<Job>, took: &mut Vec<(u64, Duration)>) {
    let now = Instant::now();
    let mut jobs: Vec<Job> = jobs
        .into_iter()
        .filter_map(|job| job.unless_late(now))
        .collect();
    if jobs.len() < 2 {
        let Some(job) = jobs.pop() else { return };
        let (rows, counts) = (job.size(), !job.is_empty());
        if direct::run(job) && counts {
            took.push((rows, now.elapsed()));
        }
        return;
    }
    match together(&jobs) {
        Ok((answers, laps)) => {
            let rows = jobs.iter().map(Job::size).sum();
            let counts = !jobs.iter().all(Job::is_empty);
            answer(jobs, answers, laps, now);
            if counts {
                took.push((rows, now.elapsed()));
            }
        }
        Err(reason) => {
            tracing::debug!(requests = jobs.len(), reason, "a batch is run in halves");
            let second = jobs.split_off(jobs.len() / 2);
            run(jobs, took);
            run(second, took);
        }
    }
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
