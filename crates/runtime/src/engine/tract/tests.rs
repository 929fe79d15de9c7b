use half::bf16;
use oip_protocol::{Datatype, ErrorKind, Shape};

use super::*;
use crate::engine::{run_fenced, warm_up};

pub(crate) fn file(name: &str) -> ModelFile {
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/models");
    let path = std::path::Path::new(models).join(format!("{name}.onnx"));
    ModelFile {
        bytes: std::fs::read(&path).unwrap(),
        path,
    }
}

pub(crate) fn by_tract(file: &ModelFile) -> Result<Arc<dyn Model>, LoadError> {
    let share = Share {
        threads: 1,
        concurrency: 1,
        sessions: None,
    };
    Tract.load(file, share)
}

fn load(name: &str) -> Arc<dyn Model> {
    by_tract(&file(name)).unwrap()
}

fn refusal(name: &str) -> String {
    match by_tract(&file(name)) {
        Ok(_) => panic!("{name} loads"),
        Err(error) => error.to_string(),
    }
}

pub(crate) fn run(model: &Arc<dyn Model>, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    run_fenced(&**model, inputs, &mut Laps::begin())
}

pub(crate) fn floats(name: &str, shape: impl Into<Shape>, values: &[f32]) -> Tensor {
    Tensor::from_vec(name, shape, values.to_vec()).unwrap()
}

/// What a model declares, as `name DATATYPE [shape]`.
pub(crate) fn declared(tensors: &[TensorMetadata]) -> Vec<String> {
    let shown = |t: &TensorMetadata| format!("{} {} {}", t.name, t.datatype, t.shape);
    tensors.iter().map(shown).collect()
}

/// Two by two elements whose bytes all differ.
pub(crate) fn four(datatype: Datatype) -> Tensor {
    match datatype.size() {
        None => {
            Tensor::from_strings("INPUT0", [2, 2], ["", "a", "häß\u{1F980}", "the end"]).unwrap()
        }
        Some(size) => {
            let bytes: Vec<u8> = match datatype {
                Datatype::Bool => vec![1, 0, 0, 1],
                _ => (1..=u8::try_from(4 * size).unwrap()).collect(),
            };
            Tensor::new("INPUT0", datatype, [2, 2], bytes).unwrap()
        }
    }
}

#[test]
fn every_datatype_comes_back_bit_for_bit() {
    for datatype in Datatype::ALL {
        let model = load(&format!("identity_{}", datatype.name().to_lowercase()));
        assert_eq!(
            declared(model.inputs()),
            [format!("INPUT0 {datatype} [-1,-1]")]
        );
        let input = four(datatype);
        let answer = run(&model, std::slice::from_ref(&input)).unwrap();
        assert_eq!(answer, [input.with_name("OUTPUT0")]);

        let empty = Tensor::new("INPUT0", datatype, [0, 3], Vec::new()).unwrap();
        let answer = run(&model, std::slice::from_ref(&empty)).unwrap();
        assert_eq!(answer, [empty.with_name("OUTPUT0")]);
    }
}

/// Elements that are no text, or that an engine could take for another's.
pub(crate) fn no_text() -> Tensor {
    let elements = [&b"\xff\x00a"[..], b"\0", b"", "\u{10FFFF}".as_bytes()];
    Tensor::from_strings("INPUT0", [2, 2], elements).unwrap()
}

#[test]
fn bytes_that_are_no_text_come_back_bit_for_bit() {
    let model = load("identity_bytes");
    let answer = run(&model, &[no_text()]).unwrap();
    assert_eq!(answer, [no_text().with_name("OUTPUT0")]);
}

fn bfloats(name: &str, values: &[f32]) -> Tensor {
    let values: Vec<bf16> = values.iter().copied().map(bf16::from_f32).collect();
    Tensor::from_vec(name, [values.len() as u64], values).unwrap()
}

#[test]
fn every_bf16_comes_back_bit_for_bit_even_a_signalling_nan() {
    let model = load("identity_bf16");
    let all: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
    let input = Tensor::from_vec("INPUT0", [256, 256], all).unwrap();
    let answer = run(&model, std::slice::from_ref(&input)).unwrap();
    assert_eq!(answer[0].data(), input.data());
}

