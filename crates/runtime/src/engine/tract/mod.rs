//! The embedded engine: tract, pure Rust, always there. It runs each request on one thread, and
//! `BF16` in `FP32`.

mod bfloat;
mod convert;
mod declared;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use oip_protocol::error::excerpt;
use oip_protocol::{Datatype, DeclaredShape, Error, Result, Tensor, TensorMetadata};
use tract_onnx::data_resolver::FopenDataResolver;
use tract_onnx::pb::{self, type_proto::Value};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::cast::cast;
use tract_onnx::tract_hir::infer::{Factoid, InferenceModelExt};
use tract_onnx::{Onnx, tensor::translate_inference_fact};

use super::{Share, input_of};
use crate::model::{Engine, Laps, LoadError, Model, ModelFile, panic_message};

/// Loads ONNX models with tract.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tract;

impl Engine for Tract {
    fn name(&self) -> &'static str {
        "tract"
    }

    fn load(&self, file: &ModelFile, _: Share) -> Result<Arc<dyn Model>, LoadError> {
        // tract panics on some models that contradict themselves.
        match catch_unwind(AssertUnwindSafe(|| load(file))) {
            Ok(Ok(model)) => Ok(Arc::new(model)),
            Ok(Err(error)) => Err(error),
            Err(panic) => Err(LoadError::Invalid(format!(
                "tract gave up on it: {}",
                panic_message(panic.as_ref())
            ))),
        }
    }
}

/// A model that tract has made ready.
struct TractModel {
    plan: Arc<TypedRunnableModel>,
    inputs: Vec<TensorMetadata>,
    outputs: Vec<TensorMetadata>,
    /// The name of each open dimension of each input, empty where it has none.
    names: Vec<Vec<String>>,
}

impl TractModel {
    /// To tract a dimension's name stands for one size in all inputs of a run. Checked before it
    /// runs, so that a caller reads which input it is.
    fn check_names(&self, inputs: &[Tensor]) -> Result<()> {
        let mut sizes: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
        for (declared, names) in self.inputs.iter().zip(&self.names) {
            let input = input_of(inputs, declared)?;
            let dims = names.iter().zip(input.shape().dims()).enumerate();
            for (index, (name, size)) in dims.filter(|(_, (name, _))| !name.is_empty()) {
                let (first, of) = *sizes.entry(name).or_insert((*size, &declared.name));
                if first != *size {
                    return Err(Error::does_not_fit(format!(
                        "input '{}': dimension {index} ('{}') is {size}, but it is {first} in input '{}'",
                        excerpt(&declared.name),
                        excerpt(name),
                        excerpt(of)
                    )));
                }
            }
        }
        Ok(())
    }
}

impl Model for TractModel {
    fn inputs(&self) -> &[TensorMetadata] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorMetadata] {
        &self.outputs
    }

    fn run(&self, inputs: &[Tensor], laps: &mut Laps) -> Result<Vec<Tensor>> {
        self.check_names(inputs)?;
        let taken = self
            .inputs
            .iter()
            .map(|declared| convert::take_in(input_of(inputs, declared)?))
            .collect::<Result<TVec<TValue>>>()?;
        laps.inputs_made();
        // The chain of contexts is the cause; the first names the operator.
        let outputs = self
            .plan
            .run(taken)
            .map_err(|error| Error::handler_failed(format!("tract: {error:#}")))?;
        laps.ran();
        let outputs = self
            .outputs
            .iter()
            .zip(outputs)
            .map(|(declared, value)| convert::hand_out(declared, value))
            .collect();
        laps.outputs_taken();
        outputs
    }
}

fn load(file: &ModelFile) -> Result<TractModel, LoadError> {
    let tract = Onnx {
        // Never map a file: whoever shortens it later would kill the process.
        provider: Arc::new(FopenDataResolver),
        ..tract_onnx::onnx()
    };
    let mut proto = tract
        .proto_model_for_read(&mut &file.bytes[..])
        .map_err(|error| LoadError::Invalid(error.to_string()))?;
    let graph = graph_of(&proto)?;
    declared::refuse_foreign_operators(graph)?;
    let inputs = declared::inputs(graph)?;
    let mut outputs = declared::outputs(graph)?;
    let names = declared::dimension_names(graph, &inputs);
    let folder = file.path.parent().and_then(|folder| folder.to_str());
    // Declared above as it is, computed from here on in FP32.
    bfloat::widen_model(&tract, &mut proto, folder).map_err(unsupported_or_invalid)?;
    let graph = graph_of(&proto)?;
    let plan = prepare(&tract, &proto, graph, folder).map_err(unsupported_or_invalid)?;
    for (index, output) in outputs.iter_mut().enumerate() {
        if graph.output.get(index).is_some_and(declared::lacks_shape) {
            output.shape = inferred_shape(&plan, index)?;
        }
    }
    Ok(TractModel {
        plan,
        inputs,
        outputs,
        names,
    })
}

