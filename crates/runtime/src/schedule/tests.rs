#![expect(clippy::await_holding_lock, reason = "the gate is what holds runs up")]

use std::sync::atomic::Ordering::SeqCst;

use oip_core::access::actions;
use oip_core::{Access, Arrival, BoxFuture, Dataplane, Models, ResolvedModel};
use oip_protocol::{ErrorKind, InferResponse, ModelMetadata, ModelRef, RepositoryEntry, Tensor};

use super::fake::{BOMB, Fake, POISON, batching, rows, runnable};
use super::job::rows as rows_of_request;
use super::*;
use crate::settings::Batching;

mod admission;
mod batches;
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
        let schedule = Schedule::new("model 'm'", limits, Arc::default());
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

    /// A request of one row that has so long, before it is let in.
    fn job(&self, has: Duration) -> Job {
        let One(_, runnable, _) = &*self.one;
        let (inputs, now) = (vec![rows(&[1], 1)], Instant::now());
        Job {
            id: u64::MAX,
            runnable: Arc::clone(runnable),
            rows: rows_of_request(runnable, &inputs),
            inputs,
            parameters: Default::default(),
            note: None,
            level: 0,
            queued: now,
            deadline: Some(now + has),
            latest: None,
            answer: oneshot::channel().0,
        }
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

    fn paced(&self) -> &Paced {
        &self.one.1.paced
    }

    fn refuse_unread(&self, deadline: Option<Instant>) -> Result<()> {
        let One(schedule, runnable, _) = &*self.one;
        schedule.refuse_unread(runnable, deadline)
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
    async fn noted(gathers: Option<Batching>, shared: bool) -> Vec<String> {
        let model = Fake::new();
        let lab = Lab::of(Arc::clone(&model), gathers.clone(), limits());
        let runs = Arc::clone(&model) as Arc<dyn crate::model::Model>;
        let runnable = Arc::new(Runnable::new(runs, gathers, shared));
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
    assert!(noted(Some(batching(8)), true).await.is_empty());
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

#[test]
fn runs_take_no_threads_from_other_work_that_blocks() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).max_blocking_threads(1);
    let runtime = runtime.enable_all().build().unwrap();
    runtime.block_on(async {
        let three = Limits {
            instances: 3,
            ..limits()
        };
        let lab = Lab::of(Fake::new(), None, three);
        let gate = lab.model.gate.lock().unwrap();
        let asked: Vec<_> = (0..3).map(|x| lab.ask(rows(&[x], 1))).collect();
        let minute = Duration::from_secs(60);
        let run = tokio::time::timeout(minute, lab.until_entered(3));
        run.await.expect("the runs wait for threads");
        let other = tokio::task::spawn_blocking(|| 7);
        let other = tokio::time::timeout(minute, other).await;
        assert_eq!(other.expect("it waits for a run").unwrap(), 7);
        drop(gate);
        for asked in asked {
            asked.await.unwrap().unwrap();
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_late_or_has_left_while_others_hold_the_sessions_does_not_run() {
    let four = Limits {
        instances: 4,
        ..limits()
    };
    let lab = Lab::of(Fake::of_sessions(1), None, four);
    let gate = lab.model.gate.lock().unwrap();
    let first = lab.ask(rows(&[1], 1));
    lab.until_entered(1).await;
    let soon = Instant::now() + Duration::from_millis(50);
    let late = lab.ask_until(rows(&[2], 1), Some(soon));
    let leaves = lab.ask(rows(&[3], 1));
    let stays = lab.ask(rows(&[4], 1));
    // Each has an instance, and waits for the session.
    while lab.schedule.0.state().running() != 4 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    leaves.abort();
    let error = late.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    drop(gate);
    first.await.unwrap().unwrap();
    stays.await.unwrap().unwrap();
    assert_eq!(*lab.model.runs.lock().unwrap(), [vec![1], vec![4]]);
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
