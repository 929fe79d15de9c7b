use std::sync::Arc;
use std::time::Duration;

use oip_protocol::{Parameters, Tensor};
use tokio::sync::oneshot;

use super::super::fake::{Fake, batching, rows, runnable};
use super::super::job::{self, Runnable};
use super::*;
use crate::settings::Batching;

struct Line {
    queue: Queue,
    runnable: Arc<Runnable>,
    began: Instant,
    last: u64,
}

impl Line {
    fn of(batching: Batching) -> Self {
        Self {
            queue: Queue::default(),
            runnable: runnable(&Fake::new(), Some(batching)),
            began: Instant::now(),
            last: 0,
        }
    }

    fn push(&mut self, tensor: Tensor, level: usize, parameters: Parameters) {
        self.push_at(0, tensor, level, parameters);
    }

    fn push_at(&mut self, ms: u64, tensor: Tensor, level: usize, parameters: Parameters) {
        let inputs = vec![tensor];
        self.last += 1;
        let job = Job {
            id: self.last,
            runnable: Arc::clone(&self.runnable),
            rows: job::rows(&self.runnable, &inputs),
            inputs,
            parameters: job::telling(parameters),
            note: None,
            level,
            queued: self.began + Duration::from_millis(ms),
            deadline: None,
            latest: None,
            answer: oneshot::channel().0,
        };
        let kind = job.kind();
        let begins = self.began + Duration::from_secs(self.last);
        self.queue.push(job, kind, begins);
    }

    /// Requests of so many rows.
    fn push_rows(&mut self, sizes: &[usize]) {
        for size in sizes {
            self.push(rows(&vec![1; *size], 2), 0, Parameters::new());
        }
    }

    /// The ids of what an idle instance runs next, or how many milliseconds it waits.
    fn next_at(&mut self, ms: u64, running: usize) -> Result<Vec<u64>, u128> {
        self.ask(ms, asking(running))
    }

    /// The same for one that has just finished a run.
    fn freed_at(&mut self, ms: u64) -> Result<Vec<u64>, u128> {
        let was_busy = true;
        self.ask(
            ms,
            Asking {
                was_busy,
                ..asking(0)
            },
        )
    }

    fn ask(&mut self, ms: u64, asking: Asking) -> Result<Vec<u64>, u128> {
        let now = self.began + Duration::from_millis(ms);
        match self.queue.next(now, asking) {
            Next::Run(jobs) => Ok(jobs.iter().map(|job| job.id).collect()),
            Next::Wait(at) => Err(at.duration_since(self.began).as_millis()),
            Next::Nothing => Ok(Vec::new()),
        }
    }

    /// What waits at this priority and above.
    fn ahead(&self, level: usize) -> Ahead {
        let mut versions = self.queue.ahead(level).map(|(_, ahead)| ahead);
        let ahead = versions.next().unwrap_or_default();
        assert!(versions.next().is_none(), "it is of another version");
        ahead
    }

    fn all(&mut self) -> Vec<Vec<u64>> {
        let mut all = Vec::new();
        while let Ok(ids) = self.next_at(0, 1) {
            if ids.is_empty() {
                break;
            }
            all.push(ids);
        }
        assert_eq!(self.queue.len(), 0);
        all
    }
}

/// What an idle instance asks while so many requests run.
fn asking(running: usize) -> Asking {
    Asking {
        running,
        was_busy: false,
    }
}

#[tokio::test]
async fn requests_are_gathered_in_order_up_to_the_most_rows() {
    let mut line = Line::of(batching(4));
    line.push_rows(&[1, 1, 3, 2, 1, 1]);
    assert_eq!(line.all(), [vec![1, 2], vec![3], vec![4, 5, 6]]);
}

#[tokio::test]
async fn empty_requests_and_those_over_the_most_run_alone() {
    let mut line = Line::of(batching(4));
    line.push_rows(&[1, 0, 5, 1, 4]);
    assert_eq!(line.all(), [vec![1, 4], vec![2], vec![3], vec![5]]);
}

#[tokio::test]
async fn requests_of_other_dimensions_or_parameters_are_not_mixed() {
    let mut line = Line::of(batching(8));
    let with = |name: &str| Parameters::from_iter([(name, 5_i64)]);
    line.push(rows(&[1], 2), 0, Parameters::new());
    line.push(rows(&[1], 3), 0, Parameters::new());
    line.push(rows(&[1], 2), 0, with("temperature"));
    line.push(rows(&[1], 2), 0, with("timeout"));
    line.push(rows(&[1], 3), 0, with("priority"));
    let marked = rows(&[1], 2).with_parameters(with("scale"));
    line.push(marked, 0, Parameters::new());
    assert_eq!(line.all(), [vec![1, 4], vec![2, 5], vec![3], vec![6]]);
}

