#![expect(clippy::await_holding_lock, reason = "the gate is what holds runs up")]

use std::sync::atomic::Ordering::SeqCst;

use oip_core::access::actions;
use oip_core::{Access, Arrival, BoxFuture, Dataplane, Models, ResolvedModel};
use oip_protocol::{ErrorKind, InferResponse, ModelMetadata, ModelRef, RepositoryEntry, Tensor};

use super::fake::{BOMB, Fake, POISON, batching, rows, runnable};
use super::job::rows as rows_of_request;
use super::*;
use crate::settings::Batching;

mod overload;
mod stress;

/// One fake model behind the pipeline.
struct Lab {
    model: Arc<Fake>,
    schedule: Schedule,
    dataplane: Arc<Dataplane>,
    one: Arc<One>,
}

struct One(Schedule, Arc<Runnable>, ModelMetadata);

impl ResolvedModel for One {
    fn version(&self) -> Option<&str> {
        Some("1")
    }

    fn metadata(&self) -> Option<&ModelMetadata> {
        Some(&self.2)
    }

    fn infer<'a>(
        &'a self,
        request: InferRequest,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<InferResponse>> {
        Box::pin(async move {
            let ran = self.0.run(&self.1, request, call).await?;
            if let Some(batch) = ran.batch {
                call.timings().set_batch(batch, ran.leads);
            }
            Ok(InferResponse::new(ran.outputs))
        })
    }
}

struct Only(Arc<One>);

impl Models for Only {
    fn start(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn all_ready(&self) -> BoxFuture<'_, bool> {
        Box::pin(async { true })
    }

    fn resolve<'a>(&'a self, _: &'a ModelRef) -> BoxFuture<'a, Result<Arc<dyn ResolvedModel>>> {
        let one: Arc<dyn ResolvedModel> = Arc::<One>::clone(&self.0);
        Box::pin(async { Ok(one) })
    }

    fn metadata<'a>(&'a self, _: &'a ModelRef) -> BoxFuture<'a, Result<ModelMetadata>> {
        Box::pin(async { Ok(self.0.2.clone()) })
    }

    fn ready<'a>(&'a self, _: &'a ModelRef) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async { Ok(true) })
    }

    fn load<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn unload<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn index(&self) -> BoxFuture<'_, Result<Vec<RepositoryEntry>>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

fn limits() -> Limits {
    Limits {
        instances: 1,
        queue: 1000,
        max_time: None,
        levels: 1,
        default_level: 1,
    }
}

impl Lab {
    fn of(model: Arc<Fake>, gathers: Option<Batching>, limits: Limits) -> Self {
        let runnable = runnable(&model, gathers);
        let metadata = ModelMetadata {
            name: "m".to_owned(),
            inputs: runnable.model.inputs().to_vec(),
            outputs: runnable.model.outputs().to_vec(),
            ..ModelMetadata::default()
        };
        let schedule = Schedule::new("model 'm'", limits);
        let one = Arc::new(One(schedule.clone(), runnable, metadata));
        let models = Arc::new(Only(Arc::clone(&one)));
        let dataplane = Dataplane::new(models, Access::open(), oip_core::Limits::default());
        Self {
            model,
            schedule,
            dataplane: Arc::new(dataplane),
            one,
        }
    }

    /// Asks on a task of its own.
    fn ask(&self, input: Tensor) -> tokio::task::JoinHandle<Result<Vec<i64>>> {
        self.ask_until(input, None)
    }

    fn ask_until(
        &self,
        input: Tensor,
        deadline: Option<Instant>,
    ) -> tokio::task::JoinHandle<Result<Vec<i64>>> {
        let dataplane = Arc::clone(&self.dataplane);
        let request = InferRequest::new([input]);
        tokio::spawn(async move { ask(&dataplane, request, deadline).await })
    }

