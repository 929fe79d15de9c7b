use super::*;

const ELEMENTS: usize = 4096;

fn large() -> pb::ModelInferRequest {
    let elements = (0..ELEMENTS).map(|n| n as f32).collect();
    let input = Tensor::from_vec("x", [ELEMENTS as u64], elements).unwrap();
    let request = InferRequest::new([input]);
    proto::encode_request(ModelRef::new("m"), request, ContentsForm::Raw)
}

#[tokio::test]
async fn a_large_tensor_is_sent_back_from_the_buffer_it_came_in() {
    let request = large();
    let message = framed(&request.encode_to_vec());
    let inside = message.as_ptr_range();
    for path in [infer_path(), format!("/{SERVICE}/ModelStreamInfer")] {
        let response = ask(&open().await, post(&path, message.clone())).await;
        assert_eq!(response.headers()["content-type"], "application/grpc");
        let mut body = response.into_body();
        let (mut whole, mut shared, mut status) = (Vec::new(), 0, None);
        while let Some(frame) = body.frame().await {
            match frame.unwrap().into_data() {
                Ok(piece) => {
                    if inside.contains(&piece.as_ptr()) {
                        shared += piece.len();
                    }
                    whole.extend_from_slice(&piece);
                }
                Err(trailers) => status = trailers.into_trailers().unwrap().remove("grpc-status"),
            }
        }
        assert_eq!(shared, 4 * ELEMENTS);
        assert_eq!(status.unwrap(), "0");
        let (prefix, message) = whole.split_at(5);
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        assert_eq!(prefix, [&[0], &length[..]].concat());
        let answer = match path == infer_path() {
            true => pb::ModelInferResponse::decode(message).unwrap(),
            false => {
                let answer = pb::ModelStreamInferResponse::decode(message).unwrap();
                answer.infer_response.unwrap()
            }
        };
        assert_eq!(answer.raw_output_contents, request.raw_input_contents);
    }
}

#[tokio::test]
async fn a_message_may_come_in_any_pieces_and_what_follows_it_is_dropped() {
    let door = open().await;
    let message = framed(&floats("m", ContentsForm::Raw).encode_to_vec());
    let twice = [message.clone(), message].concat();
    for size in [1, 3, 7, twice.len() / 2, twice.len()] {
        let piece = |piece: &[u8]| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece));
        let pieces: Vec<_> = twice.chunks(size).map(piece).collect();
        let body = axum::body::Body::from_stream(stream::iter(pieces));
        let response = ask(&door, post(&infer_path(), body)).await;
        assert_eq!(status(response).await.code(), Code::Ok, "{size}");
    }
}

#[tokio::test]
async fn no_message_and_a_flag_that_means_nothing_are_refused() {
    let door = open().await;
    for body in [
        &b""[..],
        b"\x01\0\0\0\x01a",
        b"\x02\0\0\0\0",
        b"\0\0\0\0\x05abc",
    ] {
        let response = ask(&door, post(&infer_path(), Bytes::from_static(body))).await;
        let status = status(response).await;
        assert_ne!(status.code(), Code::Ok, "{body:?}");
        assert!(!status.message().is_empty());
    }
}
