//! These need the shared library: `OIP_TEST_ONNXRUNTIME` names it, or one is found in the usual
//! places. One that is named and cannot be used fails them; where none is named and none found they say so and pass.

use oip_protocol::{Datatype, ErrorKind};

use super::*;
use crate::engine::tract::tests::{by_tract, declared, file, floats, four, no_text, run};
use crate::library::{OnnxRuntime, Surroundings};

/// The engine with a share of the machine.
struct Sharing(OnnxRuntimeEngine, Share);

impl Sharing {
    fn load(&self, file: &ModelFile) -> Result<Arc<dyn Model>, LoadError> {
        self.0.load(file, self.1)
    }
}

/// The engine, or nothing where this machine has no library.
fn engine(threads: usize) -> Option<Sharing> {
    let share = Share {
        threads,
        concurrency: 4,
        sessions: None,
    };
    let named = std::env::var_os("OIP_TEST_ONNXRUNTIME");
    let wanted = match named {
        Some(path) => OnnxRuntime::Library(path.into()),
        None => OnnxRuntime::Find(Surroundings {
            virtual_env: std::env::var_os("VIRTUAL_ENV").map(Into::into),
            path: std::env::var_os("PATH"),
            home: std::env::var_os("HOME").map(Into::into),
            ..Surroundings::default()
        }),
    };
    let found = find(&wanted).unwrap();
    if found.is_none() {
        eprintln!("skipped: no ONNX Runtime here; OIP_TEST_ONNXRUNTIME can name its library");
    }
    found.map(|engine| Sharing(engine, share))
}

