//! Ten times the load that a model can take, without threads and without a clock: who is let in,
//! and how many of them have their answers in time.

use super::stress::Dice;
use super::*;
use crate::schedule::job::telling;

/// What is sent, and what a run takes.
struct Load {
    /// How many requests there are that are not alike.
    kinds: u64,
    /// Most rows of a request.
    rows: u64,
    gathers: Option<Batching>,
    /// Milliseconds of a run, and of each of its rows.
    run: f64,
    row: f64,
    /// Milliseconds until an answer is worthless.
    within: u64,
    /// How many priorities there are.
    levels: u64,
}

impl Load {
    fn takes(&self, rows: f64) -> Duration {
        Duration::from_secs_f64((self.run + rows * self.row) / 1e3)
    }

    fn most_rows(&self) -> u64 {
        self.gathers.as_ref().map_or(1, |b| b.max_batch_size)
    }

    /// The most rows that can be answered in a second.
    fn most_per_second(&self) -> f64 {
        let most = self.most_rows() as f64;
        most / self.takes(most).as_secs_f64()
    }
}

/// A model under load.
struct Trial {
    load: Load,
    schedule: Schedule,
    runnable: Arc<Runnable>,
    dice: Dice,
    /// What runs, and until when.
    runs: Option<(Vec<Job>, Instant)>,
    good: u64,
    refused: u64,
    /// Those of them who could have been refused before their bodies were read.
    unread: u64,
}

/// How long it goes on.
const SECONDS: u64 = 4;

impl Trial {
    fn of(load: Load) -> Self {
        let model = Fake::new();
        let mut trial = Self {
            schedule: Schedule::new("model 'm'", limits(), Arc::default()),
            runnable: runnable(&model, load.gathers.clone()),
            dice: Dice(0x1234_5678_9abc_def1),
            runs: None,
            good: 0,
            refused: 0,
            unread: 0,
            load,
        };
        let per_second = trial.load.most_per_second();
        let began = Instant::now();
        let mut now = began;
        let end = now + Duration::from_secs(SECONDS);
        let mut id = 0;
        while now < end {
            id += 1;
            let rows = 1 + trial.dice.roll(trial.load.rows);
            // Ten times as much as can be, at times that chance gives.
            let pause = rows as f64 / per_second / 10.0;
            now += Duration::from_secs_f64(pause * trial.dice.roll(1000) as f64 / 500.0);
            trial.go_on(now);
            trial.arrive(id, rows, now);
        }
        trial
    }

    /// The rows that were answered in time, as a part of the most that can be.
    fn part(&self) -> f64 {
        self.good as f64 / (self.load.most_per_second() * SECONDS as f64)
    }

    fn arrive(&mut self, id: u64, count: u64, now: Instant) {
        let width = 1 + self.dice.roll(self.load.kinds) as usize;
        let level = self.dice.roll(self.load.levels) as usize;
        let inputs = vec![rows(&vec![1; count as usize], width)];
        let mut state = self.schedule.0.state();
        let gathers = self.runnable.gathers_now();
        let job = Job {
            id,
            runnable: Arc::clone(&self.runnable),
            rows: super::rows_of_request(&self.runnable, &inputs).filter(|_| gathers),
            inputs,
            parameters: telling(Default::default()),
            note: None,
            level,
            queued: now,
            deadline: Some(now + Duration::from_millis(self.load.within)),
            latest: None,
            answer: oneshot::channel().0,
        };
        let kind = job.kind();
        let unread = self
            .schedule
            .0
            .admit_unread(&state, &self.runnable, now, job.deadline);
        match self.schedule.0.admit(&state, &job, kind.as_ref()) {
            Ok(begins) => {
                assert!(unread.is_ok(), "{unread:?}, and would be let in");
                state.queue.push(job, kind, begins);
            }
            Err(_) => {
                self.refused += 1;
                self.unread += u64::from(unread.is_err());
            }
        }
        drop(state);
        self.begin(now);
    }

    /// What ends until now is answered, and what waits runs.
    fn go_on(&mut self, now: Instant) {
        while let Some((jobs, end)) = self.runs.take_if(|(_, end)| *end <= now) {
            let mut state = self.schedule.0.state();
            let rows: u64 = jobs.iter().map(Job::size).sum();
            self.runnable
                .paced
                .record(rows, self.load.takes(rows as f64));
            state.busy = 0;
            state.under_way.clear();
            drop(state);
            for job in jobs {
                let in_time = job.deadline.is_some_and(|deadline| end <= deadline);
                self.good += u64::from(in_time) * job.size();
            }
            self.begin(end);
        }
    }

    fn begin(&mut self, now: Instant) {
        if self.runs.is_some() {
            return;
        }
        let mut state = self.schedule.0.state();
        let asking = Asking {
            running: 0,
            was_busy: true,
        };
        while let Next::Run(mut jobs) = state.queue.next(now, asking) {
            jobs.retain(|job| job.deadline.is_some_and(|deadline| deadline > now));
            if !jobs.is_empty() {
                let rows: u64 = jobs.iter().map(Job::size).sum();
                state.busy = 1;
                state.under_way.extend(UnderWay::of(&jobs));
                self.runs = Some((jobs, now + self.load.takes(rows as f64)));
                return;
            }
        }
    }
}

#[tokio::test]
async fn nine_tenths_of_the_most_are_answered_in_time_at_ten_times_the_load() {
    let gathers = || Some(batching(32));
    let load = |kinds, rows, gathers, run, row, within| Load {
        kinds,
        rows,
        gathers,
        run,
        row,
        within,
        levels: 1,
    };
    for (what, load) in [
        ("alone", load(1, 1, None, 5.0, 0.0, 500)),
        ("in batches", load(1, 1, gathers(), 10.0, 1.0, 500)),
        (
            "in batches, in a hurry",
            load(1, 1, gathers(), 10.0, 1.0, 150),
        ),
        ("of several rows", load(1, 8, gathers(), 10.0, 1.0, 500)),
        ("of four kinds", load(4, 1, gathers(), 10.0, 1.0, 500)),
        ("of eight kinds", load(8, 1, gathers(), 10.0, 1.0, 500)),
        ("where rows cost most", load(4, 1, gathers(), 1.0, 1.0, 500)),
        (
            "where runs cost most",
            load(4, 1, gathers(), 20.0, 0.1, 500),
        ),
    ] {
        let trial = Trial::of(load);
        let part = trial.part();
        assert!(part >= 0.9, "{what}: {part:.3}");
        assert!(trial.refused > 0, "{what}: nobody was refused");
        let (unread, refused) = (trial.unread, trial.refused);
        assert!(unread > 0, "{what}: all of {refused} were read");
    }
}

#[tokio::test]
async fn who_is_refused_unread_would_be_refused_when_read() {
    let load = |kinds, rows, gathers, levels| Load {
        kinds,
        rows,
        gathers,
        run: 10.0,
        row: 1.0,
        within: 300,
        levels,
    };
    // Each arrival asserts it. Where all are alike and run alone, the head tells all.
    let trial = Trial::of(load(1, 1, None, 1));
    assert_eq!(trial.unread, trial.refused);
    for levels in [2, 5] {
        for gathers in [None, Some(batching(8)), Some(batching(32))] {
            let trial = Trial::of(load(3, 8, gathers, levels));
            assert!(trial.refused > 0, "{levels}: nobody was refused");
        }
    }
}
