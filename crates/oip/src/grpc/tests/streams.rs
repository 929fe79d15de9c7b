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

/// The `traceparent` that a handler has seen.
fn seen(answer: &pb::ModelInferResponse) -> String {
    let [_, _, _, _, text @ ..] = &*answer.raw_output_contents[0] else {
        panic!("no text");
    };
    String::from_utf8(text.to_vec()).unwrap()
}

#[tokio::test]
async fn a_handler_sees_the_span_of_each_request_of_a_stream_as_its_own_call_has_one() {
    use crate::telemetry::{Telemetry, TraceOptions};

    let traces = TraceOptions {
        endpoint: Some("http://127.0.0.1:9".into()),
        ..TraceOptions::default()
    };
    let guarded = || Access::new(Arc::new(Strict::default()), Arc::new(Strict::default()));
    for access in [Access::open(), guarded()] {
        let options = DoorOptions {
            forward_headers: vec!["traceparent".into()],
            ..DoorOptions::default()
        };
        let mut door = Door::new(Arc::new(Dataplane::of_handler(Echo, access)), options);
        door.telemetry = Arc::new(Telemetry::new(&traces, None).unwrap());
        let door = super::super::door(Arc::new(door), Arc::new(Origins::default()));
        let mut client = GrpcInferenceServiceClient::new(door);
        let (trace, caller) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let request = || floats("headers", ContentsForm::Raw);
        for brought in [Some(format!("00-{trace}-{caller}-01")), None] {
            let mut call = tonic::Request::new(stream::iter([request(), request()]));
            let mut unary = tonic::Request::new(request());
            for metadata in [call.metadata_mut(), unary.metadata_mut()] {
                metadata.insert("authorization", "Bearer me".parse().unwrap());
                if let Some(brought) = &brought {
                    metadata.insert("traceparent", brought.parse().unwrap());
                }
            }
            let answers = client.model_stream_infer(call).await.unwrap().into_inner();
            let answers: Vec<_> = answers.map(Result::unwrap).collect().await;
            let answers = answers.into_iter().map(|a| a.infer_response.unwrap());
            let mut shown: Vec<_> = answers.map(|answer| seen(&answer)).collect();
            shown.push(seen(&client.model_infer(unary).await.unwrap().into_inner()));
            for text in &shown {
                assert_eq!(text.len(), 55, "{shown:?}");
                assert!(!text.contains(caller), "the caller's span: {shown:?}");
                assert_eq!(text.contains(trace), brought.is_some(), "{shown:?}");
            }
            shown.sort();
            shown.dedup();
            assert_eq!(shown.len(), 3, "each has a span of its own: {shown:?}");
        }
    }
}

#[tokio::test]
async fn many_parameters_are_counted_as_memory_by_streams_as_by_calls() {
    use oip_core::Limits;
    use oip_core::models::Handled;

    let mut limits = Limits::default();
    limits.body_memory = 40_000;
    let models = Arc::new(Handled::new(Echo, [""; 0]));
    let dataplane = Arc::new(Dataplane::new(models, Access::open(), limits));
    let door = Door::new(Arc::clone(&dataplane), DoorOptions::default());
    let door = super::super::door(Arc::new(door), Arc::new(Origins::default()));
    let mut client = GrpcInferenceServiceClient::new(door);
    let plain = || floats("m", ContentsForm::Raw);
    let mut many = plain();
    let value = pb::InferParameter {
        parameter_choice: Some(pb::infer_parameter::ParameterChoice::Int64Param(1)),
    };
    let parameters = (0..1000).map(|n| (format!("{n:03}"), value.clone()));
    many.parameters = parameters.collect();
    assert!(many.encoded_len() < 20_000, "{}", many.encoded_len());
    let refused = client.model_infer(many.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let requests = stream::iter([plain(), many, plain()]);
    let answers = client.model_stream_infer(requests).await.unwrap();
    let answers: Vec<_> = answers.into_inner().map(Result::unwrap).collect().await;
    let said: Vec<_> = answers.iter().map(|a| a.error_message.as_str()).collect();
    assert_eq!((said.len(), said[0], said[2]), (3, "", ""), "{said:?}");
    assert!(said[1].contains("memory"), "{said:?}");
    assert_eq!(dataplane.memory().held(), 0);
}
