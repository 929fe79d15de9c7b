//! Our server with a model that returns what it is given: all that is measured is the server.

use oip::{
    Call, Datatype, InferRequest, InferResponse, ModelHandler, ModelMetadata, ModelRef, Result,
    Server, TensorMetadata,
};

/// The model's name.
pub(super) const NAME: &str = "identity";

/// The model. Its metadata is declared, so requests and answers are checked against it.
struct Identity {
    metadata: ModelMetadata,
}

impl ModelHandler for Identity {
    async fn infer(&self, request: InferRequest, _: &Call) -> Result<InferResponse> {
        let outputs = request.inputs.into_iter();
        let outputs = outputs.map(|input| input.with_name("output"));
        Ok(InferResponse::new(outputs.collect::<Vec<_>>()))
    }

    async fn model_metadata(&self, _: &ModelRef) -> Result<ModelMetadata> {
        Ok(self.metadata.clone())
    }
}

/// The server that is measured, open to everybody and on free ports of loopback.
pub(super) fn server() -> Server {
    let tensor = |name: &str| TensorMetadata::new(name, Datatype::Fp32, vec![-1]);
    let metadata = ModelMetadata {
        name: NAME.to_owned(),
        versions: vec!["1".to_owned()],
        platform: "rust_identity".to_owned(),
        inputs: vec![tensor("input")],
        outputs: vec![tensor("output")],
    };
    let free = (std::net::Ipv4Addr::LOCALHOST, 0);
    Server::new(Identity { metadata })
        .model(NAME)
        .without_authentication()
        .rest(free)
        .grpc(free)
}
