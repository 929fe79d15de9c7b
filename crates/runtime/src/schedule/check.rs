//! Whether a model answers a batch as it answers the same requests alone. Found out on made-up
//! or written-down requests before batching is switched on; a model that mixes its rows, or
//! refuses batches, then runs each request alone.

mod group;

use half::{bf16, f16};
use oip_protocol::error::excerpt;
use oip_protocol::{Datatype, Error, Result, Tensor, TensorMetadata};

use super::merge::merge;
use super::split::split;
use crate::engine::run_fenced;
use crate::model::{Laps, Model};
use crate::settings::Batching;

use group::{Group, groups};

/// Why requests of a model may not be gathered.
type Reason = String;

/// Finds out whether requests of a model may be gathered. `written` are its warm-up requests;
/// those that are alike are gathered, with made-up ones where no two of them differ and fit into
/// one batch. Without any, all are made up. Blocks for some runs, one of them of a full batch.
///
/// # Errors
/// Why not.
pub(crate) fn check(
    model: &dyn Model,
    batching: &Batching,
    written: &[Vec<Tensor>],
) -> std::result::Result<(), Reason> {
    open_first_dimensions(model)?;
    for group in groups(model, batching.max_batch_size, written)? {
        check_group(model, batching.tolerance, &group)?;
    }
    Ok(())
}

fn open_first_dimensions(model: &dyn Model) -> std::result::Result<(), Reason> {
    if model.inputs().is_empty() {
        return Err("it has no input to gather".to_owned());
    }
    let sides = [("input", model.inputs()), ("output", model.outputs())];
    for (side, tensors) in sides {
        let closed = |t: &&TensorMetadata| t.shape.dims().first().is_none_or(|dim| *dim >= 0);
        if let Some(closed) = tensors.iter().find(closed) {
            return Err(format!(
                "{side} '{}' is declared {}: its first dimension is not open",
                excerpt(&closed.name),
                closed.shape
            ));
        }
    }
    Ok(())
}

/// Runs each request of a group alone, and then the batches of it.
fn check_group(
    model: &dyn Model,
    tolerance: f64,
    group: &Group,
) -> std::result::Result<(), Reason> {
    let requests = group.requests().iter();
    let alone = requests
        .map(|request| run(model, &request.inputs))
        .collect::<Result<Vec<_>>>()
        .map_err(|error| {
            format!(
                "it does not take the requests of the check ({}); write down in [[warmup]] two \
                 different ones that it takes and that fit into one batch",
                told(&error)
            )
        })?;
    for batch in group.batches() {
        let members = batch
            .iter()
            .filter_map(|place| Some((group.requests().get(*place)?, alone.get(*place)?)))
            .collect::<Vec<_>>();
        let inputs: Vec<_> = members.iter().map(|(r, _)| r.inputs.as_slice()).collect();
        let rows: Vec<u64> = members.iter().map(|(request, _)| request.rows).collect();
        let total: u64 = rows.iter().sum();
        let outputs = run(model, &merge(&inputs)?)
            .map_err(|error| format!("it does not take a batch of {total}: {}", told(&error)))?;
        let answers = split(&outputs, &rows)?;
        for (answer, (_, alone)) in answers.iter().zip(&members) {
            compare(alone, answer, tolerance)
                .map_err(|reason| format!("in a batch of {total} {reason}"))?;
        }
    }
    Ok(())
}

fn run(model: &dyn Model, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    run_fenced(model, inputs, &mut Laps::begin())
}

fn told(error: &Error) -> String {
    match error.cause() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Holds an answer out of a batch to the answer alone: bit for bit, floats within a tolerance.
fn compare(
    alone: &[Tensor],
    batched: &[Tensor],
    tolerance: f64,
) -> std::result::Result<(), Reason> {
    for (alone, batched) in alone.iter().zip(batched) {
        let name = excerpt(alone.name());
        if alone.shape() != batched.shape() {
            return Err(format!(
                "output '{name}' is {} for a request that gets {} alone",
                batched.shape(),
                alone.shape()
            ));
        }
        let far = match (floats(alone), floats(batched)) {
            (Some(a), Some(b)) => furthest(&a, &b, least_tolerance(alone.datatype(), tolerance)),
            _ => (alone.data() != batched.data()).then(|| "other elements".to_owned()),
        };
        if let Some(far) = far {
            return Err(format!("output '{name}' has {far} than the request alone"));
        }
    }
    Ok(())
}

/// The tolerance, or two steps of a datatype that is too coarse for it.
fn least_tolerance(datatype: Datatype, tolerance: f64) -> f64 {
    match datatype {
        Datatype::Fp16 => tolerance.max(1.0 / 512.0),
        Datatype::Bf16 => tolerance.max(1.0 / 64.0),
        _ => tolerance,
    }
}

fn floats(tensor: &Tensor) -> Option<Vec<f64>> {
    let data = match tensor.datatype() {
        Datatype::Fp16 => tensor
            .to_slice::<f16>()
            .ok()?
            .iter()
            .map(|x| x.to_f64())
            .collect(),
        Datatype::Bf16 => tensor
            .to_slice::<bf16>()
            .ok()?
            .iter()
            .map(|x| x.to_f64())
            .collect(),
        Datatype::Fp32 => tensor
            .to_slice::<f32>()
            .ok()?
            .iter()
            .map(|x| f64::from(*x))
            .collect(),
        Datatype::Fp64 => tensor.to_slice::<f64>().ok()?.to_vec(),
        _ => return None,
    };
    Some(data)
}

/// How far two lists of floats lie apart, where that is more than a part of the largest of them.
fn furthest(a: &[f64], b: &[f64], tolerance: f64) -> Option<String> {
    let finite = |x: &&f64| x.is_finite();
    let largest = a.iter().filter(finite).fold(0.0_f64, |m, x| m.max(x.abs()));
    let alike = |a: f64, b: f64| {
        (a - b).abs() <= tolerance * largest || a == b || (a.is_nan() && b.is_nan())
    };
    let (a, b) = a.iter().zip(b).find(|(a, b)| !alike(**a, **b))?;
    Some(format!(
        "{b} in place of {a}, further off (tolerance {tolerance})"
    ))
}

#[cfg(test)]
mod tests;