#[test]
fn every_datatype_comes_back_bit_for_bit() {
    let Some(engine) = engine(1) else { return };
    for datatype in Datatype::ALL {
        let name = format!("identity_{}", datatype.name().to_lowercase());
        let model = engine.load(&file(&name)).unwrap();
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

#[test]
fn an_input_that_does_not_lie_aligned_is_answered_alike() {
    let Some(engine) = engine(1) else { return };
    let model = engine.load(&file("identity_fp64")).unwrap();
    let aligned = four(Datatype::Fp64);
    let mut shifted = vec![0_u8];
    shifted.extend_from_slice(aligned.data());
    for cut in 0..2 {
        // One of the two lies off.
        let mut bytes = vec![0; cut];
        bytes.extend_from_slice(&shifted);
        let data = oip_protocol::Bytes::from(bytes).slice(cut + 1..);
        let input = Tensor::new("INPUT0", Datatype::Fp64, [2, 2], data).unwrap();
        assert_eq!(run(&model, &[input]).unwrap()[0].data(), aligned.data());
    }
}

#[test]
fn an_aligned_input_is_lent_and_a_shifted_one_is_copied_and_counted() {
    use oip_core::telemetry::alignment_copies;
    let aligned = four(Datatype::Fp64);
    let lent = convert::align(&aligned).unwrap();
    assert_eq!(lent.data().as_ptr(), aligned.data().as_ptr());
    let shifted = [&[0; 1][..], aligned.data(), &[0; 8]].concat();
    let shifted = oip_protocol::Bytes::from(shifted);
    let off = (0..8).find(|cut| !shifted[*cut..].as_ptr().addr().is_multiple_of(8));
    let data = shifted.slice(off.unwrap()..off.unwrap() + aligned.data().len());
    let input = Tensor::new("INPUT0", Datatype::Fp64, [2, 2], data.clone()).unwrap();
    let before = alignment_copies();
    let copied = convert::align(&input).unwrap();
    assert_ne!(copied.data().as_ptr(), data.as_ptr());
    assert!(alignment_copies() > before);
}

#[test]
fn an_answer_outlives_its_model() {
    let Some(engine) = engine(1) else { return };
    let model = engine.load(&file("identity_fp32")).unwrap();
    let input = four(Datatype::Fp32);
    let answer = run(&model, std::slice::from_ref(&input)).unwrap();
    drop(model);
    assert_eq!(answer[0].data(), input.data());
}

#[test]
fn bytes_that_are_no_text_come_back_bit_for_bit() {
    let Some(engine) = engine(1) else { return };
    let model = engine.load(&file("identity_bytes")).unwrap();
    let answer = run(&model, &[no_text()]).unwrap();
    assert_eq!(answer, [no_text().with_name("OUTPUT0")]);
}

#[test]
fn an_index_out_of_range_is_the_callers_fault_and_is_named() {
    let Some(engine) = engine(1) else { return };
    let model = engine.load(&file("gather")).unwrap();
    let index = Tensor::from_vec("index", [1], vec![99_i64]).unwrap();
    let error = run(&model, &[index]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DoesNotFit, "{error:?}");
    assert!(error.message().contains("idx=99"), "{}", error.message());
    assert!(!error.message().contains(".cc"), "{}", error.message());
}

#[test]
fn what_the_protocol_cannot_carry_is_refused_with_the_remedy() {
    let Some(engine) = engine(1) else { return };
    for (model, names, remedy) in [
        (
            "sequence_op",
            "is no tensor",
            "export the model with tensors",
        ),
        ("map_output", "is no tensor", "zipmap=False"),
        ("unknown_op", "Frobnicate", "export the model without it"),
        ("foreign_domain", "Abs", "export the model without it"),
        ("add_bf16", "Add(14)", "serve it with the embedded engine"),
        ("dangling_output", "no valid ONNX model", ""),
        ("truncated", "no valid ONNX model", ""),
        ("not_onnx", "no valid ONNX model", ""),
    ] {
        let error = match engine.load(&file(model)) {
            Ok(_) => panic!("{model} loads"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(names), "{model}: {error}");
        assert!(error.contains(remedy), "{model}: {error}");
    }
}

#[test]
fn an_overridable_initializer_is_no_input_and_a_scalar_stays_one() {
    let Some(engine) = engine(1) else { return };
    let model = engine.load(&file("overridable_weight")).unwrap();
    assert_eq!(declared(model.inputs()), ["x FP32 [-1]"]);
    let model = engine.load(&file("scalar")).unwrap();
    assert_eq!(declared(model.outputs()), ["y FP32 []"]);
}

#[test]
fn an_output_without_a_shape_is_declared_with_the_rank_it_has() {
    let Some(engine) = engine(1) else { return };
    let model = engine.load(&file("no_output_shape")).unwrap();
    assert_eq!(model.outputs()[0].shape.rank(), 2);
}

#[test]
fn weights_that_lie_beside_the_model_are_read() {
    let Some(engine) = engine(1) else { return };
    let model = engine.load(&file("external_data")).unwrap();
    let answer = run(&model, &[floats("x", [1, 4], &[0.; 4])]).unwrap();
    assert_eq!(answer, [floats("y", [1, 4], &[1., 2., 3., 4.])]);
}

#[test]
fn many_threads_run_one_model_side_by_side() {
    let Some(engine) = engine(1) else { return };
    let model = engine.load(&file("add_sub")).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_i32 {
            let model = &model;
            scope.spawn(move || {
                for round in 0..200 {
                    let of =
                        |name, value| Tensor::from_vec(name, [1, 16], vec![value; 16]).unwrap();
                    let inputs = [of("INPUT0", thread), of("INPUT1", round)];
                    let answer = run(model, &inputs).unwrap();
                    assert_eq!(answer[0].as_slice::<i32>().unwrap(), [thread + round; 16]);
                }
            });
        }
    });
}

#[test]
fn a_library_that_is_none_is_refused_when_named_and_passed_over_when_found() {
    let dir = tempfile::tempdir().unwrap();
    let library = dir.path().join("libonnxruntime.so.1.99.0");
    let error = find(&OnnxRuntime::Library(library.clone())).err().unwrap();
    assert!(
        error.to_string().ends_with("there is no such file"),
        "{error}"
    );
    std::fs::write(&library, "no library").unwrap();
    let error = find(&OnnxRuntime::Library(library)).err().unwrap();
    assert!(
        error
            .to_string()
            .starts_with("ONNX Runtime cannot be loaded from ")
    );
    let surroundings = Surroundings {
        program_folder: Some(dir.path().to_owned()),
        ..Surroundings::default()
    };
    // Whatever else this machine has, the file is not taken for an error.
    assert!(find(&OnnxRuntime::Find(surroundings)).is_ok());
}

/// Largest difference between the engines that a float may show, relative to its size (and
/// absolute below 1e-6, where probabilities vanish).
const TOLERANCE: f32 = 1e-5;

#[test]
fn both_engines_answer_the_example_models_alike() {
    let Some(engine) = engine(2) else { return };
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/models");
    let (mut models, mut floats_seen) = (0, 0);
    for entry in std::fs::read_dir(examples).unwrap() {
        let folder = entry.unwrap().path();
        let Ok(sample) = std::fs::read(folder.join("sample-request.json")) else {
            continue;
        };
        let limits = oip_protocol::DecodeLimits::default();
        let request = oip_protocol::json::decode_request(&sample, &limits).unwrap();
        let path = folder.join("1/model.onnx");
        let file = ModelFile {
            bytes: std::fs::read(&path).unwrap(),
            path,
        };
        let [a, b] = [engine.load(&file).unwrap(), by_tract(&file).unwrap()];
        assert_eq!(a.inputs(), b.inputs());
        assert_eq!(a.outputs(), b.outputs());
        let a = run(&a, &request.inputs).unwrap();
        let b = run(&b, &request.inputs).unwrap();
        for (a, b) in a.iter().zip(&b) {
            if a.datatype() != Datatype::Fp32 {
                assert_eq!(a, b);
                continue;
            }
            let (a, b) = (a.as_slice::<f32>().unwrap(), b.as_slice::<f32>().unwrap());
            assert_eq!(a.len(), b.len());
            for (a, b) in a.iter().zip(b) {
                let close = (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(0.1);
                assert!(close, "{a} and {b}");
                floats_seen += 1;
            }
        }
        models += 1;
    }
    assert!(models >= 3 && floats_seen > 10);
    let model = engine.load(&file("fixed")).unwrap();
    let input = floats("x", [2, 3], &[1., 2., 3., 4., 5., 6.]);
    let b = run(
        &by_tract(&file("fixed")).unwrap(),
        std::slice::from_ref(&input),
    )
    .unwrap();
    assert_eq!(run(&model, &[input]).unwrap(), b);
}