#[test]
fn a_bf16_model_declares_bf16_and_rounds_its_answer_to_nearest_even() {
    let model = load("add_bf16");
    assert_eq!(declared(model.inputs()), ["x BF16 [-1]"]);
    assert_eq!(declared(model.outputs()), ["y BF16 [-1]"]);
    // y = x + 1 + 2^-8, which is a tie where x is 0.
    let tiny = f32::from(2_u8).powi(-8);
    let answer = run(&model, &[bfloats("x", &[0.0, 1.0, -0.25, tiny])]).unwrap();
    // Rounded after each Add, the last would be 1.
    let expected = bfloats("y", &[1.0, 2.0, 0.75 + tiny, 1.0 + 2.0 * tiny]);
    assert_eq!(answer, [expected]);
}

#[test]
fn bf16_in_casts_attributes_and_branches_is_computed_too() {
    let model = load("mixed_bf16");
    assert_eq!(declared(model.inputs()), ["x FP32 [-1]", "flag BOOL [1]"]);
    assert_eq!(declared(model.outputs()), ["y BF16 [-1]"]);
    for (flag, expected) in [(true, [3.5, 6.0]), (false, [1.5, 4.0])] {
        let flag = Tensor::from_vec("flag", [1], vec![flag]).unwrap();
        let answer = run(&model, &[floats("x", [2], &[1.0, 2.0]), flag]).unwrap();
        assert_eq!(answer, [bfloats("y", &expected)]);
    }
}

#[test]
fn inputs_are_taken_by_name_whatever_their_order() {
    let model = load("add_sub");
    let of = |name: &str, value: i32| Tensor::from_vec(name, [1, 16], vec![value; 16]).unwrap();
    let answer = run(&model, &[of("INPUT1", 1), of("INPUT0", 5)]).unwrap();
    assert_eq!(answer[0].as_slice::<i32>().unwrap()[0], 6);
    assert_eq!(answer[1].as_slice::<i32>().unwrap()[0], 4);
}

#[test]
fn scalars_and_fixed_shapes_are_declared_as_they_are() {
    let scalar = load("scalar");
    assert_eq!(declared(scalar.inputs()), ["x FP32 []"]);
    let answer = run(&scalar, &[floats("x", [], &[1.5])]).unwrap();
    assert_eq!(answer, [floats("y", [], &[3.0])]);
    let fixed = load("fixed");
    assert_eq!(declared(fixed.inputs()), ["x FP32 [2,3]"]);
    assert_eq!(declared(fixed.outputs()), ["y FP32 [3,2]"]);
    let answer = run(&fixed, &[floats("x", [2, 3], &[1., 2., 3., 4., 5., 6.])]).unwrap();
    assert_eq!(answer, [floats("y", [3, 2], &[1., 4., 2., 5., 3., 6.])]);
}

#[test]
fn an_open_dimension_without_a_name_takes_any_size() {
    let model = load("unnamed_batch");
    assert_eq!(declared(model.inputs()), ["x FP32 [-1,4]"]);
    for batch in [1_u64, 3, 0] {
        let count = usize::try_from(batch * 4).unwrap();
        let input = floats("x", [batch, 4], &vec![1.0; count]);
        let answer = run(&model, &[input]).unwrap();
        assert_eq!(answer, [floats("y", [batch, 4], &vec![-1.0; count])]);
    }
}

#[test]
fn a_shape_is_answered_in_numbers() {
    let model = load("shape_of");
    let answer = run(&model, &[floats("x", [2, 5], &[0.0; 10])]).unwrap();
    assert_eq!(answer[0].as_slice::<i64>().unwrap(), [2, 5]);
}

#[test]
fn an_output_may_be_as_large_as_the_values_say() {
    let model = load("nonzero");
    assert_eq!(declared(model.outputs()), ["y INT64 [2,-1]"]);
    let answer = run(&model, &[floats("x", [2, 2], &[0., 7., 8., 0.])]).unwrap();
    assert_eq!(answer[0].as_slice::<i64>().unwrap(), [0, 1, 1, 0]);
}

#[test]
fn an_initializer_among_the_inputs_is_no_input() {
    let model = load("overridable_weight");
    assert_eq!(declared(model.inputs()), ["x FP32 [-1]"]);
    let answer = run(&model, &[floats("x", [2], &[1., 2.])]).unwrap();
    assert_eq!(answer, [floats("y", [2], &[11., 12.])]);
}

