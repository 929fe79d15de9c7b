use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::FutureExt;
use oip_protocol::{
    Datatype, ErrorKind, InferRequest, InferResponse, ModelMetadata, Tensor, TensorMetadata,
};
use tokio::time::Instant;

use super::*;
use crate::Call;
use crate::models::Bounds;

/// Doubles `x` into `y`; a model's name makes it misbehave.
#[derive(Default)]
struct Doubler {
    cancelled: Arc<AtomicBool>,
}

impl ModelHandler for Doubler {
    async fn infer(&self, request: InferRequest, call: &Call) -> Result<InferResponse> {
        let cancelled = Arc::clone(&self.cancelled);
        let token = call.cancelled().clone();
        match call.model().name.as_str() {
            "panics" => panic!("oh"),
            "hangs" => {
                tokio::spawn(async move {
                    token.cancelled().await;
                    cancelled.store(true, Relaxed);
                });
                std::future::pending().await
            }
            "lies" => {
                let output = Tensor::from_vec("y", [1], vec![1_i32])?;
                return Ok(InferResponse::new([output]));
            }
            _ => {}
        }
        let input = request.inputs[0].to_slice::<f32>()?;
        let doubled = input.iter().map(|x| x * 2.0).collect();
        let shape = request.inputs[0].shape().clone();
        Ok(InferResponse::new([Tensor::from_vec("y", shape, doubled)?]))
    }

    async fn model_metadata(&self, model: &ModelRef) -> Result<ModelMetadata> {
        Ok(ModelMetadata {
            name: model.name.clone(),
            inputs: vec![TensorMetadata::new("x", Datatype::Fp32, [-1])],
            outputs: vec![TensorMetadata::new("y", Datatype::Fp32, [-1])],
            ..ModelMetadata::default()
        })
    }
}

fn request() -> InferRequest {
    let input = Tensor::from_vec("x", [2], vec![1.0_f32, 2.0]).unwrap();
    InferRequest::new([input]).id("42")
}

async fn infer(
    dataplane: &Dataplane,
    model: &str,
    request: InferRequest,
    deadline: Option<Instant>,
) -> Result<InferResponse> {
    let caller = dataplane.authenticate(Arrival::default()).await?;
    let permit = dataplane
        .authorize_model(&caller, ModelRef::new(model))
        .await?;
    dataplane.infer(permit, request, deadline).await
}

fn dataplane() -> Dataplane {
    Dataplane::of_handler(Doubler::default(), Access::open())
}

#[tokio::test]
async fn an_answer_carries_the_model_and_the_id_that_was_sent() {
    let response = infer(&dataplane(), "m", request(), None).await.unwrap();
    assert_eq!(response.model_name, "m");
    assert_eq!(response.id.as_deref(), Some("42"));
    let doubled = response.output("y").unwrap().as_slice::<f32>().unwrap();
    assert_eq!(doubled, [2.0, 4.0]);
}

#[tokio::test]
async fn a_panic_and_a_lie_of_the_handler_are_its_failure() {
    for model in ["panics", "lies"] {
        let error = infer(&dataplane(), model, request(), None)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::HandlerFailed, "{model}");
    }
}

