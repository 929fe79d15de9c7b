//! What a `model.toml` does to a model of a folder.

use oip_protocol::{VersionChoice, WarmupData};

use super::*;

impl House {
    pub(super) fn write(&self, at: &str, text: &str) {
        put(self.folder.path(), at, text.as_bytes());
    }

    pub(super) async fn config(&self) -> ModelConfig {
        self.repository.config(&m()).await.unwrap()
    }
}

pub(super) async fn with_settings(text: &str, files: &[(&str, &str)]) -> House {
    let folder = put_models(files);
    put(folder.path(), "m/model.toml", text.as_bytes());
    House::at(folder, |_| {}).await
}

pub(super) const ONE: &[(&str, &str)] = &[
    ("m/1/model.onnx", "unnamed_batch"),
    ("n/1/model.onnx", "unnamed_batch"),
];

#[tokio::test]
async fn a_bad_key_makes_its_model_unavailable_with_the_reason_and_no_other() {
    let house = with_settings("[batching]\nmax_batchsize = 8", ONE).await;
    assert!(!house.dataplane.ready().await);
    let index = house.index().await;
    assert!(
        index[0].starts_with(
            "m  UNAVAILABLE model.toml: unknown key 'batching.max_batchsize', \
             did you mean 'max_batch_size'?"
        ),
        "{index:?}"
    );
    assert_eq!(index[1], "n 1 READY");
    assert_eq!(house.answers(ModelRef::new("n")).await.unwrap(), "1");
    let error = house.answers(m()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);

    house.write("m/model.toml", "");
    house.repository.load("m").await.unwrap();
    assert!(house.dataplane.ready().await);
    // What serves goes on when a later change is refused.
    house.write("m/model.toml", "threads = \"two\"");
    let error = house.repository.load("m").await.unwrap_err();
    assert!(error.message().contains("'threads' is \"two\""), "{error}");
    assert_eq!(house.answers(m()).await.unwrap(), "1");
}

#[tokio::test]
async fn a_version_policy_serves_what_it_names() {
    let files = &[
        ("m/1/model.onnx", "unnamed_batch"),
        ("m/2/model.onnx", "unnamed_batch"),
        ("m/3/model.onnx", "unnamed_batch"),
    ];
    let house = with_settings("version_policy = { latest = 2 }", files).await;
    assert_eq!(house.index().await, ["m 2 READY", "m 3 READY"]);
    let chosen = async || house.config().await.version_choice;
    assert_eq!(chosen().await, VersionChoice::Latest(2));
    house.write("m/model.toml", "version_policy = { specific = [1, 7] }");
    assert!(house.repository.load("m").await.is_err());
    house.repository.unload("m").await.unwrap();
    assert!(house.repository.load("m").await.is_err());
    let index = house.index().await;
    assert_eq!(index[0], "m 1 READY");
    assert!(index[1].starts_with("m 7 UNAVAILABLE version_policy"));
    assert_eq!(house.answers(m()).await.unwrap(), "1");
    assert_eq!(chosen().await, VersionChoice::Served);
    house.write("m/model.toml", "version_policy = \"all\"");
    house.repository.load("m").await.unwrap();
    assert_eq!(chosen().await, VersionChoice::All);
}

#[tokio::test]
async fn settings_are_shown_by_the_configuration_and_kept_versions_follow_them() {
    let text = "instances = 3\nthreads = 2\n[[warmup]]\ninputs = { x = { shape = [5, 4] } }";
    let house = with_settings(text, ONE).await;
    let config = house.config().await;
    assert_eq!((config.instances, config.warmup.len()), (3, 1));
    assert_eq!(config.parameters, [("threads".to_owned(), "2".to_owned())]);
    house.write("m/model.toml", "instances = 1\nengine = \"tract\"");
    house.repository.load("m").await.unwrap();
    let config = house.config().await;
    assert_eq!((config.instances, config.warmup.len()), (1, 0));
}

