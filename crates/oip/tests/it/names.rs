//! Names of models that callers make up.

use oip::grpc::generated_client::grpc_inference_service_client::GrpcInferenceServiceClient;
use oip::grpc::messages;

use crate::lab;
use crate::limits::counted;

#[tokio::test]
async fn a_name_or_version_over_its_limit_is_refused_by_every_call_of_the_grpc_door() {
    let server = lab::start().await;
    let channel = format!("http://{}", server.grpc_address());
    let channel = tonic::transport::Channel::from_shared(channel).unwrap();
    let mut client = GrpcInferenceServiceClient::new(channel.connect().await.unwrap());
    let (name, version) = ("m".to_owned(), "1".repeat(1025));
    let before = counted(&server, "name_limit").await;
    let (infer, metadata, load) = (
        messages::ModelInferRequest {
            model_name: "x".repeat(1025),
            ..Default::default()
        },
        messages::ModelMetadataRequest {
            name: name.clone(),
            version,
        },
        messages::RepositoryModelLoadRequest {
            model_name: "x".repeat(1025),
            ..Default::default()
        },
    );
    for refused in [
        client.model_infer(infer).await.map(drop),
        client.model_metadata(metadata).await.map(drop),
        client.repository_model_load(load).await.map(drop),
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::NotFound);
        let said = "of the model is longer than 1024 bytes";
        assert!(refused.message().ends_with(said), "{refused}");
    }
    assert!(counted(&server, "name_limit").await >= before + 3);
}
