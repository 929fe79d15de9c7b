//! Who is let in, and whose deadline is over.

#![expect(clippy::await_holding_lock, reason = "the gate is what holds runs up")]

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_its_deadline_in_the_queue_a_request_is_answered_and_never_runs() {
    let lab = Lab::of(Fake::new(), Some(batching(8)), limits());
    let gate = lab.model.gate.lock().unwrap();
    let first = lab.ask(rows(&[1], 1));
    lab.until_entered(1).await;
    let soon = Instant::now() + Duration::from_millis(20);
    let late = lab.ask_until(rows(&[2], 1), Some(soon));
    let stays = lab.ask(rows(&[3], 1));
    let error = late.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    lab.until_waiting(1).await;
    drop(gate);
    first.await.unwrap().unwrap();
    stays.await.unwrap().unwrap();
    assert_eq!(*lab.model.runs.lock().unwrap(), [vec![1], vec![3]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_parameter_timeout_is_a_deadline_in_microseconds() {
    let lab = Lab::of(Fake::new(), None, limits());
    let gate = lab.model.gate.lock().unwrap();
    let first = lab.ask(rows(&[1], 1));
    lab.until_entered(1).await;
    let mut request = InferRequest::new([rows(&[2], 1)]);
    request.parameters.insert("timeout", 20_000_u64);
    let began = Instant::now();
    let error = ask(&lab.dataplane, request, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(began.elapsed() < Duration::from_secs(5));
    drop(gate);
    first.await.unwrap().unwrap();
    assert_eq!(lab.model.sizes(), [1]);
    let mut request = InferRequest::new([rows(&[2], 1)]);
    request.parameters.insert("timeout", "soon".to_owned());
    let error = ask(&lab.dataplane, request, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_would_outlast_the_deadline_is_refused_at_once() {
    let lab = Lab::of(Fake::taking(Duration::from_millis(100)), None, limits());
    lab.ask(rows(&[1], 1)).await.unwrap().unwrap();
    let gate = lab.model.gate.lock().unwrap();
    let running = lab.ask(rows(&[1], 1));
    lab.until_entered(2).await;
    let waits: Vec<_> = (0..25).map(|x| lab.ask(rows(&[x], 1))).collect();
    lab.until_waiting(25).await;
    let began = Instant::now();
    let in_a_second = Some(Instant::now() + Duration::from_secs(1));
    let error = lab.ask_until(rows(&[9], 1), in_a_second).await.unwrap();
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManyRequests);
    assert!(
        error.message().starts_with("model 'm' is overloaded"),
        "{error}"
    );
    // 25 runs of 0.1 s and half a one.
    assert_eq!(error.retry_after_seconds(), Some(3));
    assert!(began.elapsed() < Duration::from_millis(500));
    // As much is known before the body is read.
    let unread = lab.refuse_unread(in_a_second).unwrap_err();
    assert!(unread.message().starts_with("model 'm' is overloaded"));
    assert_eq!(unread.retry_after_seconds(), Some(3));
    // Whoever has the time is let in.
    assert!(lab.refuse_unread(None).is_ok());
    let patient = Some(Instant::now() + Duration::from_secs(60));
    let patient = lab.ask_until(rows(&[9], 1), patient);
    lab.until_waiting(26).await;
    lab.schedule.limit(Limits {
        max_time: Some(Duration::from_secs(1)),
        ..limits()
    });
    let error = lab.ask(rows(&[9], 1)).await.unwrap().unwrap_err();
    let unread = lab.refuse_unread(None).unwrap_err();
    for error in [error, unread] {
        let told = error.message();
        assert!(told.contains("the wait that is allowed"), "{error}");
    }
    lab.schedule.limit(Limits {
        instances: 20,
        ..limits()
    });
    drop(gate);
    for asked in waits.into_iter().chain([running, patient]) {
        asked.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_and_says_when_to_come_back() {
    let lab = Lab::of(
        Fake::new(),
        Some(batching(8)),
        Limits {
            queue: 2,
            ..limits()
        },
    );
    let gate = lab.model.gate.lock().unwrap();
    let first = lab.ask(rows(&[1], 1));
    lab.until_entered(1).await;
    let waits = [lab.ask(rows(&[2], 1)), lab.ask(rows(&[3], 1))];
    lab.until_waiting(2).await;
    let error = lab.ask(rows(&[4], 1)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManyRequests);
    assert_eq!(
        error.message(),
        "the queue of model 'm' is full: 2 requests wait already"
    );
    assert_eq!(error.retry_after_seconds(), Some(1));
    drop(gate);
    for asked in waits.into_iter().chain([first]) {
        asked.await.unwrap().unwrap();
    }
}

/// The error of a request that is refused because the queue is full.
async fn refused(asked: tokio::task::JoinHandle<Result<Vec<i64>>>) -> String {
    let error = asked.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManyRequests);
    assert_eq!(error.retry_after_seconds(), Some(1));
    error.message().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_one_of_a_full_queue_gives_way_to_a_higher_priority_and_to_no_other() {
    let levels = Limits {
        queue: 2,
        levels: 3,
        default_level: 2,
        ..limits()
    };
    let lab = Lab::of(Fake::new(), None, levels);
    let ask = |x: i64, priority: u64| {
        let dataplane = Arc::clone(&lab.dataplane);
        let mut request = InferRequest::new([rows(&[x], 1)]);
        request.parameters.insert("priority", priority);
        tokio::spawn(async move { ask(&dataplane, request, None).await })
    };
    let gate = lab.model.gate.lock().unwrap();
    let first = ask(0, 2);
    lab.until_entered(1).await;
    let mut waits = Vec::new();
    for x in [1, 2] {
        waits.push(ask(x, 2));
        lab.until_waiting(waits.len()).await;
    }
    // Before the body is read nobody knows its priority.
    assert!(lab.refuse_unread(None).is_ok());
    for priority in [2, 3] {
        let full = "the queue of model 'm' is full: 2 requests wait already";
        assert_eq!(refused(ask(9, priority)).await, full);
    }
    // One gives way to one: the last.
    for (x, gives_way) in [(3, waits.pop().unwrap()), (4, waits.pop().unwrap())] {
        waits.insert(0, ask(x, 1));
        let gave_way = "the queue of model 'm' is full, and a request of a higher priority has \
                        taken the last place";
        assert_eq!(refused(gives_way).await, gave_way);
        assert_eq!(lab.schedule.waiting(), 2);
    }
    assert!(lab.refuse_unread(None).is_err(), "nobody gives way now");
    assert!(refused(ask(9, 1)).await.contains("2 requests wait already"));
    drop(gate);
    for asked in waits.into_iter().chain([first]) {
        asked.await.unwrap().unwrap();
    }
    let order: Vec<i64> = lab.model.runs.lock().unwrap().concat();
    assert_eq!(order, [0, 3, 4]);
}

/// One kind of request waits for others for so long, though nothing runs.
fn waiting_for(delay: Duration) -> Batching {
    Batching {
        max_queue_delay: delay,
        adaptive: false,
        ..batching(8)
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_deadline_that_is_over_is_told_so_and_not_called_overload() {
    let lab = Lab::of(Fake::new(), Some(waiting_for(HOUR)), limits());
    let waits = lab.ask(rows(&[1], 1));
    lab.until_waiting(1).await;
    let took = Duration::from_millis(100);
    lab.paced().record(1, took);
    let idle = Lab::of(Fake::new(), None, limits());
    for lab in [&lab, &idle] {
        let error = lab.ask_until(rows(&[2], 1), Some(Instant::now()));
        let error = error.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    }
    waits.abort();
}

#[tokio::test]
async fn short_times_are_told_in_microseconds() {
    let lab = Lab::of(Fake::new(), Some(waiting_for(HOUR)), limits());
    let job = lab.job(Duration::from_micros(900));
    let mut state = lab.schedule.0.state();
    state.busy = 1;
    state
        .under_way
        .extend(UnderWay::of(std::slice::from_ref(&job)));
    lab.paced().record(1, Duration::from_millis(3));
    let error = lab.schedule.0.admit(&state, &job, None).unwrap_err();
    drop(state);
    assert_eq!(
        error.message(),
        "model 'm' is overloaded: the wait is expected to take 1 ms and a run 3 ms, beyond the \
         time that is left (900 µs)"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_batch_waits_for_its_delay_an_idle_instance_takes_who_comes_in_a_hurry() {
    let lab = Lab::of(
        Fake::taking(Duration::from_millis(100)),
        Some(waiting_for(HOUR)),
        limits(),
    );
    // A run of 100 ms was measured: beyond what is left of 120 ms, were there a wait.
    let state = || lab.schedule.0.state();
    lab.paced().record(1, Duration::from_millis(100));
    let waits = lab.ask(rows(&[1], 1));
    lab.until_waiting(1).await;
    let job = lab.job(Duration::from_millis(120));
    let kind = job.kind();
    assert!(lab.schedule.0.admit(&state(), &job, kind.as_ref()).is_ok());
    assert!(lab.refuse_unread(job.deadline).is_ok());
    // One of another kind would be a second run, for which no instance is left.
    let error = lab.schedule.0.admit(&state(), &job, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManyRequests);
    waits.abort();
}

#[tokio::test]
async fn the_queue_is_full_only_beyond_what_idle_instances_take() {
    let lab = Lab::of(
        Fake::new(),
        Some(waiting_for(HOUR)),
        Limits {
            instances: 3,
            queue: 0,
            ..limits()
        },
    );
    let mut waits = Vec::new();
    for count in 1..=3 {
        assert!(lab.refuse_unread(None).is_ok(), "{count}");
        waits.push(lab.ask(rows(&[1], 1)));
        lab.until_waiting(count).await;
    }
    assert!(lab.refuse_unread(None).is_err());
    let error = lab.ask(rows(&[1], 1)).await.unwrap().unwrap_err();
    assert!(
        error
            .message()
            .starts_with("the queue of model 'm' is full")
    );
    for waits in waits {
        waits.abort();
    }
}

#[tokio::test]
async fn how_fast_one_version_runs_says_nothing_about_another() {
    let lab = Lab::of(Fake::new(), Some(batching(8)), limits());
    let slow = runnable(&Fake::new(), Some(batching(8)));
    lab.paced().record(1, Duration::from_micros(4));
    slow.paced.record(1, Duration::from_secs(10));
    assert!(slow.gathers_now() && !lab.one.1.gathers_now());
    let second = Duration::from_secs(1);
    let of_slow = || Job {
        runnable: Arc::clone(&slow),
        ..lab.job(second)
    };
    let mut state = lab.schedule.0.state();
    state.busy = 1;
    state.under_way.extend(UnderWay::of(&[lab.job(second)]));
    let admit = |state: &State, job: Job| lab.schedule.0.admit(state, &job, None).is_ok();
    let unread = |state: &State, runnable| {
        let deadline = Some(Instant::now() + second);
        let unread = lab
            .schedule
            .0
            .admit_unread(state, runnable, Instant::now(), deadline);
        unread.is_ok()
    };
    assert!(admit(&state, lab.job(second)) && unread(&state, &lab.one.1));
    assert!(!admit(&state, of_slow()) && !unread(&state, &slow));
    // Whoever waits behind a run waits as long as that takes, whosever it is.
    state.queue.push(of_slow(), None, Instant::now());
    assert!(!admit(&state, lab.job(second)) && !unread(&state, &lab.one.1));
    state.queue.remove(u64::MAX);
    assert!(admit(&state, lab.job(second)));
    state.under_way = UnderWay::of(&[of_slow()]).into_iter().collect();
    assert!(!admit(&state, lab.job(second)) && !unread(&state, &lab.one.1));
}
