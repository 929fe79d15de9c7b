//! What instructions are counted of, by `count.py`: one path, so many times, and a server. A program
//! of its own with the doors and the gates alone, so that it is built without engines.
//!
//! `oip-instructions PATH TIMES`; without arguments it lists the paths. `oip-instructions serve`
//! with a folder for the audit, or without one and without gates.

mod served;

use std::hint::black_box;
use std::path::Path;

use oip_protocol::json::{self, NonFinite};
use oip_protocol::proto::generated::ModelInferRequest;
use oip_protocol::proto::{self, ContentsForm, guard};
use oip_protocol::{Bytes, DecodeLimits, InferRequest, InferResponse, ModelRef, Tensor, binary};
use prost::Message;

/// An image of 3 × 224 × 224.
const LARGE: usize = 150_528;

type Run = (&'static str, fn(usize));

const PATHS: &[Run] = &[
    ("json-read-16", |times| json_read(16, times)),
    ("json-read-150528", |times| json_read(LARGE, times)),
    ("json-write-16", |times| json_write(16, times)),
    ("json-write-150528", |times| json_write(LARGE, times)),
    ("binary-read-150528", |times| binary_read(LARGE, times)),
    ("proto-read-16", |times| proto_read(16, times)),
    ("proto-read-150528", |times| proto_read(LARGE, times)),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, folder @ ..] = &*arguments
        && command == "serve"
    {
        return served::serve(folder.first().map(Path::new)).unwrap();
    }
    let found = arguments
        .first()
        .and_then(|name| PATHS.iter().find(|(path, _)| path == name));
    match found {
        Some((_, run)) => run(arguments.get(1).map_or(1, |times| times.parse().unwrap())),
        None => PATHS.iter().for_each(|(name, _)| println!("{name}")),
    }
}

/// Floats in [-1, 1), 24 random bits each, the same in every run.
fn tensor(count: usize) -> Tensor {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    Tensor::from_vec("x", [count as u64], (0..count).map(|_| random()).collect()).unwrap()
}

fn json_read(count: usize, times: usize) {
    let body = json::encode_request(&InferRequest::new([tensor(count)])).unwrap();
    // As Python writes it, with a space behind each comma.
    let body = String::from_utf8(body).unwrap().replace(',', ", ");
    let limits = DecodeLimits::default();
    for _ in 0..times {
        drop(black_box(json::decode_request(
            black_box(body.as_bytes()),
            &limits,
        )));
    }
}

fn json_write(count: usize, times: usize) {
    let response = InferResponse::new([tensor(count)]);
    for _ in 0..times {
        drop(black_box(json::encode_response(
            black_box(&response),
            NonFinite::Null,
        )));
    }
}

fn binary_read(count: usize, times: usize) {
    let request = InferRequest::new([tensor(count)]);
    let encoded = binary::encode_request(&request, |_| true).unwrap();
    let length = encoded.header_length();
    let mut body = encoded.header.clone();
    encoded
        .buffers
        .iter()
        .for_each(|buffer| body.extend_from_slice(buffer));
    let body = Bytes::from(body);
    let limits = DecodeLimits::default();
    for _ in 0..times {
        drop(black_box(binary::decode_request(
            black_box(body.clone()),
            length,
            &limits,
        )));
    }
}

fn proto_read(count: usize, times: usize) {
    let request = InferRequest::new([tensor(count)]);
    let message = proto::encode_request(ModelRef::new("m"), request, ContentsForm::Raw);
    let message = Bytes::from(message.encode_to_vec());
    let limits = DecodeLimits::default();
    for _ in 0..times {
        guard::check::<ModelInferRequest>(black_box(&message), &limits).unwrap();
        let decoded = ModelInferRequest::decode(message.clone()).unwrap();
        drop(black_box(proto::decode_request(decoded, &limits)));
    }
}
