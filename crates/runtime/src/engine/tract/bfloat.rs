//! `BF16`, which tract lacks: the model is rewritten to run in `FP32`, and its `BF16` inputs and
//! outputs are converted at the edge.
//!
//! What lies between is computed in `FP32` and not rounded after each operator, so answers may
//! differ from another engine's in the last bit of a `BF16`, towards the exact value. That holds
//! for a Cast to `BF16` inside the model too. An output is rounded to nearest, ties to even. What
//! a model passes through comes back bit for bit, NaNs included.

use half::bf16;
use tract_onnx::Onnx;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{
    GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, type_proto::Value,
};
use tract_onnx::prelude::TractResult;
use tract_onnx::tensor::load_tensor;

const BF16: i32 = DataType::Bfloat16 as i32;
const FP32: i32 = DataType::Float as i32;

/// The attributes of ONNX's operators that hold an element type.
const ELEMENT_TYPES: [&str; 5] = [
    "to",
    "dtype",
    "output_dtype",
    "output_datatype",
    "stash_type",
];

/// One element as `FP32`, exactly; a NaN keeps all its bits.
pub(super) fn widen(element: bf16) -> f32 {
    f32::from_bits(u32::from(element.to_bits()) << 16)
}

/// One element rounded to nearest, ties to even. What came from a `BF16` goes back bit for bit.
pub(super) fn narrow(element: f32) -> bf16 {
    let [low0, low1, high0, high1] = element.to_bits().to_le_bytes();
    match [low0, low1] {
        // Rounding would set a bit in a signalling NaN.
        [0, 0] => bf16::from_le_bytes([high0, high1]),
        _ => bf16::from_f32(element),
    }
}

/// Rewrites a model to `FP32` wherever it says `BF16`. `folder` is where external data lies.
///
/// # Errors
/// When a constant's data cannot be read or is not what its shape says.
pub(super) fn widen_model(
    tract: &Onnx,
    model: &mut ModelProto,
    folder: Option<&str>,
) -> TractResult<()> {
    model
        .graph
        .iter_mut()
        .try_for_each(|graph| widen_graph(tract, graph, folder))
}

/// A graph and those inside it: the branches of an If, the body of a Loop.
fn widen_graph(tract: &Onnx, graph: &mut GraphProto, folder: Option<&str>) -> TractResult<()> {
    let values = graph.input.iter_mut().chain(&mut graph.output);
    values.chain(&mut graph.value_info).for_each(widen_value);
    for constant in &mut graph.initializer {
        widen_constant(tract, constant, folder)?;
    }
    for node in &mut graph.node {
        widen_node(tract, node, folder)?;
    }
    Ok(())
}

fn widen_value(value: &mut ValueInfoProto) {
    let held = value.r#type.as_mut().and_then(|t| t.value.as_mut());
    if let Some(Value::TensorType(tensor)) = held
        && tensor.elem_type == BF16
    {
        tensor.elem_type = FP32;
    }
}

fn widen_node(tract: &Onnx, node: &mut NodeProto, folder: Option<&str>) -> TractResult<()> {
    for attribute in &mut node.attribute {
        if attribute.i == i64::from(BF16) && ELEMENT_TYPES.contains(&attribute.name.as_str()) {
            attribute.i = i64::from(FP32);
        }
        for constant in attribute.t.iter_mut().chain(&mut attribute.tensors) {
            widen_constant(tract, constant, folder)?;
        }
        for graph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
            widen_graph(tract, graph, folder)?;
        }
    }
    Ok(())
}

/// tract reads the data as `UINT16`, whichever of its three places the file keeps it in.
fn widen_constant(
    tract: &Onnx,
    constant: &mut TensorProto,
    folder: Option<&str>,
) -> TractResult<()> {
    if constant.data_type != BF16 {
        return Ok(());
    }
    constant.data_type = DataType::Uint16 as i32;
    let loaded = load_tensor(&*tract.provider, constant, folder)?;
    let bits = loaded.try_as_plain_ram()?;
    let elements = bits.as_slice::<u16>()?.iter().copied();
    constant.raw_data = elements
        .flat_map(|bits| widen(bf16::from_bits(bits)).to_le_bytes())
        .collect();
    constant.int32_data.clear();
    constant.external_data.clear();
    constant.data_location = None;
    constant.data_type = FP32;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::{StringStringEntryProto, tensor_proto::DataLocation};

    use super::*;

    #[test]
    fn every_bf16_goes_to_fp32_and_back_bit_for_bit() {
        for bits in u16::MIN..=u16::MAX {
            assert_eq!(narrow(widen(bf16::from_bits(bits))).to_bits(), bits);
        }
    }

    #[test]
    fn an_fp32_is_rounded_to_nearest_and_a_tie_to_even() {
        for (bits, rounded) in [
            (0x3f80_7fff, 0x3f80),
            (0x3f80_8000, 0x3f80),
            (0x3f80_8001, 0x3f81),
            (0x3f81_8000, 0x3f82),
            (0xbf81_8000, 0xbf82),
            // The largest finite FP32 is beyond the largest BF16.
            (0x7f7f_ffff, 0x7f80),
        ] {
            assert_eq!(narrow(f32::from_bits(bits)).to_bits(), rounded, "{bits:x}");
        }
        assert!(narrow(f32::from_bits(0x7f80_0001)).is_nan());
    }

    #[test]
    fn data_that_lies_beside_the_model_is_widened_and_a_short_one_refused() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/models");
        let entry = |key: &str, value: &str| StringStringEntryProto {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let outside = TensorProto {
            data_type: BF16,
            dims: vec![4],
            data_location: Some(DataLocation::External as i32),
            external_data: vec![
                entry("location", "external_data.weights"),
                entry("length", "8"),
            ],
            ..TensorProto::default()
        };
        let mut constant = outside.clone();
        widen_constant(&tract_onnx::onnx(), &mut constant, Some(folder)).unwrap();
        // The file holds 1 and 2 in FP32, whose upper halves are the same in BF16.
        let expected: Vec<u8> = [0.0_f32, 1.0, 0.0, 2.0].map(f32::to_le_bytes).concat();
        assert_eq!(constant.raw_data, expected);
        assert_eq!(constant.data_type, FP32);

        let mut longer = outside;
        longer.dims = vec![5];
        assert!(widen_constant(&tract_onnx::onnx(), &mut longer, Some(folder)).is_err());
    }
}