#[tokio::test(start_paused = true)]
async fn past_the_deadline_the_caller_is_answered_and_the_work_cancelled() {
    let handler = Doubler::default();
    let cancelled = Arc::clone(&handler.cancelled);
    let dataplane = Dataplane::of_handler(handler, Access::open());
    let deadline = Some(Instant::now() + Duration::from_millis(50));
    let error = infer(&dataplane, "hangs", request(), deadline)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(cancelled.load(Relaxed));
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_cancels_the_work() {
    let handler = Doubler::default();
    let cancelled = Arc::clone(&handler.cancelled);
    let dataplane = Dataplane::of_handler(handler, Access::open());
    let work = infer(&dataplane, "hangs", request(), None);
    assert!(
        tokio::time::timeout(Duration::from_millis(5), work)
            .await
            .is_err()
    );
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(cancelled.load(Relaxed));
}

#[tokio::test]
async fn beyond_the_limit_in_flight_a_request_is_refused_at_once() {
    let limits = Limits {
        in_flight: 1,
        ..Limits::default()
    };
    let models = Arc::new(Handled::new(Doubler::default(), [""; 0]));
    let dataplane = Dataplane::new(models, Access::open(), limits);
    let mut hanging = Box::pin(infer(&dataplane, "hangs", request(), None));
    assert!(hanging.as_mut().now_or_never().is_none());
    let error = infer(&dataplane, "m", request(), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManyRequests);
    drop(hanging);
    assert!(infer(&dataplane, "m", request(), None).await.is_ok());
}

/// Its model `hangs` never answers, and leaves work behind that holds its place.
#[derive(Default)]
struct LeavesWork(Arc<std::sync::Mutex<Vec<Arc<crate::execute::Slot>>>>);

impl ModelHandler for LeavesWork {
    async fn infer(&self, request: InferRequest, call: &Call) -> Result<InferResponse> {
        if call.model().name == "hangs" {
            self.0.lock().unwrap().extend(call.place());
            std::future::pending::<()>().await;
        }
        Ok(InferResponse::new(request.inputs))
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_hangs_takes_its_own_places_alone_also_when_its_callers_are_gone() {
    let handler = LeavesWork::default();
    let left_behind = Arc::clone(&handler.0);
    let bounds = Bounds {
        at_once: 2,
        queue: 1,
    };
    let models = Handled::new(handler, [""; 0]).with_bounds(bounds);
    let dataplane = Dataplane::new(Arc::new(models), Access::open(), Limits::default());
    let ask = async |name: &str| {
        let soon = tokio::time::Instant::now() + Duration::from_millis(100);
        let answer = infer(&dataplane, name, request(), Some(soon)).await;
        answer.map_err(|error| error.kind()).err()
    };
    let hangs = || ask("hangs");
    let (one, two, waits, refused, well) =
        tokio::join!(hangs(), hangs(), hangs(), hangs(), ask("well"));
    assert_eq!([one, two, waits], [Some(ErrorKind::TimedOut); 3]);
    assert_eq!(refused, Some(ErrorKind::TooManyRequests));
    assert_eq!(well, None);
    // The callers are gone, and what works for them is not.
    assert_eq!(hangs().await, Some(ErrorKind::TimedOut));
    assert_eq!(left_behind.lock().unwrap().len(), 2, "there was no place");
    left_behind.lock().unwrap().clear();
    assert_eq!(hangs().await, Some(ErrorKind::TimedOut));
    assert_eq!(left_behind.lock().unwrap().len(), 1, "there was one again");
}

#[tokio::test]
async fn a_server_is_ready_between_start_and_drain() {
    let dataplane = dataplane();
    assert!(!dataplane.ready().await);
    dataplane.start().await;
    assert!(dataplane.ready().await);
    dataplane.drain();
    assert!(!dataplane.ready().await && dataplane.live());
}

#[tokio::test]
async fn successes_and_failures_are_counted_apart() {
    let dataplane = dataplane();
    infer(&dataplane, "m", request(), None).await.unwrap();
    infer(&dataplane, "m", InferRequest::default(), None)
        .await
        .unwrap_err();
    let caller = dataplane.authenticate(Arrival::default()).await.unwrap();
    let permit = dataplane.authorize(&caller).await.unwrap();
    let [row] = dataplane
        .statistics(permit)
        .await
        .unwrap()
        .try_into()
        .unwrap();
    assert_eq!((row.success.count, row.fail.count), (1, 1));
    assert_eq!(row.inference_count, 2, "two rows in the open dimension");
}

#[tokio::test]
async fn content_types_of_large_tensors_wait_for_their_turn() {
    use oip_protocol::{Parameters, RequestedOutput};

    let mut numpy = Parameters::new();
    numpy.insert("content_type", "np");
    let large = || Tensor::from_vec("x", [100_000], vec![1.0_f32; 100_000]).unwrap();
    let on_the_way_in = InferRequest::new([large().with_parameters(numpy.clone())]);
    let mut on_the_way_out = InferRequest::new([large()]);
    let mut output = RequestedOutput::new("y");
    output.parameters = numpy;
    on_the_way_out.outputs.push(output);
    for request in [on_the_way_in, on_the_way_out] {
        let dataplane = dataplane();
        let places = crate::execute::blocking::occupied().await.unwrap();
        let mut answer = Box::pin(infer(&dataplane, "m", request, None));
        let waits = tokio::time::timeout(Duration::from_millis(50), answer.as_mut()).await;
        assert!(waits.is_err(), "it was done on the thread that serves");
        let small = infer(&dataplane, "m", self::request(), None).await;
        small.unwrap();
        drop(places);
        answer.await.unwrap();
    }
}

/// Takes its time to say what a model declares, as one does that is busy with inferences.
struct SlowToSay;

impl ModelHandler for SlowToSay {
    async fn infer(&self, _: InferRequest, _: &Call) -> Result<InferResponse> {
        Ok(InferResponse::new([]))
    }

    async fn model_metadata(&self, _: &ModelRef) -> Result<ModelMetadata> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(ModelMetadata::default())
    }
}

#[tokio::test]
async fn waiting_for_what_a_model_declares_is_waiting_in_the_queue() {
    let dataplane = Dataplane::of_handler(SlowToSay, Access::open());
    let request = InferRequest::default();
    infer(&dataplane, "m", request, None).await.unwrap();
    let caller = dataplane.authenticate(Arrival::default()).await.unwrap();
    let permit = dataplane.authorize(&caller).await.unwrap();
    let rows = dataplane.statistics(permit).await.unwrap();
    assert!(rows[0].queue.ns >= 20_000_000, "{rows:?}");
}

/// Its models do as their names say, whatever they are asked besides inferences.
struct Unwell;

async fn behave(model: &ModelRef) {
    match model.name.as_str() {
        "panics" => panic!("oh"),
        "hangs" => std::future::pending().await,
        _ => {}
    }
}

impl ModelHandler for Unwell {
    async fn model_metadata(&self, model: &ModelRef) -> Result<ModelMetadata> {
        behave(model).await;
        Ok(ModelMetadata::default())
    }

    async fn model_ready(&self, model: &ModelRef) -> Result<bool> {
        behave(model).await;
        Ok(true)
    }
}

/// Fails where it takes longer than anybody would wait, by a clock that stands still.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(Duration::from_secs(3600), future).await;
    ended.expect("it waits for ever")
}

#[tokio::test(start_paused = true)]
async fn metadata_that_panics_or_hangs_costs_its_own_request_only() {
    let dataplane = Dataplane::of_handler(Unwell, Access::open());
    let error = infer(&dataplane, "panics", request(), None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HandlerFailed);
    let deadline = Some(Instant::now() + Duration::from_millis(50));
    let error = infer(&dataplane, "hangs", request(), deadline)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn a_server_with_a_model_that_panics_or_hangs_when_it_is_asked_is_not_ready() {
    for (name, ready) in [("well", true), ("panics", false), ("hangs", false)] {
        let models = Handled::new(Unwell, ["other", name]);
        let dataplane = Dataplane::new(Arc::new(models), Access::open(), Limits::default());
        dataplane.start().await;
        assert_eq!(soon(dataplane.ready()).await, ready, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_model_is_asked_besides_inferences_has_a_deadline_and_a_fence_too() {
    let dataplane = Dataplane::of_handler(Unwell, Access::open());
    let caller = dataplane.authenticate(Arrival::default()).await.unwrap();
    for (name, kind) in [
        ("panics", ErrorKind::HandlerFailed),
        ("hangs", ErrorKind::TimedOut),
    ] {
        let model = || ModelRef::new(name);
        let metadata = dataplane.authorize_model(&caller, model()).await.unwrap();
        let metadata = soon(dataplane.model_metadata(metadata)).await.map(drop);
        let ready = dataplane.authorize_model(&caller, model()).await.unwrap();
        let ready = soon(dataplane.model_ready(ready)).await.map(drop);
        let counts = dataplane.authorize_model(&caller, model()).await.unwrap();
        let counts = soon(dataplane.statistics(counts)).await.map(drop);
        let traced = dataplane.authorize_model(&caller, model()).await.unwrap();
        let traced = soon(dataplane.traced_model(traced)).await.map(drop);
        for asked in [metadata, ready, counts, traced] {
            assert_eq!(asked.unwrap_err().kind(), kind);
        }
        // Whatever keeps it from saying whether its queue is full is found out by the inference.
        let infer = dataplane.authorize_model(&caller, model()).await.unwrap();
        soon(dataplane.refuse_queued(&infer, None)).await.unwrap();
    }
}

#[tokio::test]
async fn every_answer_names_the_version_that_answered() {
    let response = infer(&dataplane(), "m", request(), None).await.unwrap();
    assert_eq!(response.model_version.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_tensor_in_shared_memory_is_refused_as_an_extension_that_is_not_here() {
    let mut shared = request();
    shared.inputs[0]
        .parameters_mut()
        .insert("shared_memory_region", "r");
    let error = infer(&dataplane(), "m", shared, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSuchExtension);
}