#[tokio::test]
async fn warm_up_requests_are_shown_with_their_rows_apart_where_they_are_gathered() {
    let requests = "[[warmup]]\ninputs = { x = { shape = [5, 4], data = \"random\" } }\n\
                    [[warmup]]\n[[warmup]]\nfile = \"w.json\"";
    let file = r#"{"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 4],
                   "data": [1, 2, 3, 4, 5, 6, 7, 8]}]}"#;
    for (batching, rows, expected) in [
        ("", [1, 1, 1], [&[5, 4][..], &[1, 4], &[2, 4]]),
        ("[batching]\nmax_batch_size = 8\n", [5, 1, 2], [&[4][..]; 3]),
    ] {
        let folder = put_models(ONE);
        put(folder.path(), "m/w.json", file.as_bytes());
        let text = format!("{batching}{requests}");
        put(folder.path(), "m/model.toml", text.as_bytes());
        let warmup = House::at(folder, |_| {}).await.config().await.warmup;
        let found: Vec<_> = warmup.iter().map(|request| request.batch_size).collect();
        assert_eq!(found, rows);
        let inputs = warmup.iter().flat_map(|request| &request.inputs);
        let dims: Vec<_> = inputs.clone().map(|input| input.dims.as_slice()).collect();
        assert_eq!(dims, expected);
        let data: Vec<_> = inputs.map(|input| input.data.clone()).collect();
        let file = WarmupData::File("w.json".to_owned());
        assert_eq!(data, [WarmupData::Random, WarmupData::Zeros, file]);
    }
}

#[tokio::test]
async fn a_warm_up_request_that_fails_or_does_not_fit_keeps_its_version_from_serving() {
    for (text, sentence) in [
        (
            "[[warmup]]\ninputs = { z = { shape = [5, 4] } }",
            "warm-up request 1 of model.toml fails: the model has no input 'z'; it has x",
        ),
        (
            "[[warmup]]\n[[warmup]]\ninputs = { x = { shape = [5, 3] } }",
            "warm-up request 2 of model.toml fails: input 'x'",
        ),
        ("engine = \"onnxruntime\"", "which is not here; install it"),
    ] {
        let house = with_settings(text, ONE).await;
        let index = house.index().await;
        assert!(index[0].contains(sentence), "{index:?}");
    }
}

pub(super) fn parameter<'a>(config: &'a ModelConfig, name: &str) -> Option<&'a str> {
    let mut parameters = config.parameters.iter();
    let (_, value) = parameters.find(|(known, _)| known == name)?;
    Some(value)
}

#[tokio::test]
async fn batching_is_shown_and_shapes_are_told_without_the_batch() {
    let text = "instances = 1\n[batching]\nmax_batch_size = 8\nmax_queue_delay = \"1 ms\"\n\
                preferred_batch_sizes = [4]\n[queue]\nmax_size = 50\npriority_levels = 2";
    let house = with_settings(text, ONE).await;
    let config = house.config().await;
    assert_eq!(config.max_batch_size, 8);
    assert_eq!(config.inputs[0].shape.dims(), [4]);
    let batching = config.batching.clone().unwrap();
    assert_eq!(batching.preferred_batch_sizes, [4]);
    assert_eq!(batching.max_queue_delay_us, 1000);
    assert_eq!((batching.max_queue_size, batching.priority_levels), (50, 2));
    assert_eq!(parameter(&config, "batching.tolerance"), Some("0.00001"));
    let metadata = house.repository.metadata(&m()).await.unwrap();
    assert_eq!(metadata.inputs[0].shape.dims(), [-1, 4]);
}

