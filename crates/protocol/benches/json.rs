//! How fast JSON is read and written, as megabytes of text a second and as a multiple of the time
//! that copying the same text takes. `cargo bench -p oip-protocol`.
//!
//! Each figure is the fastest of many runs, on one core.

use std::hint::black_box;
use std::time::{Duration, Instant};

use half::f16;
use oip_protocol::json::{self, NonFinite};
use oip_protocol::{DecodeLimits, InferRequest, InferResponse, Tensor};

/// An image of 3 × 224 × 224, the size that other figures are given for.
const ELEMENTS: usize = 150_528;

fn fastest(mut work: impl FnMut()) -> Duration {
    let begin = Instant::now();
    let mut fastest = Duration::MAX;
    while begin.elapsed() < Duration::from_millis(600) {
        let start = Instant::now();
        work();
        fastest = fastest.min(start.elapsed());
    }
    fastest
}

fn measure(name: &str, tensor: &Tensor, body: Option<Vec<u8>>) {
    let request = InferRequest::new([tensor.clone()]);
    let response = InferResponse::new([tensor.clone()]);
    let body = body.unwrap_or_else(|| json::encode_request(&request).unwrap());
    let written = json::encode_response(&response, NonFinite::Null).unwrap();
    let limits = DecodeLimits::default();
    assert_eq!(json::decode_request(&body, &limits).unwrap(), request);
    let copy = fastest(|| drop(black_box(black_box(&body).to_vec())));
    let read = fastest(|| drop(black_box(json::decode_request(black_box(&body), &limits))));
    let write = fastest(|| {
        drop(black_box(json::encode_response(
            black_box(&response),
            NonFinite::Null,
        )));
    });
    let line = |what: &str, bytes: usize, time: Duration| {
        let rate = bytes as f64 / time.as_secs_f64() / 1e6;
        let each = time.as_secs_f64() * 1e9 / tensor.element_count().max(1) as f64;
        let copies = time.as_secs_f64() / copy.as_secs_f64();
        println!(
            "{name:<28} {what:<6} {:>9.1} µs {rate:>7.0} MB/s {each:>6.1} ns/element {copies:>6.1} × copy",
            time.as_secs_f64() * 1e6
        );
    };
    line("copy", body.len(), copy);
    line("read", body.len(), read);
    line("write", written.len(), write);
}

/// The elements as Python's json writes them: as doubles, with a space behind each comma.
fn as_python_writes(tensor: &Tensor, elements: &[f64]) -> Vec<u8> {
    let elements: Vec<String> = elements
        .iter()
        .map(|element| format!("{element:?}"))
        .collect();
    format!(
        r#"{{"inputs": [{{"name": "x", "shape": {}, "datatype": "{}", "data": [{}]}}]}}"#,
        tensor.shape(),
        tensor.datatype(),
        elements.join(", ")
    )
    .into_bytes()
}

fn main() {
    // A multiplicative generator is random enough for digits.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let doubles: Vec<f64> = (0..ELEMENTS).map(|_| random()).collect();
    let singles: Vec<f32> = doubles.iter().map(|double| *double as f32).collect();
    let shape = [1, 3, 224, 224];

    let small = Tensor::from_vec("x", [1, 16], singles[..16].to_vec()).unwrap();
    measure("FP32 × 16", &small, None);
    let tensor = Tensor::from_vec("x", shape, singles.clone()).unwrap();
    measure("FP32 in [0, 1)", &tensor, None);
    let widened: Vec<f64> = singles.iter().map(|single| f64::from(*single)).collect();
    let body = as_python_writes(&tensor, &widened);
    measure("FP32 as Python writes it", &tensor, Some(body));
    let rounded: Vec<f32> = singles
        .iter()
        .map(|single| (single * 1e4).round() / 1e4)
        .collect();
    measure(
        "FP32 of 4 digits",
        &Tensor::from_vec("x", shape, rounded).unwrap(),
        None,
    );
    let normal: Vec<f32> = singles.iter().map(|single| (single - 0.5) * 5.0).collect();
    measure(
        "FP32 in [-2.5, 2.5)",
        &Tensor::from_vec("x", shape, normal).unwrap(),
        None,
    );
    let whole: Vec<f32> = singles
        .iter()
        .map(|single| (single * 256.0).floor())
        .collect();
    measure(
        "FP32 whole, 0 to 255",
        &Tensor::from_vec("x", shape, whole).unwrap(),
        None,
    );
    measure(
        "FP64 in [0, 1)",
        &Tensor::from_vec("x", shape, doubles.clone()).unwrap(),
        None,
    );
    let halves: Vec<f16> = singles
        .iter()
        .map(|single| f16::from_f32(*single))
        .collect();
    measure(
        "FP16 in [0, 1)",
        &Tensor::from_vec("x", shape, halves).unwrap(),
        None,
    );
    let bytes: Vec<u8> = doubles
        .iter()
        .map(|double| (double * 256.0) as u8)
        .collect();
    measure("UINT8", &Tensor::from_vec("x", shape, bytes).unwrap(), None);
    let words: Vec<i64> = doubles
        .iter()
        .map(|double| (double * 1e6) as i64 - 500_000)
        .collect();
    measure(
        "INT64 of 6 digits",
        &Tensor::from_vec("x", shape, words).unwrap(),
        None,
    );
    let text = "a line of text without anything to escape ".repeat(20);
    let strings = Tensor::from_strings("x", [1000], vec![text; 1000]).unwrap();
    measure("BYTES of 840 characters", &strings, None);
}
