//! Answers that are kept.

use super::settings::{ONE, with_settings};
use super::*;

#[tokio::test]
async fn an_answer_is_kept_where_the_settings_ask_for_it_until_the_model_is_loaded_again() {
    let house = with_settings("[cache]\nmax_bytes = \"1 MiB\"", ONE).await;
    assert!(house.config().await.response_cache);
    for _ in 0..3 {
        house.answers(m()).await.unwrap();
    }
    house.write(
        "m/model.toml",
        "threads = 1\n[cache]\nmax_bytes = \"1 MiB\"",
    );
    house.repository.load("m").await.unwrap();
    house.answers(m()).await.unwrap();
    let caller = house
        .dataplane
        .authenticate(Arrival::default())
        .await
        .unwrap();
    let permit = house
        .dataplane
        .authorize::<actions::Metrics>(&caller)
        .await
        .unwrap();
    let figures = house.dataplane.metrics(permit).await.unwrap();
    let mut statistics = figures.models.iter().map(|model| &model.statistics);
    let of_m = statistics.find(|model| model.name == "m").unwrap();
    assert_eq!((of_m.cache_hit.count, of_m.cache_miss.count), (2, 2));
    assert_eq!((of_m.success.count, of_m.execution_count), (4, 2));
}

#[tokio::test]
async fn versions_of_a_model_share_the_bytes_of_its_cache() {
    let files = &[
        ("m/1/model.onnx", "unnamed_batch"),
        ("m/2/model.onnx", "unnamed_batch"),
    ];
    // Room for one answer.
    let house = with_settings("[cache]\nmax_bytes = 1500", files).await;
    let of_version = |number: &str| ModelRef::new("m").version(number);
    for number in ["1", "2", "1"] {
        house.answers(of_version(number)).await.unwrap();
    }
    let caller = house.dataplane.authenticate(Arrival::default()).await;
    let permit = house
        .dataplane
        .authorize::<actions::Metrics>(&caller.unwrap())
        .await
        .unwrap();
    let figures = house.dataplane.metrics(permit).await.unwrap();
    let hits = figures
        .models
        .iter()
        .map(|model| model.statistics.cache_hit.count);
    assert_eq!(hits.sum::<u64>(), 0, "more was kept than the model may");
}

impl House {
    /// Asks for the version that answers, with this parameter.
    async fn asks_with(&self, name: &str, value: impl Into<ParameterValue>) -> Result<String> {
        let mut request = InferRequest::new([row(1.0)]);
        request.parameters.insert(name, value);
        let response = ask_all(&self.dataplane, m(), request, None).await?;
        Ok(response.model_version.unwrap())
    }
}

fn row(x: f32) -> Tensor {
    Tensor::from_vec("x", [1, 4], vec![x; 4]).unwrap()
}

#[tokio::test]
async fn a_kept_answer_passes_a_full_queue_and_what_is_to_run_does_not() {
    let house = with_settings("[cache]\nmax_bytes = \"1 MiB\"", ONE).await;
    house.ask(m(), vec![row(1.0)]).await.unwrap();
    for name in ["m", "n"] {
        let schedule = house.repository.slot_for(name).schedule().clone();
        schedule.limit(crate::schedule::Limits {
            instances: 0,
            queue: 0,
            ..schedule.limits()
        });
    }
    house.ask(m(), vec![row(1.0)]).await.unwrap();
    let error = house.ask(m(), vec![row(2.0)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManyRequests);
    // Before the body is read, which alone shows whether the answer is kept.
    let refuses = async |name| {
        let served = house.repository.resolve(&ModelRef::new(name)).await;
        served.unwrap().refuse_unread(None).is_err()
    };
    assert_eq!((refuses("m").await, refuses("n").await), (false, true));
}

#[tokio::test]
async fn a_priority_that_is_no_number_is_refused_though_the_answer_is_kept() {
    let house = with_settings("[cache]\nmax_bytes = \"1 MiB\"", ONE).await;
    house.asks_with("priority", 1_u64).await.unwrap();
    house.asks_with("priority", 2_u64).await.unwrap();
    let high = house.asks_with("priority", "high".to_owned()).await;
    let error = high.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert_eq!(
        error.message(),
        "parameter 'priority' is 'high', but it is a whole number, 1 the highest"
    );
}
