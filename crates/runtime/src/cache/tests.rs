use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use oip_protocol::Error;

use super::*;

fn request(x: i32) -> InferRequest {
    InferRequest::new([Tensor::from_vec("x", [1], vec![x]).unwrap()])
}

fn cache(max_bytes: usize, ttl: Option<Duration>) -> Cache {
    Answers::default().of_version(&CacheSettings { max_bytes, ttl })
}

/// Asks, doubling in `runs` runs.
async fn ask(cache: &Cache, request: InferRequest, runs: &AtomicUsize) -> (Lookup, i32) {
    let (lookup, answer) = cache
        .answer(request, 0, async |request| {
            runs.fetch_add(1, SeqCst);
            let x = request.inputs[0].to_slice::<i32>()?[0];
            Ok(vec![Tensor::from_vec("y", [1], vec![2 * x])?])
        })
        .await;
    (lookup, answer.unwrap()[0].to_slice::<i32>().unwrap()[0])
}

#[tokio::test]
async fn a_request_that_is_the_same_does_not_run_again() {
    let (cache, runs) = (cache(1 << 20, None), AtomicUsize::new(0));
    assert_eq!(ask(&cache, request(3), &runs).await, (Lookup::Miss, 6));
    assert_eq!(ask(&cache, request(3), &runs).await, (Lookup::Hit, 6));
    assert_eq!(ask(&cache, request(4), &runs).await, (Lookup::Miss, 8));
    let mut other = request(3);
    other.parameters.insert("temperature", 1_i64);
    assert_eq!(ask(&cache, other, &runs).await.0, Lookup::Miss);
    let mut same = request(3);
    same.parameters.insert("timeout", 1_i64);
    assert_eq!(ask(&cache, same, &runs).await.0, Lookup::Hit);
    assert_eq!(runs.load(SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_good_for_its_time_only() {
    let ttl = Some(Duration::from_secs(10));
    let (cache, runs) = (cache(1 << 20, ttl), AtomicUsize::new(0));
    ask(&cache, request(3), &runs).await;
    tokio::time::advance(Duration::from_secs(9)).await;
    assert_eq!(ask(&cache, request(3), &runs).await.0, Lookup::Hit);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(ask(&cache, request(3), &runs).await.0, Lookup::Miss);
}

#[tokio::test]
async fn what_was_used_longest_ago_goes_when_the_bytes_are_full() {
    let (cache, runs) = (cache(3000, None), AtomicUsize::new(0));
    for x in [1, 2, 3] {
        ask(&cache, request(x), &runs).await;
    }
    assert_eq!(ask(&cache, request(1), &runs).await.0, Lookup::Hit);
    for x in [4, 5, 6, 7] {
        ask(&cache, request(x), &runs).await;
        assert_eq!(ask(&cache, request(1), &runs).await.0, Lookup::Hit);
        assert!(cache.answers.store().bytes() <= 3000);
    }
    assert_eq!(ask(&cache, request(2), &runs).await.0, Lookup::Miss);
    let (small, runs) = (self::cache(100, None), AtomicUsize::new(0));
    ask(&small, request(1), &runs).await;
    assert_eq!(ask(&small, request(1), &runs).await.0, Lookup::Miss);
}

#[tokio::test]
async fn of_requests_that_are_the_same_at_once_one_runs() {
    let (cache, runs) = (
        Arc::new(cache(1 << 20, None)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (cache, runs) = (Arc::clone(&cache), Arc::clone(&runs));
        asked.spawn(async move {
            let answer = cache.answer(request(3), 0, async |_| {
                runs.fetch_add(1, SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(vec![Tensor::from_vec("y", [1], vec![6]).unwrap()])
            });
            answer.await.1.unwrap()
        });
    }
    assert_eq!(asked.join_all().await.len(), 50);
    assert_eq!(runs.load(SeqCst), 1);
}

#[tokio::test]
async fn one_who_waits_takes_the_place_of_a_run_that_fails_or_is_left() {
    let cache = Arc::new(cache(1 << 20, None));
    let fails = async |_| {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Err(Error::does_not_fit("no"))
    };
    let runs = AtomicUsize::new(0);
    let first = cache.answer(request(3), 0, fails);
    let ((_, failed), second) = tokio::join!(first, ask(&cache, request(3), &runs));
    assert!(failed.is_err());
    assert_eq!((second, runs.load(SeqCst)), ((Lookup::Miss, 6), 1));
    // The failure is not kept; the answer of the second, which took its place, is.
    assert_eq!(ask(&cache, request(3), &runs).await, (Lookup::Hit, 6));
    let leaves = {
        let cache = Arc::clone(&cache);
        tokio::spawn(async move {
            let never = cache.answer(request(5), 0, async |_| std::future::pending().await);
            let _ = never.await;
        })
    };
    tokio::task::yield_now().await;
    let waits = {
        let cache = Arc::clone(&cache);
        tokio::spawn(async move { ask(&cache, request(5), &AtomicUsize::new(0)).await })
    };
    tokio::task::yield_now().await;
    leaves.abort();
    assert_eq!(waits.await.unwrap(), (Lookup::Miss, 10));
}

/// A run that ends when it is told to.
async fn until(told: tokio::sync::oneshot::Receiver<i32>) -> Result<Vec<Tensor>> {
    let answer = told.await.map_err(|_| Error::does_not_fit("no"))?;
    Ok(vec![Tensor::from_vec("y", [1], vec![answer])?])
}

/// Asks on a task of its own, and begins to.
async fn begin(
    cache: &Arc<Cache>,
    level: usize,
    told: tokio::sync::oneshot::Receiver<i32>,
) -> tokio::task::JoinHandle<(Lookup, Option<i32>)> {
    let cache = Arc::clone(cache);
    let asked = tokio::spawn(async move {
        let answer = cache.answer(request(3), level, |_| until(told));
        let answer = tokio::time::timeout(Duration::from_secs(10), answer).await;
        let (lookup, answer) = answer.unwrap();
        let answer = answer.ok();
        (
            lookup,
            answer.map(|answer| answer[0].to_slice().unwrap()[0]),
        )
    });
    tokio::task::yield_now().await;
    asked
}

#[tokio::test]
async fn one_of_a_higher_priority_does_not_wait_for_a_run_of_a_lower_one() {
    let cache = Arc::new(cache(1 << 20, None));
    let told = tokio::sync::oneshot::channel;
    let ([low, high], [low_runs, high_runs]) = {
        let (a, b) = (told(), told());
        ([a.0, b.0], [a.1, b.1])
    };
    let low_leads = begin(&cache, 2, low_runs).await;
    let low_waits = begin(&cache, 2, told().1).await;
    let high_leads = begin(&cache, 0, high_runs).await;
    let between_waits = begin(&cache, 1, told().1).await;
    high.send(7).unwrap();
    assert_eq!(high_leads.await.unwrap(), (Lookup::Miss, Some(7)));
    // All who wait have the first answer, whatever they waited for.
    assert_eq!(between_waits.await.unwrap(), (Lookup::Hit, Some(7)));
    assert_eq!(low_waits.await.unwrap(), (Lookup::Hit, Some(7)));
    low.send(8).unwrap();
    assert_eq!(low_leads.await.unwrap(), (Lookup::Miss, Some(8)));
    assert!(cache.answers.store().flights() == 0);
}

#[tokio::test]
async fn where_the_run_of_the_higher_priority_fails_those_below_wait_on() {
    let cache = Arc::new(cache(1 << 20, None));
    let (low, low_runs) = tokio::sync::oneshot::channel();
    let (high, high_runs) = tokio::sync::oneshot::channel();
    let low_leads = begin(&cache, 2, low_runs).await;
    let low_waits = begin(&cache, 2, tokio::sync::oneshot::channel().1).await;
    let high_leads = begin(&cache, 0, high_runs).await;
    drop(high);
    assert_eq!(high_leads.await.unwrap(), (Lookup::Miss, None));
    low.send(8).unwrap();
    assert_eq!(low_leads.await.unwrap(), (Lookup::Miss, Some(8)));
    assert_eq!(low_waits.await.unwrap(), (Lookup::Hit, Some(8)));
    assert!(cache.answers.store().flights() == 0);
}

/// A large request that ends in this byte.
fn large(last: u8) -> InferRequest {
    let mut elements = vec![7; LARGE];
    elements.push(last);
    let input = Tensor::from_vec("x", [elements.len() as u64], elements);
    InferRequest::new([input.unwrap()])
}

#[tokio::test]
async fn large_requests_are_looked_up_off_the_serving_thread() {
    let cache = cache(1 << 24, None);
    let run = async |request: InferRequest| Ok(request.inputs);
    for (request, at_once) in [(request(3), true), (large(0), false)] {
        let mut answer = std::pin::pin!(cache.answer(request, 0, run));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert_eq!(answer.as_mut().poll(&mut context).is_ready(), at_once);
    }
    for (last, lookup) in [
        (1, Lookup::Miss),
        (2, Lookup::Miss),
        (1, Lookup::Hit),
        (2, Lookup::Hit),
    ] {
        let (found, answer) = cache.answer(large(last), 0, run).await;
        assert_eq!(found, lookup);
        assert_eq!(answer.unwrap(), large(last).inputs);
    }
}

#[tokio::test]
async fn large_requests_are_looked_up_and_kept_in_turn() {
    let cache = cache(1 << 24, None);
    let run = async |request: InferRequest| Ok(request.inputs);
    let turns = blocking::occupied().await.unwrap();
    assert_eq!(cache.answer(request(3), 0, run).await.0, Lookup::Miss);
    let mut answer = std::pin::pin!(cache.answer(large(1), 0, run));
    let soon = tokio::time::timeout(Duration::from_millis(50), answer.as_mut()).await;
    assert!(soon.is_err(), "it was looked up");
    drop(turns);
    assert_eq!(answer.await.0, Lookup::Miss);
}

#[tokio::test]
async fn an_answer_that_lands_when_its_version_is_gone_is_not_kept() {
    let answers = Answers::default();
    let cache = answers.of_version(&CacheSettings {
        max_bytes: 1 << 24,
        ttl: None,
    });
    let mut turns = None;
    let run = async |request: InferRequest| {
        turns = Some(blocking::occupied().await.unwrap());
        Ok(request.inputs)
    };
    cache.answer(large(1), 0, run).await.1.unwrap();
    drop(cache);
    assert_eq!(answers.store().flights(), 1, "it landed out of turn");
    drop(turns);
    let landed = async {
        while answers.store().flights() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let landed = tokio::time::timeout(Duration::from_secs(30), landed).await;
    landed.expect("it never lands");
    let store = answers.store();
    assert_eq!((store.bytes(), store.len()), (0, 0));
}

#[tokio::test]
async fn one_who_leaves_while_a_large_request_is_looked_up_leads_nobody() {
    let cache = Arc::new(cache(1 << 24, None));
    for _ in 0..20 {
        let leaves = {
            let cache = Arc::clone(&cache);
            let never = async |_| std::future::pending().await;
            tokio::spawn(async move { cache.answer(large(1), 0, never).await.0 })
        };
        tokio::task::yield_now().await;
        leaves.abort();
        assert!(leaves.await.is_err());
    }
    let run = async |request: InferRequest| Ok(request.inputs);
    let answer = cache.answer(large(1), 0, run);
    let answer = tokio::time::timeout(Duration::from_secs(30), answer).await;
    assert_eq!(answer.unwrap().0, Lookup::Miss);
}

#[tokio::test]
async fn what_is_kept_holds_no_body() {
    let cache = cache(1 << 20, None);
    let body = Bytes::from(vec![7_u8; 1 << 16]);
    let input = Tensor::new("x", oip_protocol::Datatype::Uint8, [4], body.slice(8..12)).unwrap();
    let answer = async |request: InferRequest| Ok(request.inputs);
    let _ = cache.answer(InferRequest::new([input]), 0, answer).await;
    assert!(cache.answers.store().bytes() < 2000);
    assert!(body.is_unique(), "a slice of the body is kept");
}

#[tokio::test]
async fn of_many_who_wait_for_a_run_that_fails_one_runs_at_a_time() {
    let cache = cache(1 << 20, None);
    let (running, most, runs) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let run = async |_| {
        most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
        tokio::time::sleep(Duration::from_millis(1)).await;
        running.fetch_sub(1, SeqCst);
        // The third run is the first that succeeds.
        match runs.fetch_add(1, SeqCst) {
            0 | 1 => Err(Error::does_not_fit("no")),
            _ => Ok(vec![Tensor::from_vec("y", [1], vec![6]).unwrap()]),
        }
    };
    let ask = async || cache.answer(request(3), 0, run).await.1.is_ok();
    let (a, b, c, d, e) = tokio::join!(ask(), ask(), ask(), ask(), ask());
    let answered = [a, b, c, d, e].iter().filter(|ok| **ok).count();
    assert_eq!((answered, runs.load(SeqCst), most.load(SeqCst)), (3, 3, 1));
}

#[tokio::test]
async fn names_and_parameters_of_requests_tensors_and_answers_count() {
    let long = "v".repeat(1000);
    let with = |name: &str, value: &str| Parameters::from_iter([(name, value)]);
    let plain = || Tensor::from_vec("x", [1], vec![1_i32]).unwrap();
    let bytes_of = async |request: InferRequest, output: Tensor| {
        let cache = cache(1 << 20, None);
        let answer = cache.answer(request, 0, async |_| Ok(vec![output.clone()]));
        answer.await.1.unwrap();
        cache.answers.store().bytes()
    };
    let least = bytes_of(InferRequest::new([plain()]), plain()).await;
    let mut of_request = InferRequest::new([plain()]);
    of_request.parameters = with("p", &long);
    let mut named = InferRequest::new([plain()]);
    named.parameters = with(&long, "p");
    let of_input = InferRequest::new([plain().with_parameters(with("p", &long))]);
    let of_output = plain().with_parameters(with(&long, "p"));
    let called = InferRequest::new([plain().with_name(long.as_str())]);
    for (request, output) in [
        (of_request, plain()),
        (named, plain()),
        (of_input, plain()),
        (called, plain()),
        (InferRequest::new([plain()]), of_output),
    ] {
        let bytes = bytes_of(request, output).await;
        assert!(bytes >= least + 999, "{bytes} bytes, {least} without");
    }
}

#[tokio::test]
async fn many_requests_with_large_parameters_stay_within_the_bytes() {
    let (cache, runs) = (cache(1 << 16, None), AtomicUsize::new(0));
    for x in 0..100_i32 {
        let mut large = request(x);
        large.parameters.insert("p", "v".repeat(10_000).as_str());
        ask(&cache, large, &runs).await;
        let store = cache.answers.store();
        assert!(store.bytes() <= 1 << 16 && store.len() <= 6);
    }
    // Too large to be kept at all.
    let mut large = request(1);
    large.parameters.insert("p", "v".repeat(1 << 17).as_str());
    let kept = cache.answers.store().len();
    ask(&cache, large, &runs).await;
    assert_eq!(cache.answers.store().len(), kept);
}

#[tokio::test]
async fn the_versions_of_a_model_share_its_bytes_and_take_theirs_along() {
    let answers = Answers::default();
    let settings = CacheSettings {
        max_bytes: 3000,
        ttl: None,
    };
    let (one, two) = (answers.of_version(&settings), answers.of_version(&settings));
    let runs = AtomicUsize::new(0);
    ask(&one, request(1), &runs).await;
    assert_eq!(ask(&two, request(1), &runs).await.0, Lookup::Miss);
    for x in 2..8 {
        ask(&one, request(x), &runs).await;
        ask(&two, request(x), &runs).await;
        assert!(answers.store().bytes() <= 3000);
    }
    assert_eq!(ask(&two, request(7), &runs).await.0, Lookup::Hit);
    let before = answers.store().bytes();
    drop(one);
    assert!(answers.store().bytes() < before);
    assert_eq!(ask(&two, request(7), &runs).await.0, Lookup::Hit);
    drop(two);
    let store = answers.store();
    assert_eq!((store.bytes(), store.len()), (0, 0));
}
