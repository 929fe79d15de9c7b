//! Requests that are run as one.

#![expect(clippy::await_holding_lock, reason = "the gate is what holds runs up")]

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_while_an_instance_is_busy_runs_as_one_batch() {
    let lab = Lab::of(Fake::new(), Some(batching(8)), limits());
    let gate = lab.model.gate.lock().unwrap();
    let first = lab.ask(rows(&[100], 2));
    lab.until_entered(1).await;
    let mut asked = Vec::new();
    for x in 1..=5 {
        asked.push(lab.ask(rows(&[x, x + 10], 2)));
        lab.until_waiting(asked.len()).await;
    }
    drop(gate);
    assert_eq!(first.await.unwrap().unwrap(), [200, 200]);
    for (x, asked) in (1..=5).zip(asked) {
        let (a, b) = (2 * x, 2 * x + 20);
        assert_eq!(asked.await.unwrap().unwrap(), [a, a, b, b]);
    }
    assert_eq!(lab.model.sizes(), [1, 8, 2]);
    assert_eq!(
        lab.model.runs.lock().unwrap()[1],
        [1, 11, 2, 12, 3, 13, 4, 14]
    );
    let statistics = &lab.statistics()[0];
    assert_eq!(
        (statistics.inference_count, statistics.execution_count),
        (11, 3)
    );
    let batches = statistics.batches.iter();
    let mut sizes: Vec<_> = batches
        .map(|b| (b.batch_size, b.compute_infer.count))
        .collect();
    // In the order in which their callers came to account for them.
    sizes.sort_unstable();
    assert_eq!(sizes, [(1, 1), (2, 1), (8, 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_gathered_while_busy_runs_as_one_though_it_is_no_preferred_size() {
    let preferred = Batching {
        max_queue_delay: Duration::from_secs(3600),
        preferred_batch_sizes: vec![8],
        ..batching(32)
    };
    let lab = Lab::of(Fake::new(), Some(preferred), limits());
    let gate = lab.model.gate.lock().unwrap();
    let first = lab.ask(rows(&[0], 1));
    lab.until_entered(1).await;
    let asked: Vec<_> = (1..=12).map(|x| lab.ask(rows(&[x], 1))).collect();
    lab.until_waiting(12).await;
    drop(gate);
    for asked in asked.into_iter().chain([first]) {
        asked.await.unwrap().unwrap();
    }
    assert_eq!(lab.model.sizes(), [1, 12]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_request_gets_its_error_and_the_rest_of_its_batch_their_rows() {
    for (bad, kind) in [
        (POISON, ErrorKind::DoesNotFit),
        (BOMB, ErrorKind::HandlerFailed),
    ] {
        let lab = Lab::of(Fake::new(), Some(batching(8)), limits());
        let gate = lab.model.gate.lock().unwrap();
        let first = lab.ask(rows(&[7], 1));
        lab.until_entered(1).await;
        let mut asked = Vec::new();
        for x in [1, bad, 3] {
            asked.push(lab.ask(rows(&[x], 1)));
            lab.until_waiting(asked.len()).await;
        }
        drop(gate);
        first.await.unwrap().unwrap();
        let mut answers = Vec::new();
        for asked in asked {
            answers.push(asked.await.unwrap());
        }
        assert_eq!(answers[0].as_ref().unwrap(), &[2]);
        assert_eq!(answers[1].as_ref().unwrap_err().kind(), kind);
        assert_eq!(answers[2].as_ref().unwrap(), &[6]);
        assert_eq!(lab.model.sizes(), [1, 3, 1, 2, 1, 1]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_request_does_not_wait_for_the_delay_and_two_run_together_after_it() {
    let delayed = Batching {
        max_queue_delay: Duration::from_secs(3600),
        ..batching(2)
    };
    let lab = Lab::of(Fake::new(), Some(delayed), limits());
    lab.ask(rows(&[1], 1)).await.unwrap().unwrap();
    let delayed = Batching {
        max_queue_delay: Duration::from_millis(30),
        adaptive: false,
        ..batching(8)
    };
    let lab = Lab::of(Fake::new(), Some(delayed), limits());
    let (a, b) = (lab.ask(rows(&[1], 1)), lab.ask(rows(&[2], 1)));
    a.await.unwrap().unwrap();
    b.await.unwrap().unwrap();
    assert_eq!(lab.model.sizes(), [2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_alone_because_another_has_left_waits_for_nobody() {
    let delayed = Batching {
        max_queue_delay: Duration::from_secs(3600),
        ..batching(8)
    };
    let lab = Lab::of(Fake::new(), Some(delayed), limits());
    let gate = lab.model.gate.lock().unwrap();
    let first = lab.ask(rows(&[1], 1));
    lab.until_entered(1).await;
    let (stays, leaves) = (lab.ask(rows(&[2], 1)), lab.ask(rows(&[3], 1)));
    lab.until_waiting(2).await;
    // Long enough that two are better run as one.
    tokio::time::sleep(Duration::from_millis(5)).await;
    drop(gate);
    first.await.unwrap().unwrap();
    // The instance is idle, and the two wait for more.
    while lab.schedule.0.state().busy > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(lab.schedule.waiting(), 2);
    leaves.abort();
    let alone = tokio::time::timeout(Duration::from_secs(60), stays).await;
    let alone = alone.expect("it waits for the delay");
    assert_eq!(alone.unwrap().unwrap(), [4]);
    assert_eq!(lab.model.sizes(), [1, 1]);
}

#[test]
fn a_caller_may_leave_outside_a_runtime() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let delayed = Batching {
        max_queue_delay: Duration::from_secs(3600),
        adaptive: false,
        ..batching(8)
    };
    let lab = Lab::of(Fake::new(), Some(delayed), limits());
    let request = InferRequest::new([rows(&[1], 1)]);
    let mut asked = Box::pin(ask(&lab.dataplane, request, None));
    {
        let _entered = runtime.enter();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(asked.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(lab.schedule.waiting(), 1);
    drop(asked);
    assert_eq!(lab.schedule.waiting(), 0);
}

#[tokio::test]
async fn what_takes_microseconds_goes_the_way_that_it_goes_without_batching() {
    let adaptive = Lab::of(Fake::new(), Some(batching(8)), limits());
    let told = Batching {
        adaptive: false,
        ..batching(8)
    };
    let told = Lab::of(Fake::new(), Some(told), limits());
    for (lab, gathers) in [(&adaptive, false), (&told, true)] {
        let One(_, runnable, _) = &*lab.one;
        assert!(runnable.gathers_now(), "nothing was measured");
        for _ in 0..50 {
            runnable.paced.record(1, Duration::from_micros(4));
        }
        assert_eq!(runnable.gathers_now(), gathers);
    }
}

#[tokio::test]
async fn a_batch_waits_no_longer_than_the_deadlines_of_its_requests_allow() {
    let hour = Batching {
        max_queue_delay: Duration::from_secs(3600),
        adaptive: false,
        ..batching(8)
    };
    // A run and a half is kept in reserve, time enough for a thread that is held up.
    let lab = Lab::of(
        Fake::taking(Duration::from_millis(100)),
        Some(hour),
        limits(),
    );
    let soon = || Some(Instant::now() + Duration::from_millis(800));
    // Nothing is measured yet, then something is.
    for row in [3, 4] {
        let answer = lab.ask_until(rows(&[row], 1), soon()).await.unwrap();
        assert_eq!(answer.unwrap(), [2 * row]);
    }
    // One who can wait is joined by one who can not.
    let patient = lab.ask(rows(&[5], 1));
    lab.until_waiting(1).await;
    let hasty = lab.ask_until(rows(&[6], 1), soon());
    assert_eq!(hasty.await.unwrap().unwrap(), [12]);
    assert_eq!(patient.await.unwrap().unwrap(), [10]);
    assert_eq!(lab.model.sizes(), [1, 1, 2]);
}

/// The runs of a batch of `rows` requests of one row, of which this one is bad.
async fn runs_with_a_bad_one(count: usize, bad: usize) -> Vec<usize> {
    let lab = Lab::of(Fake::new(), Some(batching(32)), limits());
    let gate = lab.model.gate.lock().unwrap();
    let first = lab.ask(rows(&[7], 1));
    lab.until_entered(1).await;
    let mut asked = Vec::new();
    for place in 0..count {
        let row = if place == bad { POISON } else { place as i64 };
        asked.push(lab.ask(rows(&[row], 1)));
        lab.until_waiting(asked.len()).await;
    }
    drop(gate);
    first.await.unwrap().unwrap();
    for (place, asked) in asked.into_iter().enumerate() {
        let answer = asked.await.unwrap();
        match place == bad {
            true => assert_eq!(answer.unwrap_err().kind(), ErrorKind::DoesNotFit),
            false => assert_eq!(answer.unwrap(), [2 * place as i64]),
        }
    }
    lab.model.sizes().split_off(1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_request_costs_its_batch_runs_of_halves_and_not_one_for_each() {
    assert_eq!(runs_with_a_bad_one(8, 5).await, [8, 4, 4, 2, 1, 1, 2]);
    assert_eq!(runs_with_a_bad_one(32, 0).await.len(), 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_fail_say_nothing_about_the_pace_of_the_model() {
    let lab = Lab::of(Fake::taking(Duration::from_millis(20)), None, limits());
    let pace = || lab.paced().pace().run(1);
    lab.ask(rows(&[POISON], 1)).await.unwrap().unwrap_err();
    assert_eq!(pace(), Duration::ZERO);
    lab.ask(rows(&[1], 1)).await.unwrap().unwrap();
    // Once it is put down, which is after the answer.
    while pace().is_zero() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(pace() >= Duration::from_millis(20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_without_elements_say_nothing_about_the_pace_of_the_model() {
    let lab = Lab::of(
        Fake::taking(Duration::from_millis(20)),
        Some(batching(8)),
        limits(),
    );
    for empty in [rows(&[], 1), rows(&[1], 0)] {
        lab.ask(empty).await.unwrap().unwrap();
        while lab.schedule.0.state().busy > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(lab.paced().pace().run(1), Duration::ZERO);
    }
    assert_eq!(lab.model.sizes(), [0, 0], "they did not run");
}

#[tokio::test]
async fn a_request_beyond_the_most_rows_of_a_batch_is_not_what_runs_usually_take() {
    let lab = Lab::of(Fake::new(), Some(batching(8)), limits());
    let (usual, long) = (Duration::from_millis(2), Duration::from_secs(2));
    lab.paced().record(1, usual);
    lab.paced().record(10_000, long);
    assert_eq!(lab.paced().pace().run(1), usual);
    assert_eq!(lab.paced().pace().run(10_000), long);
}
