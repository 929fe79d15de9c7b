//! Running a model before it counts as ready, so that what an engine does on the first run alone
//! is done before the first request.

use std::collections::BTreeMap;

use oip_core::validate::check_request;
use oip_protocol::error::excerpt;
use oip_protocol::{Error, InferRequest, ModelMetadata, Result, Shape, Tensor, TensorMetadata};

use super::made::{make, open_as, zeros};
use super::run_fenced;
use crate::model::{Laps, LoadError, Model};
use crate::settings::{Warmup, WarmupInput};

/// Runs a model once on zeros (empty strings), with 1 for each open dimension.
///
/// # Errors
/// The model's own; some models take neither zeros nor one row.
pub fn warm_up(model: &dyn Model) -> Result<()> {
    run_fenced(model, &zeros(model.inputs())?, &mut Laps::begin())?;
    Ok(())
}

/// Runs a model on each of these requests.
///
/// # Errors
/// The first that the model does not take, by its number.
pub(crate) fn run_all(model: &dyn Model, requests: &[Vec<Tensor>]) -> Result<(), LoadError> {
    for (index, inputs) in requests.iter().enumerate() {
        run_fenced(model, inputs, &mut Laps::begin()).map_err(|error| refused(index, &error))?;
    }
    Ok(())
}

/// The requests that `model.toml` writes down, held to what the model declares.
///
/// # Errors
/// The first that does not fit, by its number.
pub(crate) fn requests(
    model: &dyn Model,
    warmup: &[Warmup],
) -> Result<Vec<Vec<Tensor>>, LoadError> {
    let metadata = ModelMetadata {
        inputs: model.inputs().to_vec(),
        outputs: model.outputs().to_vec(),
        ..ModelMetadata::default()
    };
    let of_one = |(index, warmup): (usize, &Warmup)| {
        let inputs = match warmup {
            Warmup::Request { inputs, .. } => Ok(inputs.clone()),
            Warmup::Made(inputs) => made(model, inputs, index as u64),
        };
        let request =
            inputs.and_then(|inputs| check_request(Some(&metadata), InferRequest::new(inputs)));
        request
            .map(|request| request.inputs)
            .map_err(|error| refused(index, &error))
    };
    warmup.iter().enumerate().map(of_one).collect()
}

fn made(
    model: &dyn Model,
    inputs: &BTreeMap<String, WarmupInput>,
    seed: u64,
) -> Result<Vec<Tensor>> {
    let known = |name: &String| model.inputs().iter().any(|input| input.name == *name);
    if let Some(unknown) = inputs.keys().find(|name| !known(name)) {
        let names: Vec<&str> = model.inputs().iter().map(|i| i.name.as_str()).collect();
        return Err(Error::does_not_fit(format!(
            "the model has no input '{}'; it has {}",
            excerpt(unknown),
            names.join(", ")
        )));
    }
    let of_input = |declared: &TensorMetadata| {
        let wanted = inputs.get(&declared.name);
        let shape = wanted.and_then(|wanted| wanted.shape.clone());
        let shape = shape.map_or_else(|| open_as(declared, 1), Shape::new);
        let fill = wanted.map(|wanted| wanted.fill).unwrap_or_default();
        make(declared, shape, fill, seed)
    };
    model.inputs().iter().map(of_input).collect()
}

fn refused(index: usize, error: &Error) -> LoadError {
    LoadError::Warmup {
        number: index + 1,
        reason: match error.cause() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
}