#[tokio::test]
async fn a_higher_priority_goes_first_and_takes_lower_ones_of_its_kind_along() {
    let mut line = Line::of(batching(3));
    for level in [2, 0, 1, 0, 2] {
        line.push(rows(&[1], 2), level, Parameters::new());
    }
    assert_eq!(line.all(), [vec![2, 4, 3], vec![1, 5]]);
}

#[tokio::test]
async fn a_lone_request_never_waits_and_two_wait_for_the_delay() {
    let delayed = Batching {
        max_queue_delay: Duration::from_millis(5),
        ..batching(4)
    };
    let mut line = Line::of(delayed.clone());
    line.push_rows(&[1]);
    assert_eq!(line.next_at(0, 0), Ok(vec![1]));
    line.push_rows(&[1]);
    assert_eq!(line.next_at(0, 1), Err(5));
    line.push_rows(&[1]);
    assert_eq!(line.next_at(4, 0), Err(5));
    assert_eq!(line.next_at(5, 0), Ok(vec![2, 3]));
    line.push_rows(&[2, 2]);
    assert_eq!(line.next_at(0, 0), Ok(vec![4, 5]), "a full batch waited");

    let mut line = Line::of(Batching {
        adaptive: false,
        ..delayed
    });
    line.push_rows(&[1]);
    assert_eq!(line.next_at(0, 0), Err(5));
    assert_eq!(line.next_at(6, 0), Ok(vec![1]));
}

#[tokio::test]
async fn requests_of_a_model_that_takes_microseconds_run_one_by_one_unless_told_otherwise() {
    let one = |line: &mut Line| match line.queue.next(line.began, asking(1)) {
        Next::Run(jobs) => jobs.len(),
        Next::Wait(_) | Next::Nothing => 0,
    };
    let quick = |line: &Line| line.runnable.paced.record(1, Duration::from_micros(4));
    let mut line = Line::of(batching(4));
    line.push_rows(&[1, 1, 1]);
    quick(&line);
    assert_eq!(
        [one(&mut line), one(&mut line), line.queue.len()],
        [1, 1, 1]
    );
    let mut line = Line::of(Batching {
        adaptive: false,
        ..batching(4)
    });
    line.push_rows(&[1, 1, 1]);
    quick(&line);
    assert_eq!(one(&mut line), 3);
    // One that waits for its delay as its model turns out to be quick waits no longer.
    let mut line = Line::of(Batching {
        max_queue_delay: Duration::from_millis(5),
        ..batching(4)
    });
    line.push_rows(&[1]);
    assert_eq!(line.next_at(0, 1), Err(5));
    quick(&line);
    assert_eq!(line.next_at(0, 1), Ok(vec![1]));
}

#[tokio::test]
async fn a_full_batch_behind_one_that_waits_is_run() {
    let mut line = Line::of(Batching {
        max_queue_delay: Duration::from_millis(5),
        ..batching(2)
    });
    line.push(rows(&[1], 2), 0, Parameters::new());
    line.push(rows(&[1, 1], 3), 0, Parameters::new());
    assert_eq!(line.next_at(0, 0), Ok(vec![2]));
}

#[tokio::test]
async fn a_preferred_size_is_run_without_waiting_longer() {
    let mut line = Line::of(Batching {
        max_queue_delay: Duration::from_millis(5),
        preferred_batch_sizes: vec![2, 4],
        ..batching(8)
    });
    line.push_rows(&[1, 1, 1]);
    assert_eq!(line.next_at(0, 3), Ok(vec![1, 2]));
    assert_eq!(line.next_at(0, 3), Err(5));
    line.push_rows(&[1, 1, 1, 1]);
    assert_eq!(line.next_at(0, 3), Ok(vec![3, 4, 5, 6]));
    assert_eq!(line.next_at(5, 3), Ok(vec![7]));
}

#[tokio::test]
async fn what_gathered_behind_a_busy_instance_runs_together_whatever_sizes_are_preferred() {
    let mut line = Line::of(Batching {
        max_queue_delay: Duration::from_millis(5),
        preferred_batch_sizes: vec![8],
        ..batching(32)
    });
    line.push_rows(&[1; 12]);
    assert_eq!(line.freed_at(0), Ok((1..=12).collect()));
    line.push_rows(&[1; 40]);
    assert_eq!(
        line.freed_at(0),
        Ok((13..=44).collect()),
        "no more than fit"
    );
    assert_eq!(line.freed_at(0), Ok((45..=52).collect()));
    // Fewer than is preferred wait for their delay, as they would before an idle instance.
    line.push_rows(&[1; 7]);
    assert_eq!(line.freed_at(0), Err(5));
}

