//! A handler's answer against the model's metadata: the handler is held to its word too.

use oip_protocol::{Error, InferRequest, InferResponse, ModelMetadata, Tensor};

use super::{Mismatch, check_tensor, first_duplicate, list_names};

/// Holds an answer to what the model declares and to what was asked for.
///
/// An output that is declared and not returned is a fault only when it was asked for by name.
///
/// # Errors
/// The first mismatch, as a failure of the handler: the caller reads a stable phrase and the
/// log the cause.
pub fn check_response(
    metadata: Option<&ModelMetadata>,
    request: &InferRequest,
    response: &InferResponse,
) -> Result<(), Error> {
    find_mismatch(metadata, request, response).map_err(|mismatch| {
        Error::new(
            oip_protocol::ErrorKind::HandlerFailed,
            "the model's answer does not fit what it declares",
        )
        .caused_by(mismatch)
    })
}

fn find_mismatch(
    metadata: Option<&ModelMetadata>,
    request: &InferRequest,
    response: &InferResponse,
) -> Result<(), Mismatch> {
    if let Some(name) = first_duplicate(response.outputs.iter().map(Tensor::name)) {
        return Err(Mismatch::Duplicate {
            side: "output",
            tensor: name.to_owned(),
        });
    }
    let Some(metadata) = metadata else {
        return Ok(());
    };
    for output in &response.outputs {
        let declared = metadata
            .outputs
            .iter()
            .find(|declared| declared.name == output.name());
        let Some(declared) = declared else {
            return Err(Mismatch::Unknown {
                side: "output",
                tensor: output.name().to_owned(),
                declared: list_names(&metadata.outputs),
            });
        };
        check_tensor("output", declared, output)?;
    }
    let lacking = request
        .outputs
        .iter()
        .find(|asked| response.output(&asked.name).is_none());
    match lacking {
        None => Ok(()),
        Some(asked) => Err(Mismatch::Missing {
            side: "output",
            tensor: asked.name.clone(),
            declared: "asked for by name".to_owned(),
        }),
    }
}