    /// Waits until so many requests wait in the queue.
    async fn until_waiting(&self, count: usize) {
        while self.schedule.waiting() != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn until_entered(&self, count: usize) {
        while self.model.entered.load(SeqCst) < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn statistics(&self) -> Vec<oip_protocol::ModelStatistics> {
        let runtime = async {
            let caller = self.dataplane.authenticate(Arrival::default()).await?;
            let permit = self
                .dataplane
                .authorize::<actions::Metrics>(&caller)
                .await?;
            let figures = self.dataplane.metrics(permit).await?;
            let models = figures.models.into_iter();
            Ok::<_, oip_protocol::Error>(models.map(|model| model.statistics).collect())
        };
        futures_now(runtime).unwrap()
    }
}

/// The result of a future that does not wait.
fn futures_now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

async fn ask(
    dataplane: &Dataplane,
    request: InferRequest,
    deadline: Option<Instant>,
) -> Result<Vec<i64>> {
    let caller = dataplane.authenticate(Arrival::default()).await?;
    let permit = dataplane
        .authorize_model::<actions::Infer>(&caller, ModelRef::new("m"))
        .await?;
    let response = dataplane.infer(permit, request, deadline).await?;
    Ok(response.outputs[0].to_slice::<i64>()?.into_owned())
}

#[tokio::test]
async fn a_model_notes_of_a_request_what_it_wants_where_it_runs_for_one_caller() {
    async fn noted(gathers: Option<Batching>, kept: bool) -> Vec<String> {
        let model = Fake::new();
        let lab = Lab::of(Arc::clone(&model), gathers.clone(), limits());
        let runnable = Arc::new(Runnable {
            model: Arc::clone(&model) as Arc<dyn crate::model::Model>,
            gathers,
            kept,
        });
        let one = One(lab.schedule.clone(), runnable, lab.one.2.clone());
        let models = Arc::new(Only(Arc::new(one)));
        let dataplane = Dataplane::new(models, Access::open(), oip_core::Limits::default());
        let mut request = InferRequest::new([rows(&[7], 1)]);
        request.id = Some("a request".to_owned());
        let answer = ask(&Arc::new(dataplane), request, None).await;
        assert_eq!(answer.unwrap(), [14]);
        model.noted.lock().unwrap().clone()
    }
    assert_eq!(noted(None, false).await, ["a request"]);
    assert!(noted(None, true).await.is_empty());
    assert!(noted(Some(batching(8)), false).await.is_empty());
}

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
        assert_eq!(lab.model.sizes(), [1, 3, 1, 1, 1]);
    }
}

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
async fn a_request_whose_caller_leaves_is_out_of_the_queue_at_once() {
    let lab = Lab::of(Fake::new(), Some(batching(8)), limits());
    let gate = lab.model.gate.lock().unwrap();
    let first = lab.ask(rows(&[1], 1));
    lab.until_entered(1).await;
    let leaves = lab.ask(rows(&[2], 1));
    lab.until_waiting(1).await;
    leaves.abort();
    lab.until_waiting(0).await;
    drop(gate);
    first.await.unwrap().unwrap();
    assert_eq!(lab.model.sizes(), [1]);
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
async fn instances_run_side_by_side_and_no_more_than_there_are() {
    let three = Limits {
        instances: 3,
        ..limits()
    };
    let lab = Lab::of(Fake::new(), None, three);
    let gate = lab.model.gate.lock().unwrap();
    let asked: Vec<_> = (0..5).map(|x| lab.ask(rows(&[x], 1))).collect();
    lab.until_entered(3).await;
    lab.until_waiting(2).await;
    assert_eq!(lab.model.entered.load(SeqCst), 3);
    drop(gate);
    for asked in asked {
        asked.await.unwrap().unwrap();
    }
    assert_eq!(lab.model.sizes(), [1; 5]);
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
    // Whoever has the time is let in.
    let patient = Some(Instant::now() + Duration::from_secs(60));
    let patient = lab.ask_until(rows(&[9], 1), patient);
    lab.until_waiting(26).await;
    lab.schedule.limit(Limits {
        max_time: Some(Duration::from_secs(1)),
        ..limits()
    });
    let error = lab.ask(rows(&[9], 1)).await.unwrap().unwrap_err();
    assert!(
        error.message().contains("the wait that is allowed"),
        "{error}"
    );
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_a_higher_priority_overtakes() {
    let levels = Limits {
        levels: 3,
        default_level: 2,
        ..limits()
    };
    let lab = Lab::of(Fake::new(), None, levels);
    let gate = lab.model.gate.lock().unwrap();
    let first = lab.ask(rows(&[0], 1));
    lab.until_entered(1).await;
    let mut asked = Vec::new();
    for (x, priority) in [(1, 9_u64), (2, 0), (3, 1)] {
        let dataplane = Arc::clone(&lab.dataplane);
        let mut request = InferRequest::new([rows(&[x], 1)]);
        request.parameters.insert("priority", priority);
        asked.push(tokio::spawn(
            async move { ask(&dataplane, request, None).await },
        ));
        lab.until_waiting(asked.len()).await;
    }
    drop(gate);
    for asked in asked.into_iter().chain([first]) {
        asked.await.unwrap().unwrap();
    }
    let order: Vec<i64> = lab.model.runs.lock().unwrap().concat();
    assert_eq!(order, [0, 3, 2, 1]);
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
        let One(schedule, runnable, _) = &*lab.one;
        let mut state = schedule.0.state();
        assert!(state.gathers(runnable), "nothing was measured");
        for _ in 0..50 {
            state.pace.record(1, Duration::from_micros(4));
        }
        assert_eq!(state.gathers(runnable), gathers);
    }
}

#[tokio::test]
async fn a_batch_waits_no_longer_than_the_deadlines_of_its_requests_allow() {
    let hour = Batching {
        max_queue_delay: Duration::from_secs(3600),
        adaptive: false,
        ..batching(8)
    };
    let lab = Lab::of(Fake::taking(Duration::from_millis(5)), Some(hour), limits());
    let soon = || Some(Instant::now() + Duration::from_millis(400));
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
