//! What the server says of itself and what a model declares.

use oip_core::access::actions;
use oip_protocol::{ModelMetadata, Result, ServerMetadata, TensorMetadata};
use serde::Serialize;

use super::Arrived;
use super::respond::Reply;

/// Source: `inference_rest.md`, "Server Metadata Response JSON Object".
#[derive(Serialize)]
struct Server<'a> {
    name: &'a str,
    version: &'a str,
    extensions: &'a [String],
}

/// Source: `inference_rest.md`, "Model Metadata Response JSON Object".
#[derive(Serialize)]
struct Model<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    versions: &'a [String],
    platform: &'a str,
    inputs: Vec<Tensor<'a>>,
    outputs: Vec<Tensor<'a>>,
}

#[derive(Serialize)]
struct Tensor<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: &'a [i64],
}

/// The server's metadata.
pub(super) async fn server(arrived: &mut Arrived) -> Result<Reply> {
    let permit = arrived.permit::<actions::ServerMetadata>().await?;
    let metadata = arrived.rest.door.dataplane.server_metadata(permit).await?;
    let ServerMetadata {
        name,
        version,
        extensions,
    } = &metadata;
    Reply::json(&Server {
        name,
        version,
        extensions,
    })
}

/// A model's metadata.
pub(super) async fn model(arrived: &mut Arrived) -> Result<Reply> {
    let permit = arrived.permit::<actions::Metadata>().await?;
    let metadata = arrived.rest.door.dataplane.model_metadata(permit).await?;
    let ModelMetadata {
        name,
        versions,
        platform,
        inputs,
        outputs,
    } = &metadata;
    Reply::json(&Model {
        name,
        versions,
        platform,
        inputs: tensors(inputs),
        outputs: tensors(outputs),
    })
}

fn tensors(declared: &[TensorMetadata]) -> Vec<Tensor<'_>> {
    declared
        .iter()
        .map(|tensor| Tensor {
            name: &tensor.name,
            datatype: tensor.datatype.name(),
            shape: tensor.shape.dims(),
        })
        .collect()
}
