//! A server for experiments: what a model does is in its name.

use std::time::Duration;

use oip::testing::TestServer;
use oip::{
    Call, Datatype, Error, InferRequest, InferResponse, ModelHandler, ModelMetadata, ModelRef,
    Result, Server, Tensor, TensorMetadata,
};

/// Doubles `x` (FP32 `[-1,2]`) into `y`; answers `text` too, bytes that are not UTF-8.
pub(crate) struct Lab;

/// The names that the server is given.
pub(crate) const NAMES: [&str; 8] = [
    "double", "free", "panics", "lies", "refuses", "slow", "broken", "silent",
];

impl ModelHandler for Lab {
    async fn infer(&self, request: InferRequest, call: &Call) -> Result<InferResponse> {
        match call.model().name.as_str() {
            "free" => return Ok(InferResponse::new(request.inputs)),
            "panics" => panic!("as it was told to"),
            "lies" => {
                return Ok(InferResponse::new([Tensor::from_vec(
                    "y",
                    [1],
                    vec![1_u8],
                )?]));
            }
            "refuses" => return Err(Error::does_not_fit("x is too cold")),
            "slow" => tokio::time::sleep(Duration::from_millis(400)).await,
            "silent" => return Err(Error::not_implemented("not written yet")),
            _ => {}
        }
        let x = &request.inputs[0];
        let doubled = x.to_slice::<f32>()?.iter().map(|x| x * 2.0).collect();
        Ok(InferResponse::new([
            Tensor::from_vec("y", x.shape().clone(), doubled)?,
            Tensor::from_strings("text", [1], [b"\xff\x00"])?,
        ]))
    }

    async fn model_metadata(&self, model: &ModelRef) -> Result<ModelMetadata> {
        if model.name == "free" {
            return Err(Error::not_implemented("anything goes"));
        }
        Ok(ModelMetadata {
            name: model.name.clone(),
            versions: vec!["1".into()],
            platform: "lab".into(),
            inputs: vec![TensorMetadata::new("x", Datatype::Fp32, [-1, 2])],
            outputs: vec![
                TensorMetadata::new("y", Datatype::Fp32, [-1, 2]),
                TensorMetadata::new("text", Datatype::Bytes, [1]),
            ],
        })
    }

    async fn model_load(&self, model: &ModelRef) -> Result<()> {
        match model.name.as_str() {
            "broken" => Err(Error::does_not_fit("the weights are gone")),
            _ => Ok(()),
        }
    }
}

/// The server to be, on which a test may set more.
pub(crate) fn server() -> Server {
    NAMES
        .into_iter()
        .fold(Server::new(Lab).without_authentication(), Server::model)
}

pub(crate) async fn start() -> TestServer {
    TestServer::start(server()).await.expect("starts")
}

/// `x` of shape `[1,2]`.
pub(crate) fn x() -> Tensor {
    Tensor::from_vec("x", [1, 2], vec![1.0_f32, -0.5]).expect("fits")
}
