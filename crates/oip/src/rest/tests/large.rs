//! Large bodies and answers: where they are read and written, and how long they wait for that.

use std::pin::pin;
use std::time::Duration;

use oip_core::execute::blocking::occupied;

use super::*;

fn large() -> String {
    let floats = vec!["0.5"; 100_000].join(",");
    format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[50000,2],"data":[{floats}]}}]}}"#
    )
}

/// Much that is short where it is compressed, and more of it than is tried without waiting.
fn packed(body: &str) -> Request<Body> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body.as_bytes()).unwrap();
    let mut request = infer("iris", encoder.finish().unwrap());
    let gzip = "gzip".parse().unwrap();
    request.headers_mut().insert("content-encoding", gzip);
    request
}

/// Floats of which hardly one is like another.
fn floats(pairs: u32) -> String {
    let float = |n: u32| n.wrapping_mul(2_654_435_761).to_string();
    let floats: Vec<_> = (0..2 * pairs).map(float).collect();
    let floats = floats.join(",");
    format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[{pairs},2],"data":[{floats}]}}]}}"#
    )
}

/// A small request for a few of the classes of a large output.
fn classified() -> String {
    let asked = r#""outputs":[{"name":"y","parameters":{"classification":3}}],"#;
    TWO_FLOATS.replacen('{', &format!("{{{asked}"), 1)
}

/// Elements of which each is looked at, as binary, for a model whose answer is short.
fn binary() -> Request<Body> {
    let count = 1_100_000;
    let header = format!(
        r#"{{"inputs":[{{"name":"x","datatype":"BOOL","shape":[{count}],"parameters":{{"binary_data_size":{count}}}}}]}}"#
    );
    let mut request = infer("nan", [header.as_bytes(), &vec![1; count]].concat());
    let length = header.len().to_string().parse().unwrap();
    let name = "inference-header-content-length";
    request.headers_mut().insert(name, length);
    let null = "null".parse().unwrap();
    request.headers_mut().insert("x-oip-non-finite", null);
    request
}

fn large_requests() -> [Request<Body>; 6] {
    [
        infer("iris", large()),
        infer("grows", TWO_FLOATS),
        infer("grows", classified()),
        binary(),
        packed(&large()),
        packed(&floats(20_000)),
    ]
}

#[tokio::test(start_paused = true)]
async fn what_is_large_waits_for_its_turn_and_what_is_small_does_not() {
    let router = open();
    for request in large_requests() {
        let places = occupied().await.unwrap();
        let mut answer = pin!(ask(&router, request));
        // The clock goes on only when nothing else does.
        let waits = tokio::time::timeout(Duration::from_secs(1), answer.as_mut()).await;
        assert!(
            waits.is_err(),
            "it was read or written on the thread that serves"
        );
        for small in [infer("iris", TWO_FLOATS), packed(&floats(2_000))] {
            assert_eq!(ask(&router, small).await.0, 200);
        }
        // It would leap to the server's limit while the work computes.
        tokio::time::resume();
        drop(places);
        assert_eq!(answer.await.0, 200);
        tokio::time::pause();
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_over_before_its_turn_is_answered_in_time() {
    let router = open();
    for mut request in large_requests() {
        let timeout = "50".parse().unwrap();
        request.headers_mut().insert("x-oip-timeout-ms", timeout);
        let places = occupied().await.unwrap();
        let begun = tokio::time::Instant::now();
        assert_eq!(ask(&router, request).await.0, 504);
        // The paused clock, and its rounding.
        assert!(begun.elapsed() <= Duration::from_millis(51));
        drop(places);
    }
}
