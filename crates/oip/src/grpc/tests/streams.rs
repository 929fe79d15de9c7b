//! Calls that go on: inferences over one stream, reflection, watched health.

use super::*;

#[tokio::test]
async fn a_stream_answers_each_request_in_order_and_goes_on_after_a_failure() {
    let mut client = GrpcInferenceServiceClient::new(open().await);
    let mut bad = floats("m", ContentsForm::Raw);
    bad.raw_input_contents.clear();
    let requests = [
        floats("m", ContentsForm::Typed),
        bad,
        floats("n", ContentsForm::Raw),
    ];
    let answers = client
        .model_stream_infer(stream::iter(requests))
        .await
        .unwrap();
    let answers: Vec<_> = answers.into_inner().collect().await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let messages: Vec<bool> = answers.iter().map(|a| a.error_message.is_empty()).collect();
    assert_eq!(messages, [true, false, true]);
    let responses: Vec<_> = answers
        .iter()
        .map(|a| a.infer_response.as_ref().unwrap())
        .collect();
    assert_eq!(responses[1].id, "7", "a failure carries its request's id");
    assert_eq!(responses[2].model_name, "n");
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_at_its_deadline() {
    let mut client = GrpcInferenceServiceClient::new(open().await);
    let mut request = tonic::Request::new(stream::pending());
    request.set_timeout(Duration::from_millis(50));
    let answers = client.model_stream_infer(request).await.unwrap();
    let error = answers.into_inner().message().await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn reflection_answers_for_what_is_not_there_and_goes_on() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let ask = |message_request| tonic_reflection::pb::v1::ServerReflectionRequest {
        message_request: Some(message_request),
        ..Default::default()
    };
    let requests = [
        ask(MessageRequest::FileContainingSymbol("nope.Nope".into())),
        ask(MessageRequest::ListServices(String::new())),
    ];
    let mut client = ServerReflectionClient::new(open().await);
    let answers = client.server_reflection_info(stream::iter(requests)).await;
    let mut answers = answers.unwrap().into_inner();
    let first = answers.message().await.unwrap().unwrap().message_response;
    assert!(matches!(first, Some(MessageResponse::ErrorResponse(error)) if error.error_code == 5));
    let second = answers.message().await.unwrap().unwrap().message_response;
    assert!(
        matches!(second, Some(MessageResponse::ListServicesResponse(list)) if list.service.len() == 5)
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_readiness_and_its_end_and_does_not_hold_up_a_stop() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    let dataplane = Arc::new(Dataplane::of_handler(Echo, Access::open()));
    let door = Door::new(Arc::clone(&dataplane), DoorOptions::default());
    let door = super::super::door(Arc::new(door), Arc::new(Origins::default()));
    let mut client = HealthClient::new(door);
    let request = |service: &str| HealthCheckRequest {
        service: service.into(),
    };
    let error = client.check(request("nobody")).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    let mut watch = client.watch(request(SERVICE)).await.unwrap().into_inner();
    let mut next = async || watch.message().await.map(|told| told.unwrap().status);
    assert_eq!(next().await.unwrap(), 2, "not serving while it starts");
    dataplane.start().await;
    assert_eq!(next().await.unwrap(), 1);
    dataplane.drain();
    assert_eq!(next().await.unwrap(), 2);
    dataplane.close();
    assert_eq!(next().await.unwrap_err().code(), Code::Unavailable);
}
