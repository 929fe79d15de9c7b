//! The client in Rust.

use oip::client::Client;
use oip::{ErrorKind, InferRequest, ModelRef, Tensor};

use crate::lab;

#[tokio::test]
async fn the_client_reads_answers_and_errors_as_they_were_meant() {
    let server = lab::start().await;
    let client = Client::connect(format!("http://{}", server.grpc_address()))
        .await
        .unwrap();
    let request = InferRequest::new([lab::x()]).output("y");
    let answer = client
        .infer(ModelRef::new("double"), request.clone())
        .await
        .unwrap();
    let doubled = answer.output("y").map(Tensor::to_slice::<f32>).unwrap();
    assert_eq!(doubled.unwrap(), &[2.0, -1.0][..]);
    let metadata = client.metadata(ModelRef::new("double")).await.unwrap();
    assert_eq!(metadata.inputs[0].name, "x");
    assert!(client.ready(ModelRef::new("double")).await.unwrap());
    assert!(!client.ready(ModelRef::new("nobody")).await.unwrap());
    for (model, kind) in [
        ("nobody", ErrorKind::NotFound),
        ("silent", ErrorKind::NotImplemented),
        ("panics", ErrorKind::HandlerFailed),
        ("broken", ErrorKind::Unavailable),
    ] {
        let error = client
            .infer(ModelRef::new(model), request.clone())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{model}");
    }
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_unavailable() {
    let error = Client::connect("http://127.0.0.1:9").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}