#[tokio::test]
async fn the_oldest_request_waits_no_longer_than_the_delay_whoever_comes_before_it() {
    let mut line = Line::of(Batching {
        max_queue_delay: Duration::from_millis(5),
        ..batching(8)
    });
    for (ms, level) in [(0, 2), (3, 1), (4, 0)] {
        line.push_at(ms, rows(&[1], 2), level, Parameters::new());
        assert_eq!(line.next_at(ms, 1), Err(5));
    }
    assert_eq!(line.next_at(5, 1), Ok(vec![3, 2, 1]));
    // With the oldest goes its moment.
    line.push_at(6, rows(&[1], 2), 1, Parameters::new());
    line.push_at(8, rows(&[1], 2), 0, Parameters::new());
    assert_eq!(line.next_at(8, 1), Err(11));
    assert!(line.queue.remove(4).is_some());
    assert_eq!(line.next_at(8, 1), Err(13));
}

#[tokio::test]
async fn the_last_one_in_the_line_is_the_latest_of_the_lowest_priority() {
    let mut line = Line::of(batching(4));
    assert!(line.queue.last_level().is_none() && line.queue.take_last().is_none());
    for (level, width) in [(2, 1), (0, 2), (2, 3), (1, 2)] {
        line.push(rows(&[1], width), level, Parameters::new());
    }
    let mut ids = Vec::new();
    while let Some(level) = line.queue.last_level() {
        let job = line.queue.take_last().unwrap();
        assert_eq!(job.level, level);
        ids.push(job.id);
    }
    assert_eq!(ids, [3, 1, 4, 2]);
    assert_eq!(line.ahead(9), Ahead::default());
    assert_eq!(line.next_at(0, 1), Ok(Vec::new()));
}

#[tokio::test]
async fn a_caller_who_leaves_is_out_of_the_queue() {
    let mut line = Line::of(batching(4));
    line.push_rows(&[1, 1, 1]);
    assert!(line.queue.remove(2).is_some() && line.queue.remove(2).is_none());
    assert_eq!((line.queue.len(), line.all()), (2, vec![vec![1, 3]]));
}

#[tokio::test]
async fn the_runs_ahead_are_those_that_what_waits_really_takes() {
    let mut line = Line::of(batching(4));
    line.push_rows(&[1, 1, 1]);
    assert_eq!(line.ahead(0), Ahead { runs: 1, rows: 3 });
    line.push_rows(&[1, 1, 9]);
    assert_eq!(line.ahead(0), Ahead { runs: 3, rows: 14 });
    // Requests that are not alike share no run, however few rows they have.
    for width in 3..8 {
        line.push(rows(&[1], width), 0, Parameters::new());
    }
    assert_eq!(line.ahead(0), Ahead { runs: 8, rows: 19 });
    // Three of four rows leave no room for as many more.
    line.push_rows(&[3, 3]);
    assert_eq!(line.ahead(0), Ahead { runs: 10, rows: 25 });
    line.all();
    assert_eq!(line.ahead(0), Ahead::default());
}

#[tokio::test]
async fn lower_priorities_are_not_ahead_and_ride_along_where_there_is_room() {
    let mut line = Line::of(batching(4));
    line.push(rows(&[1, 1], 2), 3, Parameters::new());
    let runs = |line: &Line| [0, 1, 3, 9].map(|level| line.queue.runs(level));
    assert_eq!(runs(&line), [0, 0, 1, 1]);
    line.push(rows(&[1, 1], 2), 1, Parameters::new());
    assert_eq!(runs(&line), [0, 1, 1, 1]);
    line.push(rows(&[1], 2), 7, Parameters::new());
    assert_eq!(runs(&line), [0, 1, 1, 2]);
    line.push(rows(&[1], 5), 0, Parameters::new());
    assert_eq!(runs(&line), [1, 2, 2, 3]);
    line.all();
    assert_eq!(runs(&line), [0; 4]);
}

#[tokio::test]
async fn what_waits_is_counted_for_each_version_at_its_own_pace() {
    let mut line = Line::of(batching(4));
    line.runnable.paced.record(1, Duration::from_secs(1));
    line.push_rows(&[1, 1]);
    let first = std::mem::replace(
        &mut line.runnable,
        runnable(&Fake::new(), Some(batching(4))),
    );
    line.runnable.paced.record(1, Duration::from_secs(10));
    line.push_rows(&[1]);
    line.push(rows(&[1], 2), 1, Parameters::new());
    let work = |runs, paced: &Paced| paced.pace().all(Ahead { runs, rows: runs });
    let of_both = work(1, &first.paced) + work(1, &line.runnable.paced);
    assert_eq!((line.queue.runs(0), line.queue.work(0)), (2, of_both));
    assert_eq!((line.queue.levels(), line.queue.versions.len()), (2, 2));
    assert_eq!(line.all(), [vec![1, 2], vec![3, 4]]);
    assert!(line.queue.versions.is_empty());
    assert_eq!(line.queue.work(1), Work::default());
}

