//! What an ONNX file declares of its inputs and outputs, and what in it tract would get wrong.

use oip_protocol::{Datatype, DeclaredShape, TensorMetadata};
use tract_onnx::pb::{
    GraphProto, NodeProto, ValueInfoProto, tensor_proto::DataType,
    tensor_shape_proto::dimension::Value as Dimension, type_proto::Value,
};

use super::INSTALL;
use crate::engine::EXPORT_TENSORS;
use crate::model::LoadError;

/// The inputs; an initializer that is listed among them is a constant here.
pub(super) fn inputs(graph: &GraphProto) -> Result<Vec<TensorMetadata>, LoadError> {
    let is_initializer =
        |input: &&ValueInfoProto| graph.initializer.iter().any(|init| init.name == input.name);
    graph
        .input
        .iter()
        .filter(|input| !is_initializer(input))
        .map(|input| tensor_of("input", input))
        .collect()
}

/// The outputs.
pub(super) fn outputs(graph: &GraphProto) -> Result<Vec<TensorMetadata>, LoadError> {
    graph
        .output
        .iter()
        .map(|output| tensor_of("output", output))
        .collect()
}

fn tensor_of(what: &str, value: &ValueInfoProto) -> Result<TensorMetadata, LoadError> {
    let name = &value.name;
    let Some(Value::TensorType(tensor)) = value.r#type.as_ref().and_then(|t| t.value.as_ref())
    else {
        return Err(LoadError::Unsupported {
            lacking: format!(
                "{what} '{name}' is no tensor but a sequence, map or optional, which the protocol cannot carry"
            ),
            remedy: EXPORT_TENSORS,
        });
    };
    let Some(datatype) = datatype_of(value) else {
        return Err(LoadError::Unsupported {
            lacking: format!(
                "{what} '{name}' is of a datatype that the embedded engine, tract, lacks ({})",
                DataType::try_from(tensor.elem_type)
                    .map_or_else(|_| tensor.elem_type.to_string(), |t| format!("{t:?}"))
            ),
            remedy: INSTALL,
        });
    };
    let Some(shape) = &tensor.shape else {
        if what == "output" {
            // Exporters often leave it out; tract infers it.
            return Ok(TensorMetadata::new(
                name,
                datatype,
                DeclaredShape::default(),
            ));
        }
        return Err(LoadError::Unsupported {
            lacking: format!("{what} '{name}' declares no shape, not even how many dimensions"),
            remedy: "export the model with a shape for it",
        });
    };
    let dims = shape.dim.iter().map(|dim| match dim.value {
        Some(Dimension::DimValue(size)) if size >= 0 => size,
        _ => -1,
    });
    let shape = DeclaredShape::new(dims.collect::<Vec<i64>>());
    Ok(TensorMetadata::new(name, datatype, shape))
}

/// The names of each input's open dimensions, in the order of [`inputs`]; empty where a dimension
/// has a size or no name.
pub(super) fn dimension_names(graph: &GraphProto, inputs: &[TensorMetadata]) -> Vec<Vec<String>> {
    let name_of = |dimension: Option<&Dimension>| match dimension {
        // An expression over several names is tract's to resolve.
        Some(Dimension::DimParam(name))
            if name.chars().all(|c| c.is_alphanumeric() || c == '_') =>
        {
            name.clone()
        }
        _ => String::new(),
    };
    let names_of = |input: &TensorMetadata| {
        let value = graph.input.iter().find(|value| value.name == input.name);
        match value.and_then(|v| v.r#type.as_ref()?.value.as_ref()) {
            Some(Value::TensorType(tensor)) => {
                let dims = tensor.shape.iter().flat_map(|shape| &shape.dim);
                dims.map(|dim| name_of(dim.value.as_ref())).collect()
            }
            None => Vec::new(),
        }
    };
    inputs.iter().map(names_of).collect()
}

/// Whether a tensor declares not even how many dimensions it has.
pub(super) fn lacks_shape(value: &ValueInfoProto) -> bool {
    match value.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(Value::TensorType(tensor)) => tensor.shape.is_none(),
        None => false,
    }
}

/// The datatype of a tensor, where tract has it or, as with `BF16`, is helped to it.
pub(super) fn datatype_of(value: &ValueInfoProto) -> Option<Datatype> {
    let Some(Value::TensorType(tensor)) = value.r#type.as_ref()?.value.as_ref() else {
        return None;
    };
    Some(match DataType::try_from(tensor.elem_type).ok()? {
        DataType::Bool => Datatype::Bool,
        DataType::Uint8 => Datatype::Uint8,
        DataType::Uint16 => Datatype::Uint16,
        DataType::Uint32 => Datatype::Uint32,
        DataType::Uint64 => Datatype::Uint64,
        DataType::Int8 => Datatype::Int8,
        DataType::Int16 => Datatype::Int16,
        DataType::Int32 => Datatype::Int32,
        DataType::Int64 => Datatype::Int64,
        DataType::Float16 => Datatype::Fp16,
        DataType::Bfloat16 => Datatype::Bf16,
        DataType::Float => Datatype::Fp32,
        DataType::Double => Datatype::Fp64,
        DataType::String => Datatype::Bytes,
        _ => return None,
    })
}

/// tract looks at an operator's name alone and would run another domain's operator as ONNX's.
///
/// # Errors
/// The first operator of another domain, in the graph or in one that it holds.
pub(super) fn refuse_foreign_operators(graph: &GraphProto) -> Result<(), LoadError> {
    for node in &graph.node {
        if !matches!(node.domain.as_str(), "" | "ai.onnx" | "ai.onnx.ml") {
            return Err(LoadError::Unsupported {
                lacking: format!(
                    "the embedded engine, tract, lacks the operator {} of the domain '{}'",
                    node.op_type, node.domain
                ),
                remedy: INSTALL,
            });
        }
        for inner in graphs_in(node) {
            refuse_foreign_operators(inner)?;
        }
    }
    Ok(())
}

/// The graphs in an operator's attributes: the branches of an If, the body of a Loop.
fn graphs_in(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute
        .iter()
        .flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}
