//! Protobuf in: messages as requests and responses, raw contents shared.

use super::generated::model_infer_request::InferRequestedOutputTensor;
use super::generated::{
    ModelInferRequest, ModelInferResponse, ModelMetadataResponse, ServerMetadataResponse,
    model_metadata_response,
};
use super::tensors::{self, Described};
use super::{ContentsForm, parameters};
use crate::decode_error::{Place, Role, member};
use crate::{
    DecodeError, DecodeLimits, InferRequest, InferResponse, ModelMetadata, ModelRef,
    RequestedOutput, ServerMetadata, TensorMetadata,
};

/// Reads an inference request: which model, what is asked of it, and the form of its contents,
/// which is that of the answer.
///
/// The form is raw when `raw_input_contents` has entries and typed otherwise. Raw contents are
/// shared, and so are typed ones of four or eight bytes an element. Source: `inference_grpc.md`,
/// "ModelInfer".
///
/// # Errors
/// When the message is no well-formed request. Nothing is held against a model here.
pub fn decode_request(
    message: ModelInferRequest,
    limits: &DecodeLimits,
) -> Result<(ModelRef, InferRequest, ContentsForm), DecodeError> {
    let model = decode_model_ref(message.model_name, message.model_version)?;
    if message.inputs.is_empty() {
        return Err(member("request", "'inputs' is empty"));
    }
    let outputs = requested(message.outputs, limits)?;
    let described = message.inputs.into_iter().map(Described::from).collect();
    let raw = message.raw_input_contents;
    let (inputs, form) = tensors::decode(Role::Input, described, raw, limits)?;
    limits.check_strings(&inputs)?;
    let request = InferRequest {
        id: given(message.id),
        parameters: parameters::decode("request", message.parameters, limits)?,
        inputs,
        outputs,
        raw_input: None,
    };
    Ok((model, request, form))
}

/// Reads an inference response, and the form of its contents.
///
/// # Errors
/// When the message is no well-formed response.
pub fn decode_response(
    message: ModelInferResponse,
    limits: &DecodeLimits,
) -> Result<(InferResponse, ContentsForm), DecodeError> {
    let described = message.outputs.into_iter().map(Described::from).collect();
    let raw = message.raw_output_contents;
    let (outputs, form) = tensors::decode(Role::Output, described, raw, limits)?;
    let response = InferResponse {
        model_name: message.model_name,
        model_version: given(message.model_version),
        id: given(message.id),
        parameters: parameters::decode("response", message.parameters, limits)?,
        outputs,
    };
    Ok((response, form))
}

/// Reads which model is meant; an empty version leaves the choice to the server.
///
/// # Errors
/// When the name is empty, or it or the version is too long.
pub fn decode_model_ref(name: String, version: String) -> Result<ModelRef, DecodeError> {
    if name.is_empty() {
        return Err(member("request", "the name of the model is empty"));
    }
    let version = given(version);
    let model = ModelRef { name, version };
    model.check_length()?;
    Ok(model)
}

/// Reads what a server says of itself.
#[must_use]
pub fn decode_server_metadata(message: ServerMetadataResponse) -> ServerMetadata {
    ServerMetadata {
        name: message.name,
        version: message.version,
        extensions: message.extensions,
    }
}

/// Reads what a model declares.
///
/// # Errors
/// A datatype that the protocol does not know.
pub fn decode_model_metadata(message: ModelMetadataResponse) -> Result<ModelMetadata, DecodeError> {
    Ok(ModelMetadata {
        name: message.name,
        versions: message.versions,
        platform: message.platform,
        inputs: declared(Role::Input, message.inputs)?,
        outputs: declared(Role::Output, message.outputs)?,
    })
}

fn declared(
    role: Role,
    tensors: Vec<model_metadata_response::TensorMetadata>,
) -> Result<Vec<TensorMetadata>, DecodeError> {
    let one = |(index, tensor): (usize, model_metadata_response::TensorMetadata)| {
        let name = Some(tensor.name.as_str());
        let place = Place { role, index, name };
        let datatype = tensor.datatype.parse();
        let datatype = datatype.map_err(|unknown: crate::datatype::UnknownDatatype| {
            member(place, unknown.to_string())
        })?;
        Ok(TensorMetadata::new(tensor.name, datatype, tensor.shape))
    };
    tensors.into_iter().enumerate().map(one).collect()
}

fn requested(
    outputs: Vec<InferRequestedOutputTensor>,
    limits: &DecodeLimits,
) -> Result<Vec<RequestedOutput>, DecodeError> {
    if outputs.len() > limits.tensors {
        return Err(DecodeError::TooMany {
            place: "request".to_owned(),
            what: "outputs",
            limit: limits.tensors,
        });
    }
    let one = |(index, output): (usize, InferRequestedOutputTensor)| {
        let place = Place {
            role: Role::RequestedOutput,
            index,
            name: Some(&output.name),
        };
        let parameters = parameters::decode(place, output.parameters, limits)?;
        let name = output.name;
        Ok(RequestedOutput { name, parameters })
    };
    outputs.into_iter().enumerate().map(one).collect()
}

/// A string that counts as absent when it is empty.
fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
