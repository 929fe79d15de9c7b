//! A request against the model's metadata.

use oip_protocol::{
    Bytes, DeclaredShape, Error, ErrorKind, InferRequest, ModelMetadata, ParameterValue, Shape,
    Tensor,
};

use super::{Mismatch, check_tensor, first_duplicate, list_names};

/// Holds a request to what the model declares; without metadata only to what holds for every
/// model. A raw binary body becomes the one input that the model declares.
///
/// # Errors
/// The first mismatch, as [`ErrorKind::DoesNotFit`](oip_protocol::ErrorKind::DoesNotFit).
pub fn check_request(
    metadata: Option<&ModelMetadata>,
    mut request: InferRequest,
) -> Result<InferRequest, Error> {
    if let Some(body) = request.raw_input.take() {
        request.inputs = vec![raw_input(metadata, body)?];
    }
    check_extensions(&request)?;
    check_names(&request)?;
    if let Some(metadata) = metadata {
        check_inputs(metadata, &request)?;
        check_requested(metadata, &request)?;
    }
    Ok(request)
}

impl From<Mismatch> for Error {
    fn from(mismatch: Mismatch) -> Self {
        Self::does_not_fit(mismatch.to_string())
    }
}

/// Refuses what only an extension could fulfil that does not work here. Passing it over would
/// answer with other tensors than the caller meant.
fn check_extensions(request: &InferRequest) -> Result<(), Error> {
    let refuse = |extension: &str, parameter: &str| {
        Error::new(
            ErrorKind::NoSuchExtension,
            format!("the extension '{extension}' does not work here (parameter '{parameter}')"),
        )
    };
    let inputs = request.inputs.iter().map(Tensor::parameters);
    let outputs = request.outputs.iter().map(|output| &output.parameters);
    for parameters in inputs.chain(outputs) {
        if parameters.get("shared_memory_region").is_some() {
            return Err(refuse("system_shared_memory", "shared_memory_region"));
        }
    }
    let sequence = request.parameters.get("sequence_id");
    // 0 and the empty string are how clients say "no sequence".
    let none = |value: &ParameterValue| value.as_u64() == Some(0) || value.as_str() == Some("");
    match sequence.is_some_and(|value| !none(value)) {
        true => Err(refuse("sequence", "sequence_id")),
        false => Ok(()),
    }
}

fn check_names(request: &InferRequest) -> Result<(), Mismatch> {
    let duplicate = |side, name: &str| Mismatch::Duplicate {
        side,
        tensor: name.to_owned(),
    };
    if let Some(name) = first_duplicate(request.inputs.iter().map(Tensor::name)) {
        return Err(duplicate("input", name));
    }
    match first_duplicate(request.outputs.iter().map(|output| output.name.as_str())) {
        Some(name) => Err(duplicate("output", name)),
        None => Ok(()),
    }
}

fn check_inputs(metadata: &ModelMetadata, request: &InferRequest) -> Result<(), Mismatch> {
    for input in &request.inputs {
        let declared = metadata
            .inputs
            .iter()
            .find(|declared| declared.name == input.name());
        let Some(declared) = declared else {
            return Err(Mismatch::Unknown {
                side: "input",
                tensor: input.name().to_owned(),
                declared: list_names(&metadata.inputs),
            });
        };
        check_tensor("input", declared, input)?;
    }
    let missing =
        |declared: &&oip_protocol::TensorMetadata| request.input(&declared.name).is_none();
    match metadata.inputs.iter().find(missing) {
        None => Ok(()),
        Some(declared) => Err(Mismatch::Missing {
            side: "input",
            tensor: declared.name.clone(),
            declared: format!("{} {}", declared.datatype, declared.shape),
        }),
    }
}

fn check_requested(metadata: &ModelMetadata, request: &InferRequest) -> Result<(), Mismatch> {
    let unknown = |name: &str| {
        metadata
            .outputs
            .iter()
            .all(|declared| declared.name != name)
    };
    match request.outputs.iter().find(|output| unknown(&output.name)) {
        None => Ok(()),
        Some(output) => Err(Mismatch::Unknown {
            side: "output",
            tensor: output.name.clone(),
            declared: list_names(&metadata.outputs),
        }),
    }
}

/// The one input of a model from a raw body: its one open dimension, if it has one, takes the
/// size that the body leaves it; a `BYTES` body is one element.
///
/// Source: Triton's `extension_binary_data.md`, "Raw Binary Request".
fn raw_input(metadata: Option<&ModelMetadata>, body: Bytes) -> Result<Tensor, Error> {
    let refuse = |reason: String| Error::from(Mismatch::Raw(reason));
    let Some(metadata) = metadata else {
        return Err(refuse("needs a model that declares its input".to_owned()));
    };
    let [declared] = metadata.inputs.as_slice() else {
        let count = metadata.inputs.len();
        return Err(refuse(format!(
            "needs a model with one input; this one has {count}"
        )));
    };
    let name = declared.name.clone();
    let Some(size) = declared.datatype.size() else {
        return raw_string(name, &declared.shape, &body);
    };
    let shape = raw_shape(&declared.shape, body.len(), size).map_err(refuse)?;
    Tensor::new(name, declared.datatype, shape, body)
        .map_err(|error| Error::malformed(error.to_string()))
}

fn raw_string(name: String, declared: &DeclaredShape, body: &[u8]) -> Result<Tensor, Error> {
    let dims: Vec<u64> = vec![1; declared.rank()];
    let shape = Shape::new(dims);
    if !declared.matches(&shape) {
        let reason = format!("is one BYTES element, but input '{name}' is declared {declared}");
        return Err(Mismatch::Raw(reason).into());
    }
    Tensor::from_strings(name, shape, [body]).map_err(|error| Error::malformed(error.to_string()))
}

fn raw_shape(declared: &DeclaredShape, bytes: usize, size: usize) -> Result<Shape, String> {
    let mut open = declared.dims().iter().filter(|dim| **dim < 0);
    let fixed = declared
        .dims()
        .iter()
        .filter_map(|dim| u64::try_from(*dim).ok());
    let row = fixed
        .clone()
        .try_fold(size as u64, |row, dim| row.checked_mul(dim));
    let (Some(row), bytes) = (row, bytes as u64) else {
        return Err(format!("cannot fill shape {declared}"));
    };
    let dim = match (open.next(), open.next()) {
        (None, _) => 0,
        (Some(_), None) if row > 0 && bytes.is_multiple_of(row) => bytes / row,
        (Some(_), None) => {
            return Err(format!(
                "has {bytes} bytes, which is not a multiple of the {row} that shape {declared} \
                 takes per element of its open dimension"
            ));
        }
        (Some(_), Some(_)) => {
            return Err(format!(
                "needs an input with at most one open dimension; this one is {declared}"
            ));
        }
    };
    let dims = declared.dims().iter();
    Ok(Shape::new(
        dims.map(|d| u64::try_from(*d).unwrap_or(dim))
            .collect::<Vec<_>>(),
    ))
}