#[tokio::test]
async fn a_model_that_cannot_be_batched_serves_unbatched_and_says_why() {
    let files = &[("m/1/model.onnx", "fixed")];
    let house = with_settings("[batching]\nmax_batch_size = 8", files).await;
    assert_eq!(house.index().await, ["m 1 READY"]);
    let config = house.config().await;
    assert_eq!((config.max_batch_size, config.batching.clone()), (0, None));
    assert_eq!(
        parameter(&config, "batching.off").unwrap(),
        "input 'x' is declared [2,3]: its first dimension is not open"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_testdata_model_answers_batched_as_alone_or_is_not_batched() {
    let (mut batched, mut alone) = (Vec::new(), Vec::new());
    for name in [
        "add_sub",
        "identity_bytes",
        "identity_bf16",
        "unnamed_batch",
        "gather",
        "busy",
        "shape_of",
        "nonzero",
    ] {
        let at = "m/1/model.onnx";
        let house = with_settings("[batching]\nmax_batch_size = 8", &[(at, name)]).await;
        match house.config().await.max_batch_size {
            8 => batched.push(name),
            _ => alone.push(name),
        }
    }
    assert_eq!(
        batched,
        [
            "add_sub",
            "identity_bytes",
            "identity_bf16",
            "unnamed_batch",
            "gather"
        ]
    );
    // A product of the whole input, its shape, and the places of its elements.
    assert_eq!(alone, ["busy", "shape_of", "nonzero"]);
}

#[tokio::test]
async fn a_class_has_the_label_of_its_output() {
    let house = with_settings("labels = { y = \"labels.txt\" }", ONE).await;
    assert!(house.index().await[0].contains("labels.txt"));
    house.write("m/labels.txt", "zero\none\n");
    house.repository.load("m").await.unwrap();
    let served = house.repository.resolve(&m()).await.unwrap();
    assert_eq!(served.label("y", 1), Some("one"));
    assert_eq!((served.label("y", 2), served.label("z", 0)), (None, None));
}

#[tokio::test]
async fn labels_of_an_output_that_is_not_there_are_refused() {
    let house = with_settings("labels = { nope = [\"a\"] }", ONE).await;
    let index = house.index().await;
    let reason = "model.toml: 'labels.nope': the model has no such output; it has y";
    assert!(index[0].contains(reason), "{index:?}");
    assert_eq!(index[1], "n 1 READY");
}

#[tokio::test]
async fn the_configuration_shows_queue_and_labels_without_batching_too() {
    let text = "labels = { y = [\"zero\", \"one\"] }\n\
                [queue]\nmax_size = 7\npriority_levels = 5\ndefault_priority = 2";
    let config = with_settings(text, ONE).await.config().await;
    assert!(config.batching.is_none());
    for (name, value) in [
        ("queue.max_size", "7"),
        ("queue.priority_levels", "5"),
        ("queue.default_priority", "2"),
        ("labels.y", "zero\none"),
    ] {
        let shown = (name.to_owned(), value.to_owned());
        assert!(
            config.parameters.contains(&shown),
            "{:?}",
            config.parameters
        );
    }
}

#[tokio::test]
async fn a_change_of_the_settings_is_seen_in_a_watched_folder() {
    let folder = put_models(ONE);
    let house = House::at(folder, |options| {
        options.control = ModelControl::Poll;
        options.poll_interval = Duration::from_millis(20);
    })
    .await;
    assert!(house.config().await.instances > 0);
    house.write("m/model.toml", "instances = 77");
    until(async || house.config().await.instances == 77).await;
}

#[tokio::test]
async fn a_change_of_a_file_that_the_settings_name_is_seen_in_a_watched_folder() {
    let folder = put_models(ONE);
    put(folder.path(), "m/names/labels.txt", b"zero\none");
    let text = b"labels = { y = \"names/labels.txt\" }";
    put(folder.path(), "m/model.toml", text);
    let house = House::at(folder, |options| {
        options.control = ModelControl::Poll;
        options.poll_interval = Duration::from_millis(20);
    })
    .await;
    let label = async || {
        let served = house.repository.resolve(&m()).await.unwrap();
        served.label("y", 1).map(str::to_owned)
    };
    assert_eq!(label().await.as_deref(), Some("one"));
    house.write("m/names/labels.txt", "zero\nuno");
    until(async || label().await.as_deref() == Some("uno")).await;
}
