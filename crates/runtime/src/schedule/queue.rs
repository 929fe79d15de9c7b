//! The requests that wait, and which of them run next. Knows no threads and no clock of its own.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::job::Job;

/// Requests that wait, by priority and then by when they came.
#[derive(Default)]
pub(super) struct Queue {
    levels: Vec<VecDeque<Job>>,
    length: usize,
}

/// What an idle instance is to do.
pub(super) enum Next {
    /// Run these: one, or several that are alike.
    Run(Vec<Job>),
    /// Ask again at this moment; until then others may join what waits.
    Wait(Instant),
    /// Nothing waits.
    Nothing,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn push(&mut self, job: Job) {
        while self.levels.len() <= job.level {
            self.levels.push(VecDeque::new());
        }
        if let Some(level) = self.levels.get_mut(job.level) {
            level.push_back(job);
            self.length += 1;
        }
    }

    /// Takes out the request of a caller who has left.
    pub(super) fn remove(&mut self, id: u64) -> Option<Job> {
        for level in &mut self.levels {
            if let Some(index) = level.iter().position(|job| job.id == id) {
                self.length -= 1;
                return level.remove(index);
            }
        }
        None
    }

    /// How many runs what waits at this priority and above takes, where each is as full as it
    /// can be.
    pub(super) fn runs_ahead(&self, level: usize) -> f64 {
        let levels = self.levels.iter().take(level.saturating_add(1));
        let share = |job: &Job| match (job.rows, &job.runnable.gathers) {
            (Some(rows), Some(batching)) => rows as f64 / batching.max_batch_size as f64,
            _ => 1.0,
        };
        levels.flatten().map(share).sum()
    }

    /// What to run next. `running` is how many requests run now; `worth` says whether a run takes
    /// long enough that several requests are better run as one.
    pub(super) fn next(&mut self, now: Instant, running: usize, worth: bool) -> Next {
        let eager = Eager {
            alone: running + self.length <= 1,
            worth,
        };
        let mut wait: Option<Instant> = None;
        let mut passed: Vec<&Job> = Vec::new();
        let mut found = None;
        'search: for (level, jobs) in self.levels.iter().enumerate() {
            for (index, job) in jobs.iter().enumerate() {
                if passed.iter().any(|passed| passed.is_like(job)) {
                    continue;
                }
                match self.due(level, index, job, now, &eager) {
                    Due::Now(rows) => {
                        found = Some((level, index, rows));
                        break 'search;
                    }
                    Due::At(at) => wait = Some(wait.map_or(at, |wait| wait.min(at))),
                }
                passed.push(job);
            }
        }
        match (found, wait) {
            (Some((level, index, rows)), _) => Next::Run(self.take(level, index, rows)),
            (None, Some(at)) => Next::Wait(at),
            (None, None) => Next::Nothing,
        }
    }

    /// Whether the batch that begins with this request is to run, and with how many rows.
    fn due(&self, level: usize, index: usize, job: &Job, now: Instant, eager: &Eager) -> Due {
        let (Some(_), Some(batching)) = (job.rows, &job.runnable.gathers) else {
            return Due::Now(0);
        };
        if batching.adaptive && !eager.worth {
            return Due::Now(0);
        }
        let most = batching.max_batch_size;
        let (rows, full) = self.gathered(level, index, job, most);
        let preferred = batching.preferred_batch_sizes.iter().rev();
        let preferred = preferred.copied().find(|size| *size <= rows);
        if full {
            return Due::Now(most);
        }
        if let Some(size) = preferred {
            return Due::Now(size);
        }
        let at = job.queued + batching.max_queue_delay;
        match at <= now || (batching.adaptive && eager.alone) {
            true => Due::Now(most),
            false => Due::At(at),
        }
    }

    /// The rows that a batch beginning with this request has now, and whether no more go in.
    fn gathered(&self, level: usize, index: usize, first: &Job, most: u64) -> (u64, bool) {
        let mut rows = 0;
        for job in self.from(level, index).filter(|job| first.is_like(job)) {
            let more = job.rows.unwrap_or(0);
            if rows + more > most {
                return (rows, true);
            }
            rows += more;
        }
        (rows, rows == most)
    }

    /// The requests from this one on.
    fn from(&self, level: usize, index: usize) -> impl Iterator<Item = &Job> {
        let levels = self.levels.iter().enumerate().skip(level);
        levels.flat_map(move |(at, jobs)| {
            let skip = if at == level { index } else { 0 };
            jobs.iter().skip(skip)
        })
    }

    /// Takes a request out and those that follow and are like it, in order, up to this many rows.
    fn take(&mut self, level: usize, index: usize, most: u64) -> Vec<Job> {
        let first = self.levels.get_mut(level).and_then(|l| l.remove(index));
        let Some(first) = first else {
            return Vec::new();
        };
        self.length -= 1;
        let Some(mut rows) = first.rows else {
            return vec![first];
        };
        let mut taken = vec![first];
        'levels: for (at, jobs) in self.levels.iter_mut().enumerate().skip(level) {
            let mut place = if at == level { index } else { 0 };
            while let (Some(job), Some(first)) = (jobs.get(place), taken.first()) {
                if !first.is_like(job) {
                    place += 1;
                    continue;
                }
                rows += job.rows.unwrap_or(0);
                if rows > most {
                    break 'levels;
                }
                taken.extend(jobs.remove(place));
            }
        }
        self.length -= taken.len() - 1;
        taken
    }
}

/// Why an adaptive model may not wait for a batch.
struct Eager {
    /// No other request is under way.
    alone: bool,
    /// See [`Queue::next`].
    worth: bool,
}

/// When a batch is to run.
enum Due {
    /// Now, with at most this many rows.
    Now(u64),
    /// At this moment.
    At(Instant),
}

#[cfg(test)]
mod tests;
