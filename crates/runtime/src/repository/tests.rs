use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use oip_core::access::actions;
use oip_core::{Access, Arrival, Dataplane, Limits};
use oip_protocol::{ErrorKind, InferRequest, InferResponse, ParameterValue, Tensor};

use super::*;
use crate::library::OnnxRuntime;

mod cached;
mod programs;
mod settings;

/// A folder of models that a test arranges, and the pipeline before it.
struct House {
    folder: tempfile::TempDir,
    repository: Arc<Repository>,
    dataplane: Arc<Dataplane>,
}

fn testdata(model: &str) -> Vec<u8> {
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/models");
    std::fs::read(Path::new(models).join(format!("{model}.onnx"))).unwrap()
}

fn put(folder: &Path, at: &str, bytes: &[u8]) {
    let path = folder.join(at);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn put_models(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (at, model) in files {
        put(folder.path(), at, &testdata(model));
    }
    folder
}

fn options(folder: &Path) -> RepositoryOptions {
    RepositoryOptions {
        onnxruntime: OnnxRuntime::Off,
        ..RepositoryOptions::new(folder)
    }
}

impl House {
    async fn of(files: &[(&str, &str)]) -> Self {
        Self::with(files, |_| {}).await
    }

    async fn with(files: &[(&str, &str)], change: impl FnOnce(&mut RepositoryOptions)) -> Self {
        Self::at(put_models(files), change).await
    }

    async fn at(folder: tempfile::TempDir, change: impl FnOnce(&mut RepositoryOptions)) -> Self {
        let mut options = options(folder.path());
        change(&mut options);
        let repository = Repository::open(options).unwrap();
        let models = Arc::clone(&repository);
        let dataplane = Arc::new(Dataplane::new(models, Access::open(), Limits::default()));
        dataplane.start().await;
        Self {
            folder,
            repository,
            dataplane,
        }
    }

    fn put(&self, at: &str, model: &str) {
        put(self.folder.path(), at, &testdata(model));
    }

    fn remove(&self, at: &str) {
        std::fs::remove_dir_all(self.folder.path().join(at)).unwrap();
    }

    async fn ask(&self, model: ModelRef, inputs: Vec<Tensor>) -> Result<InferResponse> {
        ask(&self.dataplane, model, inputs, None).await
    }

    /// Which version answers a request for the shape of a matrix or its identity.
    async fn answers(&self, model: ModelRef) -> Result<String> {
        let input = Tensor::from_vec("x", [1, 4], vec![1.0_f32; 4]).unwrap();
        let response = self.ask(model, vec![input]).await?;
        Ok(response.model_version.unwrap())
    }

    /// The index as `name version STATE reason`.
    async fn index(&self) -> Vec<String> {
        let index = self.repository.index().await.unwrap();
        let line = |e: &RepositoryEntry| {
            let line = format!("{} {} {} {}", e.name, e.version, e.state.name(), e.reason);
            line.trim_end().to_owned()
        };
        index.iter().map(line).collect()
    }

    async fn kind_of_metadata(&self, model: ModelRef) -> ErrorKind {
        self.repository.metadata(&model).await.unwrap_err().kind()
    }
}

async fn ask(
    dataplane: &Dataplane,
    model: ModelRef,
    inputs: Vec<Tensor>,
    deadline: Option<tokio::time::Instant>,
) -> Result<InferResponse> {
    ask_all(dataplane, model, InferRequest::new(inputs), deadline).await
}

async fn ask_all(
    dataplane: &Dataplane,
    model: ModelRef,
    request: InferRequest,
    deadline: Option<tokio::time::Instant>,
) -> Result<InferResponse> {
    let caller = dataplane.authenticate(Arrival::default()).await?;
    let permit = dataplane
        .authorize_model::<actions::Infer>(&caller, model)
        .await?;
    dataplane.infer(permit, request, deadline).await
}

fn m() -> ModelRef {
    ModelRef::new("m")
}

#[test]
fn a_missing_folder_is_named() {
    let error = Repository::open(options(Path::new("no/such/folder")))
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "the model repository no/such/folder does not exist"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Repository::open(options(file.path())).err().unwrap();
    assert!(matches!(error, OpenError::NotAFolder { .. }));
}

#[tokio::test]
async fn an_empty_folder_is_ready_and_lists_nothing() {
    let house = House::of(&[]).await;
    assert!(house.dataplane.ready().await);
    assert!(house.index().await.is_empty());
    assert_eq!(house.kind_of_metadata(m()).await, ErrorKind::NotFound);
}

#[tokio::test]
async fn every_version_is_served_and_the_highest_number_by_default() {
    let house = House::of(&[
        ("m/2/model.onnx", "unnamed_batch"),
        ("m/10/model.onnx", "unnamed_batch"),
        ("m/9/model.onnx", "unnamed_batch"),
    ])
    .await;
    assert!(house.dataplane.ready().await);
    assert_eq!(house.answers(m()).await.unwrap(), "10");
    assert_eq!(house.answers(m().version("2")).await.unwrap(), "2");
    for version in ["3", "02", "+2", "", "2.0", " 2", "18446744073709551618"] {
        let error = house.answers(m().version(version)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{version}");
    }
    let metadata = house.repository.metadata(&m()).await.unwrap();
    assert_eq!(metadata.versions, ["2", "9", "10"]);
    assert_eq!(metadata.platform, "onnx_onnxv1");
    let config = house.repository.config(&m()).await.unwrap();
    assert_eq!(
        (config.backend.as_str(), config.max_batch_size),
        ("tract", 0)
    );
}

#[tokio::test]
async fn one_broken_model_leaves_the_others_serving() {
    let house = House::of(&[
        ("broken/1/model.onnx", "truncated"),
        ("m/1/model.onnx", "unnamed_batch"),
    ])
    .await;
    assert!(!house.dataplane.ready().await);
    assert_eq!(house.answers(m()).await.unwrap(), "1");
    let broken = ModelRef::new("broken");
    assert_eq!(
        house.kind_of_metadata(broken.clone()).await,
        ErrorKind::Unavailable
    );
    assert!(!house.repository.ready(&broken).await.unwrap());
    let error = house.answers(broken.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let index = house.index().await;
    assert!(
        index[0].starts_with("broken 1 UNAVAILABLE this is no valid ONNX model"),
        "{index:?}"
    );
    assert_eq!(index[1], "m 1 READY");

    house.put("broken/1/model.onnx", "unnamed_batch");
    house.repository.load("broken").await.unwrap();
    assert!(house.dataplane.ready().await);
    assert_eq!(house.answers(broken).await.unwrap(), "1");
}

#[tokio::test]
async fn of_two_versions_the_good_one_serves_and_the_broken_one_is_listed() {
    let house = House::of(&[
        ("m/1/model.onnx", "unnamed_batch"),
        ("m/2/model.onnx", "not_onnx"),
        ("m/3/notes.txt", "not_onnx"),
    ])
    .await;
    assert!(!house.dataplane.ready().await);
    assert_eq!(house.answers(m()).await.unwrap(), "1");
    let error = house.answers(m().version("2")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let index = house.index().await;
    assert_eq!(index[0], "m 1 READY");
    assert!(
        index[1].starts_with("m 2 UNAVAILABLE this is no valid"),
        "{index:?}"
    );
    assert_eq!(
        index[2],
        "m 3 UNAVAILABLE there is no model.onnx in the version's folder"
    );
    assert_eq!(
        house.repository.metadata(&m()).await.unwrap().versions,
        ["1"]
    );

    house.remove("m/2");
    house.remove("m/3");
    house.repository.load("m").await.unwrap();
    assert!(house.dataplane.ready().await);
}

#[tokio::test]
async fn a_load_serves_new_versions_and_drops_those_that_are_gone() {
    let house = House::of(&[("m/1/model.onnx", "unnamed_batch")]).await;
    house.put("m/2/model.onnx", "unnamed_batch");
    assert_eq!(house.answers(m()).await.unwrap(), "1");
    house.repository.load("m").await.unwrap();
    assert_eq!(house.answers(m()).await.unwrap(), "2");
    house.remove("m/1");
    house.repository.load("m").await.unwrap();
    let error = house.answers(m().version("1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_file_replaced_at_once_by_one_of_equal_length_is_seen_by_a_load() {
    let house = House::of(&[("m/1/model.onnx", "identity_int32")]).await;
    let declared = |house: &House| house.repository.overview()[0].versions[0].inputs[0].datatype;
    let mut bytes = testdata("identity_int32");
    assert_eq!(declared(&house), oip_protocol::Datatype::Int32);
    // INT64 is element type 7 and INT32 6, and the rest of the two files is alike.
    let other = testdata("identity_int64");
    assert_eq!(bytes.len(), other.len());
    bytes.copy_from_slice(&other);
    put(house.folder.path(), "m/1/model.onnx", &bytes);
    house.repository.load("m").await.unwrap();
    assert_eq!(declared(&house), oip_protocol::Datatype::Int64);
}

#[tokio::test]
async fn a_corrupt_file_is_refused_with_its_reason_and_what_served_goes_on() {
    let house = House::of(&[("m/1/model.onnx", "unnamed_batch")]).await;
    for corrupt in ["truncated", "not_onnx", "dangling_output", "map_output"] {
        house.put("m/1/model.onnx", corrupt);
        let error = house.repository.load("m").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DoesNotFit);
        assert!(
            error
                .message()
                .contains("model 'm' could not be loaded: version 1: ")
        );
        assert_eq!(house.answers(m()).await.unwrap(), "1");
        assert!(house.dataplane.ready().await);
        assert_eq!(house.index().await, ["m 1 READY"]);
    }
}

#[tokio::test]
async fn an_unloaded_model_is_not_found_until_it_is_loaded_again() {
    let house = House::of(&[("m/1/model.onnx", "unnamed_batch")]).await;
    house.repository.unload("m").await.unwrap();
    assert_eq!(
        house.answers(m()).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(house.kind_of_metadata(m()).await, ErrorKind::NotFound);
    let ready = house.repository.ready(&m()).await;
    assert_eq!(ready.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(house.index().await, ["m 1 UNAVAILABLE unloaded"]);
    assert!(house.dataplane.ready().await);
    house.repository.load("m").await.unwrap();
    assert_eq!(house.answers(m()).await.unwrap(), "1");
}

#[tokio::test]
async fn a_name_that_the_folder_does_not_have_is_neither_loaded_nor_unloaded() {
    let house = House::of(&[("m/1/model.onnx", "unnamed_batch")]).await;
    for name in ["n", "../m", "m/1", "", ".", "m/"] {
        let error = house.repository.load(name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{name}");
        let error = house.repository.unload(name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{name}");
    }
    assert_eq!(house.index().await.len(), 1);
}

#[tokio::test]
async fn a_model_whose_folder_is_gone_is_not_found_by_a_load_and_goes_on() {
    let house = House::of(&[("m/1/model.onnx", "unnamed_batch")]).await;
    house.remove("m");
    let error = house.repository.load("m").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(house.answers(m()).await.unwrap(), "1");
}

#[tokio::test]
async fn without_model_control_callers_neither_load_nor_unload() {
    let house = House::with(&[("m/1/model.onnx", "unnamed_batch")], |options| {
        options.control = ModelControl::None;
    })
    .await;
    let load = house.repository.load("m").await.unwrap_err();
    let unload = house.repository.unload("m").await.unwrap_err();
    assert_eq!(load.kind(), ErrorKind::Unavailable);
    assert_eq!(unload.kind(), ErrorKind::Unavailable);
    assert_eq!(house.answers(m()).await.unwrap(), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_its_model_is_loaded_again_a_hundred_times() {
    let house = House::of(&[("m/1/model.onnx", "unnamed_batch")]).await;
    let (done, served) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (dataplane, done) = (Arc::clone(&house.dataplane), Arc::clone(&done));
        let served = Arc::clone(&served);
        callers.spawn(async move {
            while !done.load(Relaxed) {
                let input = Tensor::from_vec("x", [1, 4], vec![1.0_f32; 4]).unwrap();
                ask(&dataplane, m(), vec![input], None).await.unwrap();
                served.fetch_add(1, Relaxed);
            }
        });
    }
    for round in 0..100_u64 {
        if round % 2 == 0 {
            house.put("m/2/model.onnx", "unnamed_batch");
        } else {
            house.remove("m/2");
        }
        house.repository.load("m").await.unwrap();
    }
    done.store(true, Relaxed);
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    assert!(served.load(Relaxed) > 100);
}

fn matrix(size: u64) -> Vec<Tensor> {
    let count = usize::try_from(size * size).unwrap();
    vec![Tensor::from_vec("x", [size, size], vec![0.0_f32; count]).unwrap()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_its_queue_a_model_refuses_at_once() {
    let house = House::with(&[("m/1/model.onnx", "busy")], |options| {
        options.concurrency = Some(1);
        options.queue = 1;
    })
    .await;
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let dataplane = Arc::clone(&house.dataplane);
        asked.spawn(async move { ask(&dataplane, m(), matrix(300), None).await });
    }
    let kinds = asked
        .join_all()
        .await
        .into_iter()
        .map(|answer| answer.err().map(|e| e.kind()));
    let refused = kinds
        .filter(|kind| *kind == Some(ErrorKind::TooManyRequests))
        .count();
    assert!((1..=3).contains(&refused), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_past_its_deadline_in_the_queue_is_not_run() {
    let house = House::with(&[("m/1/model.onnx", "busy")], |options| {
        options.concurrency = Some(1);
    })
    .await;
    let dataplane = Arc::clone(&house.dataplane);
    let first = tokio::spawn(async move { ask(&dataplane, m(), matrix(512), None).await });
    tokio::time::sleep(Duration::from_millis(5)).await;
    let begun = Instant::now();
    let soon = tokio::time::Instant::now() + Duration::from_millis(1);
    let error = ask(&house.dataplane, m(), matrix(512), Some(soon))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(begun.elapsed() < Duration::from_secs(1));
    first.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_flight_finishes_though_its_model_is_unloaded() {
    let house = House::of(&[("m/1/model.onnx", "busy")]).await;
    let dataplane = Arc::clone(&house.dataplane);
    let asked = tokio::spawn(async move { ask(&dataplane, m(), matrix(400), None).await });
    tokio::time::sleep(Duration::from_millis(5)).await;
    house.repository.unload("m").await.unwrap();
    assert_eq!(
        asked.await.unwrap().unwrap().model_version.as_deref(),
        Some("1")
    );
}

#[tokio::test]
async fn an_engines_panic_is_that_requests_failure_alone() {
    let house = House::of(&[("m/1/model.onnx", "gather")]).await;
    let index = |i: i64| vec![Tensor::from_vec("index", [1], vec![i]).unwrap()];
    let error = house.ask(m(), index(77)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HandlerFailed);
    assert!(house.ask(m(), index(1)).await.is_ok());
}

#[tokio::test]
async fn a_single_model_answers_by_the_name_it_was_given() {
    let house = House::with(&[("classifier.onnx", "unnamed_batch")], |options| {
        options.single_model = Some("m".to_owned());
    })
    .await;
    assert_eq!(house.answers(m()).await.unwrap(), "1");
    let overview = house.repository.overview();
    assert_eq!(overview.len(), 1);
    assert_eq!(overview[0].versions[0].engine, "tract");
}

#[tokio::test]
async fn a_single_model_that_is_not_there_is_unavailable_until_a_load_finds_it() {
    let house = House::with(&[], |options| options.single_model = Some("m".to_owned())).await;
    assert!(!house.dataplane.ready().await);
    assert_eq!(house.kind_of_metadata(m()).await, ErrorKind::Unavailable);
    house.put("3/model.onnx", "unnamed_batch");
    house.repository.load("m").await.unwrap();
    assert_eq!(house.answers(m()).await.unwrap(), "3");
}

/// Waits until something holds, for at most ten seconds.
async fn until(what: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !what().await {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "it never came to hold"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_watched_folder_loads_what_comes_and_unloads_what_goes() {
    let house = House::with(&[("m/1/model.onnx", "unnamed_batch")], |options| {
        options.control = ModelControl::Poll;
        options.poll_interval = Duration::from_millis(20);
    })
    .await;
    house.put("m/2/model.onnx", "unnamed_batch");
    until(async || house.answers(m()).await.unwrap() == "2").await;
    house.put("n/1/model.onnx", "unnamed_batch");
    until(async || house.answers(ModelRef::new("n")).await.is_ok()).await;
    house.put("m/2/model.onnx", "truncated");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(house.answers(m()).await.unwrap(), "2");
    house.remove("m");
    until(async || house.answers(m()).await.is_err()).await;
    assert_eq!(house.index().await, ["n 1 READY"]);
    // Unloaded by a caller, it stays so until its folder changes.
    house.repository.unload("n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(house.answers(ModelRef::new("n")).await.is_err());
    house.put("n/2/model.onnx", "unnamed_batch");
    until(async || house.answers(ModelRef::new("n")).await.is_ok()).await;
}
