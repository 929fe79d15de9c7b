//! The warm-up requests of a version, as its configuration shows them.

use std::collections::BTreeMap;

use oip_protocol::{Tensor, TensorMetadata, WarmupData, WarmupRequest, WarmupTensor};

use crate::engine::made::open_as;
use crate::settings::{Fill, Warmup, WarmupInput};

/// A request of a model with these inputs. Where requests are gathered, its rows stand by
/// themselves.
pub(super) fn shown(warmup: &Warmup, declared: &[TensorMetadata], gathers: bool) -> WarmupRequest {
    let mut inputs = match warmup {
        Warmup::Request { file, inputs } => of_file(file, inputs),
        Warmup::Made(inputs) => made(inputs, declared),
    };
    let rows = inputs.first().and_then(|input| input.dims.first()).copied();
    let rows = rows.filter(|_| gathers);
    if gathers {
        for input in &mut inputs {
            input.dims = input.dims.split_off(input.dims.len().min(1));
        }
    }
    WarmupRequest {
        batch_size: super::narrow_u64(rows.unwrap_or(1)),
        inputs,
    }
}

fn of_file(file: &str, inputs: &[Tensor]) -> Vec<WarmupTensor> {
    let of_tensor = |tensor: &Tensor| WarmupTensor {
        name: tensor.name().to_owned(),
        datatype: tensor.datatype(),
        dims: tensor.shape().dims().to_vec(),
        data: WarmupData::File(file.to_owned()),
    };
    inputs.iter().map(of_tensor).collect()
}

fn made(inputs: &BTreeMap<String, WarmupInput>, declared: &[TensorMetadata]) -> Vec<WarmupTensor> {
    let of_input = |declared: &TensorMetadata| {
        let wanted = inputs.get(&declared.name);
        let shape = wanted.and_then(|wanted| wanted.shape.clone());
        WarmupTensor {
            name: declared.name.clone(),
            datatype: declared.datatype,
            dims: shape.unwrap_or_else(|| open_as(declared, 1).dims().to_vec()),
            data: match wanted.map(|wanted| wanted.fill).unwrap_or_default() {
                Fill::Zeros => WarmupData::Zeros,
                Fill::Random => WarmupData::Random,
            },
        }
    };
    declared.iter().map(of_input).collect()
}