fn graph_of(proto: &pb::ModelProto) -> Result<&pb::GraphProto, LoadError> {
    let graph = proto.graph.as_ref();
    graph
        .filter(|graph| !graph.output.is_empty())
        .ok_or_else(|| LoadError::Invalid("it has no graph with an output".to_owned()))
}

/// The shape of an output that declares none, as tract has inferred it.
fn inferred_shape(plan: &TypedRunnableModel, index: usize) -> Result<DeclaredShape, LoadError> {
    let fact = plan.model().output_fact(index);
    let fact = fact.map_err(|error| LoadError::Invalid(format!("tract: {error:#}")))?;
    let dims = fact.shape.iter().map(|dim| dim.to_i64().unwrap_or(-1));
    Ok(DeclaredShape::new(dims.collect::<Vec<i64>>()))
}

fn prepare(
    tract: &Onnx,
    proto: &pb::ModelProto,
    graph: &pb::GraphProto,
    folder: Option<&str>,
) -> TractResult<Arc<TypedRunnableModel>> {
    let parsed = tract.parse(proto, folder)?;
    if !parsed.unresolved_inputs.is_empty() {
        tract_onnx::tract_core::internal::bail!(
            "nothing makes {}",
            parsed.unresolved_inputs.join(", ")
        );
    }
    let mut model = parsed.model;
    declare_inputs(tract, proto, graph, &mut model)?;
    let mut model = model.into_typed()?;
    number_the_sizes(graph, &mut model)?;
    model.into_optimized()?.into_runnable()
}

/// Sets each input's datatype and shape as the file declares them: parsing loses them where an
/// input is also an output, and an open dimension needs a symbol, which exporters often leave
/// out.
fn declare_inputs(
    tract: &Onnx,
    proto: &pb::ModelProto,
    graph: &pb::GraphProto,
    model: &mut InferenceModel,
) -> TractResult<()> {
    let context = tract_onnx::model::ParsingContext {
        onnx_operator_set_version: 0,
        framework: tract,
        model: proto,
        parent_graphs: Vec::new(),
        model_dir: None,
        template: model.clone(),
    };
    for outlet in model.input_outlets()?.to_vec() {
        let name = &model.node(outlet.node).name;
        let declared = graph.input.iter().find(|input| input.name == *name);
        let declared = declared.and_then(|input| input.r#type.as_ref());
        let Some(Value::TensorType(declared)) = declared.and_then(|t| t.value.as_ref()) else {
            continue;
        };
        let fact = translate_inference_fact(&context, declared, true)?;
        let datatype = fact.datum_type.concretize();
        let dims: TVec<TDim> = fact
            .shape
            .dims()
            .map(|dim| {
                dim.concretize()
                    .unwrap_or_else(|| model.symbols.new_with_prefix("open").into())
            })
            .collect();
        let Some(datatype) = datatype else { continue };
        model.set_outlet_fact(outlet, InferenceFact::dt_shape(datatype, dims))?;
    }
    Ok(())
}

/// An output that is computed from shapes is symbolic to tract; callers want numbers.
fn number_the_sizes(graph: &pb::GraphProto, model: &mut TypedModel) -> TractResult<()> {
    let mut outlets = model.output_outlets()?.to_vec();
    for (index, outlet) in outlets.iter_mut().enumerate() {
        let asked = graph.output.get(index).and_then(declared::datatype_of);
        let is_symbolic = model.outlet_fact(*outlet)?.datum_type == TDim::datum_type();
        if is_symbolic && asked != Some(Datatype::Int32) {
            let name = format!("oip.number.{index}");
            *outlet = model.wire_node(name, cast(i64::datum_type()), &[*outlet])?[0];
        }
    }
    model.select_output_outlets(&outlets)
}

/// tract names an operator that it lacks in its chain of contexts.
fn unsupported_or_invalid(error: TractError) -> LoadError {
    let text = format!("{error:#}");
    if text.to_lowercase().contains("unimplemented") {
        return LoadError::Unsupported {
            lacking: format!("the embedded engine, tract, lacks an operator: {text}"),
            remedy: INSTALL,
        };
    }
    LoadError::Invalid(format!("tract: {text}"))
}

/// The remedy for whatever tract lacks and ONNX Runtime has.
pub(super) const INSTALL: &str =
    "install ONNX Runtime (`pip install onnxruntime`) and start the server again";

#[cfg(test)]
pub(crate) mod tests;
