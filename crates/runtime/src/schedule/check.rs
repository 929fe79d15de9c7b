//! Whether a model answers a batch as it answers the same requests alone. Found out on made-up
//! or written-down requests before batching is switched on; a model that mixes its rows, or
//! refuses batches, then runs each request alone.

use half::{bf16, f16};
use oip_protocol::error::excerpt;
use oip_protocol::{Datatype, Error, Result, Shape, Tensor, TensorMetadata};

use super::merge::{merge, rows_of, trailing};
use super::split::split;
use crate::engine::made::{make, open_as};
use crate::engine::run_fenced;
use crate::model::{Laps, Model};
use crate::settings::{Batching, Fill};

/// Why requests of a model may not be gathered.
type Reason = String;

/// How many different requests of one row are made up.
const MADE: u64 = 7;

/// Finds out whether requests of a model may be gathered. `written` are its warm-up requests;
/// those that are alike are gathered, with made-up ones where there is but one of them. Without
/// any, all are made up. Blocks for some runs, one of them of a full batch.
///
/// # Errors
/// Why not.
pub(crate) fn check(
    model: &dyn Model,
    batching: &Batching,
    written: &[Vec<Tensor>],
) -> std::result::Result<(), Reason> {
    open_first_dimensions(model)?;
    let groups = groups(model, batching, written)?;
    for group in groups {
        check_group(model, batching, &group)?;
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

/// Requests that are alike, two different ones at least.
type Group = Vec<Vec<Tensor>>;

fn groups(
    model: &dyn Model,
    batching: &Batching,
    written: &[Vec<Tensor>],
) -> std::result::Result<Vec<Group>, Reason> {
    let mut groups: Vec<Group> = Vec::new();
    for request in written {
        let rows = request.first().and_then(rows_of).unwrap_or(0);
        let even = request.iter().all(|input| rows_of(input) == Some(rows));
        if !even || !(1..=batching.max_batch_size).contains(&rows) {
            continue;
        }
        match groups.iter_mut().find(|group| are_alike(group, request)) {
            Some(group) => group.push(request.clone()),
            None => groups.push(vec![request.clone()]),
        }
    }
    let random = |like: Option<&[Tensor]>| made_up(model, batching, like);
    let reason = |error: Error| format!("no request can be made up: {error}");
    if groups.is_empty() {
        groups.push(random(None).map_err(reason)?);
    }
    for group in &mut groups {
        let differ = group.iter().any(|request| Some(request) != group.first());
        if !differ {
            let like = group.first().cloned().unwrap_or_default();
            group.extend(random(Some(&like)).map_err(reason)?);
        }
    }
    Ok(groups)
}

fn are_alike(group: &Group, request: &[Tensor]) -> bool {
    let Some(first) = group.first() else {
        return false;
    };
    let mut pairs = first.iter().zip(request);
    pairs.all(|(a, b)| a.name() == b.name() && trailing(a) == trailing(b))
}

/// Requests of one row and one of two; with the trailing dimensions of `like` where it is there.
fn made_up(model: &dyn Model, batching: &Batching, like: Option<&[Tensor]>) -> Result<Group> {
    let request = |rows: u64, seed: u64| -> Result<Vec<Tensor>> {
        let of_input = |declared: &TensorMetadata| {
            let like = like.and_then(|like| like.iter().find(|t| t.name() == declared.name));
            let shape = match like {
                None => open_as(declared, rows),
                Some(like) => Shape::new([&[rows], trailing(like)].concat()),
            };
            make(declared, shape, Fill::Random, seed)
        };
        model.inputs().iter().map(of_input).collect()
    };
    let mut group: Group = (1..=MADE)
        .map(|seed| request(1, seed))
        .collect::<Result<_>>()?;
    if batching.max_batch_size > 2 {
        group.insert(1, request(2, 77)?);
    }
    Ok(group)
}

/// Runs each request alone, then two as one, then as many as fill a batch.
fn check_group(
    model: &dyn Model,
    batching: &Batching,
    group: &Group,
) -> std::result::Result<(), Reason> {
    let run = |inputs: &[Tensor]| run_fenced(model, inputs, &mut Laps::begin());
    let alone = group
        .iter()
        .map(|inputs| run(inputs))
        .collect::<Result<Vec<_>>>()
        .map_err(|error| {
            format!(
                "it does not take the requests of the check ({}); write down in [[warmup]] two \
                 different ones that it takes",
                told(&error)
            )
        })?;
    let two = group.len().min(2);
    for length in [two, usize::MAX] {
        let members = filling(group, batching.max_batch_size, length);
        let inputs: Vec<&[Tensor]> = members
            .iter()
            .filter_map(|member| group.get(*member).map(Vec::as_slice))
            .collect();
        let rows: Vec<u64> = inputs
            .iter()
            .filter_map(|inputs| inputs.first().and_then(rows_of))
            .collect();
        let merged = merge(&inputs)?;
        let total: u64 = rows.iter().sum();
        let outputs = run(&merged)
            .map_err(|error| format!("it does not take a batch of {total}: {}", told(&error)))?;
        let answers = split(&outputs, &rows)?;
        for (answer, member) in answers.iter().zip(&members) {
            let expected = alone.get(*member).map_or(&[][..], Vec::as_slice);
            compare(expected, answer, batching.tolerance)
                .map_err(|reason| format!("in a batch of {total} {reason}"))?;
        }
    }
    Ok(())
}

fn told(error: &Error) -> String {
    match error.cause() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// The members of a group one after the other, from the beginning again at the end, while they
/// fit into `most` rows; `length` of them at most.
fn filling(group: &Group, most: u64, length: usize) -> Vec<usize> {
    let mut members = Vec::new();
    let mut rows = 0;
    for (member, request) in group.iter().enumerate().cycle().take(length) {
        rows += request.first().and_then(rows_of).unwrap_or(most).max(1);
        if rows > most {
            break;
        }
        members.push(member);
    }
    members
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
