//! A handler in under 60 lines: a complete server, REST and gRPC, for a model of your own.
//!
//! ```console
//! cargo run --example handler
//! curl -s localhost:8082/v2/models/double/infer -d '{"inputs": [
//!     {"name": "input", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}'
//! ```

use oip::{
    Call, Datatype, InferRequest, InferResponse, ModelHandler, ModelMetadata, ModelRef, Result,
    Server, Tensor, TensorMetadata,
};

struct MyHandler;

impl ModelHandler for MyHandler {
    /// Called with requests that fit the metadata below; anything else never gets here.
    async fn infer(&self, request: InferRequest, _call: &Call) -> Result<InferResponse> {
        let mut outputs = Vec::new();
        for input in &request.inputs {
            let doubled = input.to_slice::<f32>()?.iter().map(|x| x * 2.0).collect();
            outputs.push(Tensor::from_vec("output", input.shape().clone(), doubled)?);
        }
        Ok(InferResponse::new(outputs))
    }

    /// Requests and answers are held to this. -1 is a dimension of any size.
    async fn model_metadata(&self, model: &ModelRef) -> Result<ModelMetadata> {
        Ok(ModelMetadata {
            name: model.name.clone(),
            platform: "rust".into(),
            inputs: vec![TensorMetadata::new("input", Datatype::Fp32, [-1, 3])],
            outputs: vec![TensorMetadata::new("output", Datatype::Fp32, [-1, 3])],
            ..ModelMetadata::default()
        })
    }

    /// Called once at start for each name below; read your weights here.
    async fn model_load(&self, model: &ModelRef) -> Result<()> {
        println!("{model} is loaded");
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), oip::server::ServerError> {
    // Without authentication on purpose, and on loopback only.
    let server = Server::new(MyHandler)
        .model("double")
        .without_authentication();
    server.serve().await
}