#[tokio::test]
async fn one_who_joins_a_run_that_waits_begins_with_it() {
    let mut line = Line::of(batching(4));
    let seconds = |line: &mut Line, tensor: Tensor| {
        line.push(tensor, 0, Parameters::new());
        let group = line
            .queue
            .groups
            .values()
            .max_by_key(|group| group.open.begins);
        group
            .unwrap()
            .open
            .begins
            .duration_since(line.began)
            .as_secs()
    };
    assert_eq!(seconds(&mut line, rows(&[1, 1], 2)), 1);
    assert_eq!(seconds(&mut line, rows(&[1], 2)), 1);
    assert_eq!(seconds(&mut line, rows(&[1], 3)), 3);
    assert_eq!(seconds(&mut line, rows(&[1, 1], 2)), 4, "it was full");
    assert_eq!(line.next_at(0, 1), Ok(vec![1, 2]));
    assert_eq!(seconds(&mut line, rows(&[1, 1], 2)), 4);
    assert_eq!(seconds(&mut line, rows(&[1], 2)), 6);
}

#[tokio::test]
async fn the_soonest_run_that_has_room_is_known_whatever_comes_and_goes() {
    let mut line = Line::of(batching(4));
    let soonest = |line: &Line| {
        let begins = line.queue.soonest();
        begins.map(|begins| begins.duration_since(line.began).as_secs())
    };
    // It runs alone, and nobody joins it.
    line.push_rows(&[9]);
    assert_eq!(soonest(&line), None);
    line.push_rows(&[2]);
    line.push(rows(&[1], 3), 0, Parameters::new());
    assert_eq!(soonest(&line), Some(2));
    line.push_rows(&[2]);
    assert_eq!(soonest(&line), Some(3), "the first is full");
    line.push_rows(&[1]);
    assert_eq!(line.queue.open.len(), 2);
    line.queue.remove(3);
    assert_eq!(soonest(&line), Some(5));
    line.all();
    assert!(line.queue.open.is_empty());
}

#[tokio::test]
async fn parameters_make_a_kind_in_any_order_and_by_type_and_value() {
    let mut line = Line::of(batching(8));
    let pairs = |pairs: &[(&str, f64)]| Parameters::from_iter(pairs.iter().copied());
    line.push(rows(&[1], 2), 0, pairs(&[("a", 1.0), ("b", 2.0)]));
    line.push(rows(&[1], 2), 0, pairs(&[("a", 2.0), ("b", 1.0)]));
    line.push(rows(&[1], 2), 0, pairs(&[("b", 2.0), ("a", 1.0)]));
    line.push(
        rows(&[1], 2),
        0,
        Parameters::from_iter([("a", 1_i64), ("b", 2)]),
    );
    line.push(
        rows(&[1], 2),
        0,
        Parameters::from_iter([("a", "1"), ("b", "2")]),
    );
    assert_eq!(line.all(), [vec![1, 3], vec![2], vec![4], vec![5]]);
}

#[tokio::test]
async fn a_caller_who_leaves_takes_its_rows_along() {
    let mut line = Line::of(Batching {
        max_queue_delay: Duration::from_millis(5),
        adaptive: false,
        ..batching(2)
    });
    line.push_rows(&[1, 1]);
    assert!(line.queue.remove(1).is_some());
    assert_eq!(line.next_at(0, 1), Err(5), "one row is no full batch");
    assert_eq!(line.ahead(0), Ahead { runs: 1, rows: 1 });
    line.push_rows(&[1]);
    assert_eq!(line.next_at(0, 1), Ok(vec![2, 3]));
    assert_eq!(line.ahead(9), Ahead::default());
}

#[tokio::test]
async fn thousands_of_requests_none_like_another_are_looked_through_quickly() {
    let mut line = Line::of(Batching {
        max_queue_delay: Duration::from_millis(5),
        adaptive: false,
        ..batching(8)
    });
    let began = std::time::Instant::now();
    for x in 0..5000_i64 {
        line.push(rows(&[1], 1), 0, Parameters::from_iter([("x", x)]));
        assert_eq!(line.next_at(0, 1), Err(5));
    }
    for id in 1..=5000 {
        assert_eq!(line.next_at(5, 1), Ok(vec![id]));
    }
    // Looked at each with each it takes minutes.
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}
