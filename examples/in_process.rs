//! A handler under test, without a network: the whole pipeline around it, checks included.
//!
//! ```console
//! cargo run --example in_process
//! ```

use oip::testing::client;
use oip::{
    Call, Datatype, ErrorKind, InferRequest, InferResponse, ModelHandler, ModelMetadata, ModelRef,
    Result, Tensor, TensorMetadata,
};

/// Adds up what it is given.
struct Sum;

impl ModelHandler for Sum {
    async fn infer(&self, request: InferRequest, _call: &Call) -> Result<InferResponse> {
        let mut sum = 0;
        for input in &request.inputs {
            sum += input.to_slice::<i64>()?.iter().sum::<i64>();
        }
        Ok(InferResponse::new([Tensor::from_vec(
            "sum",
            [1],
            vec![sum],
        )?]))
    }

    async fn model_metadata(&self, model: &ModelRef) -> Result<ModelMetadata> {
        Ok(ModelMetadata {
            name: model.name.clone(),
            inputs: vec![TensorMetadata::new("terms", Datatype::Int64, [-1])],
            outputs: vec![TensorMetadata::new("sum", Datatype::Int64, [1])],
            ..ModelMetadata::default()
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sum = client(Sum).await;

    let terms = Tensor::from_vec("terms", [3], vec![1_i64, 2, 3])?;
    let answer = sum.infer("sum", InferRequest::new([terms])).await?;
    assert_eq!(
        answer.output("sum").and_then(Tensor::as_slice),
        Some(&[6_i64][..])
    );

    // What does not fit the metadata never reaches the handler.
    let wrong = Tensor::from_vec("terms", [1], vec![1.0_f32])?;
    let error = sum
        .infer("sum", InferRequest::new([wrong]))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DoesNotFit);
    println!("refused as it should be: {error}");
    Ok(())
}
