//! Large messages: where they are read and written, and how long they wait for that.

use std::pin::pin;

use oip_core::execute::blocking::occupied;

use super::*;

const ELEMENTS: usize = 300_000;

fn request(model: &str, elements: usize) -> pb::ModelInferRequest {
    let elements: Vec<i32> = (0..elements).map(|n| n as i32 * 7_001).collect();
    let input = Tensor::from_vec("x", [elements.len() as u64], elements).unwrap();
    let request = InferRequest::new([input]);
    proto::encode_request(ModelRef::new(model), request, ContentsForm::Typed)
}

fn stream_path() -> String {
    format!("/{SERVICE}/ModelStreamInfer")
}

fn plain(path: &str, message: &impl Message) -> Request<axum::body::Body> {
    post(path, framed(&message.encode_to_vec()))
}

/// Compressed, and so is its answer.
fn packed(path: &str, message: &impl Message) -> Request<axum::body::Body> {
    let mut request = post(path, compressed(&message.encode_to_vec()));
    for name in ["grpc-encoding", "grpc-accept-encoding"] {
        request.headers_mut().insert(name, "gzip".parse().unwrap());
    }
    request
}

/// Each is large in its way: as it comes, unpacked, or answered.
fn large_calls() -> Vec<(&'static str, Request<axum::body::Body>)> {
    let (large, grows) = (request("m", ELEMENTS), request("grows", 1));
    let metadata = pb::ModelMetadataRequest {
        name: (0..40_000_u32)
            .map(|n| n.wrapping_mul(2_654_435_761).to_string())
            .collect(),
        ..pb::ModelMetadataRequest::default()
    };
    let zeros = Tensor::from_vec("x", [1 << 20], vec![0_u8; 1 << 20]).unwrap();
    let zeros = InferRequest::new([zeros]);
    let zeros = proto::encode_request(ModelRef::new("m"), zeros, ContentsForm::Raw);
    let (unary, stream) = (infer_path(), stream_path());
    vec![
        ("a message", plain(&unary, &large)),
        ("a message of a stream", plain(&stream, &large)),
        ("a compressed message", packed(&unary, &large)),
        ("a compressed message of a stream", packed(&stream, &large)),
        ("a short message of much", packed(&unary, &zeros)),
        (
            "a short message of much on a stream",
            packed(&stream, &zeros),
        ),
        ("an answer", plain(&unary, &grows)),
        ("an answer of a stream", plain(&stream, &grows)),
        ("a compressed answer", packed(&unary, &grows)),
        ("a compressed answer of a stream", packed(&stream, &grows)),
        (
            "a compressed message of another call",
            packed(&format!("/{SERVICE}/ModelMetadata"), &metadata),
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn what_is_large_waits_for_its_turn_and_what_is_small_does_not() {
    let door = open().await;
    for (what, call) in large_calls() {
        let places = occupied().await.unwrap();
        let mut answer = pin!(async { status(ask(&door, call).await).await });
        // The clock goes on only when nothing else does.
        let waits = tokio::time::timeout(Duration::from_secs(1), answer.as_mut()).await;
        assert!(waits.is_err(), "{what}: on the thread that serves");
        let (small, short) = (floats("m", ContentsForm::Typed), request("m", 4_000));
        for path in [infer_path(), stream_path()] {
            for request in [plain(&path, &small), packed(&path, &short)] {
                assert_eq!(status(ask(&door, request).await).await.code(), Code::Ok);
            }
        }
        // It would leap to the server's limit while the work computes.
        tokio::time::resume();
        drop(places);
        let expected = match what.ends_with("another call") {
            // It is its name that is long, and too long.
            true => Code::NotFound,
            false => Code::Ok,
        };
        assert_eq!(answer.await.code(), expected, "{what}");
        tokio::time::pause();
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_over_before_its_turn_is_answered_in_time() {
    let door = open().await;
    for (what, mut request) in large_calls() {
        let timeout = "50m".parse().unwrap();
        request.headers_mut().insert("grpc-timeout", timeout);
        let places = occupied().await.unwrap();
        let begun = tokio::time::Instant::now();
        let status = status(ask(&door, request).await).await;
        assert_eq!(status.code(), Code::DeadlineExceeded, "{what}");
        // The paused clock, and its rounding.
        assert!(begun.elapsed() <= Duration::from_millis(51), "{what}");
        drop(places);
    }
}

/// The messages of an answer, unpacked.
async fn messages(response: Response<axum::body::Body>) -> Vec<Vec<u8>> {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let (mut rest, mut messages) = (&body[..], Vec::new());
    while let Some((prefix, behind)) = rest.split_first_chunk::<5>() {
        let length = u32::from_be_bytes(prefix[1..].try_into().unwrap());
        let (message, behind) = behind.split_at(length as usize);
        let mut whole = Vec::new();
        match prefix[0] {
            0 => whole.extend_from_slice(message),
            _ => {
                let mut unpacked = flate2::read::GzDecoder::new(message);
                std::io::Read::read_to_end(&mut unpacked, &mut whole).unwrap();
            }
        }
        messages.push(whole);
        rest = behind;
    }
    messages
}

#[tokio::test]
async fn a_large_answer_is_the_same_compressed_or_not_and_on_a_stream() {
    let door = open().await;
    let large = request("m", ELEMENTS);
    let mut answers = Vec::new();
    for path in [infer_path(), stream_path()] {
        for packs in [false, true] {
            let request = match packs {
                true => packed(&path, &large),
                false => plain(&path, &large),
            };
            let response = ask(&door, request).await;
            let encoding = response.headers().get("grpc-encoding").cloned();
            assert_eq!(encoding.is_some_and(|encoding| encoding == "gzip"), packs);
            let message = messages(response).await.remove(0);
            answers.push(match path == infer_path() {
                true => pb::ModelInferResponse::decode(&message[..]).unwrap(),
                false => {
                    let answer = pb::ModelStreamInferResponse::decode(&message[..]).unwrap();
                    answer.infer_response.unwrap()
                }
            });
        }
    }
    let sent = large.inputs[0].contents.as_ref().unwrap();
    let back = answers[0].outputs[0].contents.as_ref().unwrap();
    assert_eq!(sent.int_contents, back.int_contents);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

#[tokio::test]
async fn what_messages_of_a_stream_were_unpacked_to_is_given_back() {
    let dataplane = Arc::new(Dataplane::of_handler(Echo, Access::open()));
    dataplane.start().await;
    let door = Door::new(Arc::clone(&dataplane), DoorOptions::default());
    let door = super::super::door(Arc::new(door), Arc::new(Origins::default()));
    let message = compressed(&request("m", ELEMENTS).encode_to_vec());
    let mut call = packed(&stream_path(), &request("m", 1));
    *call.body_mut() = [message.clone(), message].concat().into();
    let mut body = ask(&door, call).await.into_body();
    let mut pieces = Vec::new();
    while let Some(piece) = body.frame().await {
        pieces.push(piece.unwrap());
        assert!(dataplane.memory().held() > 0);
    }
    assert_eq!(pieces.len(), 3, "two messages and the trailers");
    drop((body, pieces));
    assert_eq!(dataplane.memory().held(), 0);
}