#[test]
fn an_output_that_is_an_input_and_an_input_that_nothing_reads_are_served() {
    let model = load("passed_through");
    assert_eq!(
        declared(model.inputs()),
        ["x FP32 [-1]", "unused FP32 [-1]"]
    );
    let inputs = [
        floats("x", [2], &[1., -2.]),
        floats("unused", [2], &[0., 0.]),
    ];
    let answer = run(&model, &inputs).unwrap();
    assert_eq!(answer[0], floats("x", [2], &[1., -2.]));
    assert_eq!(answer[1], floats("negated", [2], &[-1., 2.]));
}

#[test]
fn a_panic_at_run_time_costs_that_run_alone() {
    let model = load("gather");
    let index = |i: i64| [Tensor::from_vec("index", [1], vec![i]).unwrap()];
    let error = run(&model, &index(99)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HandlerFailed);
    let answer = run(&model, &index(-1)).unwrap();
    assert_eq!(answer[0].as_slice::<f32>().unwrap(), [30.0]);

    let model = load("divide");
    let of = |name: &str, value: i32| Tensor::from_vec(name, [1], vec![value]).unwrap();
    assert!(run(&model, &[of("x", 1), of("y", 0)]).is_err());
    let answer = run(&model, &[of("x", i32::MIN), of("y", -1)]).unwrap();
    assert_eq!(answer[0].element_count(), 1);
}

#[test]
fn what_tract_lacks_is_refused_by_name_with_the_remedy() {
    for (model, names, remedy) in [
        (
            "sequence_op",
            "is no tensor",
            "export the model with tensors",
        ),
        ("map_output", "is no tensor", "zipmap=False"),
        ("string_op", "StringNormalizer", "pip install onnxruntime"),
        (
            "unknown_op",
            "Frobnicate of the domain 'com.example'",
            "pip install onnxruntime",
        ),
        (
            "foreign_domain",
            "Abs of the domain 'com.example'",
            "pip install onnxruntime",
        ),
        (
            "unknown_rank",
            "declares no shape",
            "export the model with a shape",
        ),
    ] {
        let error = refusal(model);
        assert!(error.contains(names), "{model}: {error}");
        assert!(error.contains(remedy), "{model}: {error}");
    }
}

#[test]
fn a_broken_file_is_refused_and_never_panics() {
    for model in ["dangling_output", "truncated", "not_onnx"] {
        let error = refusal(model);
        assert!(
            error.starts_with("this is no valid ONNX model: "),
            "{error}"
        );
    }
    let add_sub = file("add_sub");
    for length in 0..add_sub.bytes.len() {
        let cut = ModelFile {
            bytes: add_sub.bytes[..length].to_vec(),
            path: add_sub.path.clone(),
        };
        // A few cuts end where a field ends and still load; none may panic.
        let _ = by_tract(&cut);
    }
}

#[test]
fn every_model_that_loads_warms_up_or_says_why_not() {
    for model in [
        "add_sub",
        "scalar",
        "fixed",
        "unnamed_batch",
        "nonzero",
        "gather",
        "busy",
    ] {
        warm_up(&*load(model)).unwrap();
    }
    assert!(warm_up(&*load("divide")).is_err());
}

#[test]
fn one_named_dimension_in_two_sizes_is_the_callers_fault() {
    let model = load("passed_through");
    let inputs = [floats("x", [2], &[1., -2.]), floats("unused", [1], &[0.])];
    let error = run(&model, &inputs).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DoesNotFit);
    assert_eq!(
        error.message(),
        "input 'unused': dimension 0 ('batch') is 1, but it is 2 in input 'x'"
    );
}

#[test]
fn an_output_without_a_shape_is_declared_as_tract_infers_it() {
    let model = load("no_output_shape");
    assert_eq!(declared(model.outputs()), ["y FP32 [-1,4]"]);
    let answer = run(&model, &[floats("x", [1, 4], &[1.; 4])]).unwrap();
    assert_eq!(answer, [floats("y", [1, 4], &[-1.; 4])]);
}

#[test]
fn weights_that_lie_beside_the_model_are_read() {
    let model = load("external_data");
    let answer = run(&model, &[floats("x", [1, 4], &[0.; 4])]).unwrap();
    assert_eq!(answer, [floats("y", [1, 4], &[1., 2., 3., 4.])]);

    let mut elsewhere = file("external_data");
    elsewhere.path = "no/such/folder/model.onnx".into();
    assert!(by_tract(&elsewhere).is_err());
}
