//! The files in `testdata/wire/proto`, which another implementation wrote.

use super::*;

fn golden(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/wire/proto/");
    std::fs::read(format!("{folder}{name}")).unwrap()
}

fn request(name: &str) -> (InferRequest, ContentsForm) {
    let wire = golden(name);
    guard::check::<ModelInferRequest>(&wire, &limits()).unwrap();
    let message = ModelInferRequest::decode(wire.as_slice()).unwrap();
    let (model, request, form) = decode_request(message, &limits()).unwrap();
    assert_eq!(model, ModelRef::new("m").version("3"));
    assert_eq!(request.id.as_deref(), Some("7"));
    let output = &request.outputs[0];
    assert_eq!((output.name.as_str(), request.outputs.len()), ("y", 1));
    let classes = output.parameters.get("classification");
    assert_eq!(classes, Some(&ParameterValue::Int64(2)));
    (request, form)
}

#[test]
fn every_datatype_reads_the_same_from_typed_and_raw_contents() {
    let (typed, form) = request("typed.bin");
    assert_eq!(form, ContentsForm::Typed);
    let (raw, form) = request("raw.bin");
    assert_eq!(form, ContentsForm::Raw);
    assert_eq!((typed.inputs.len(), raw.inputs.len()), (12, 14));
    assert_eq!(typed.inputs[..], raw.inputs[..12]);
    let ends = raw.input("INT64").unwrap().to_slice::<i64>().unwrap();
    assert_eq!(ends[..], [i64::MIN, i64::MAX]);
    let halves = raw.input("FP16").unwrap().to_slice::<f16>().unwrap();
    assert_eq!(halves[..], [f16::ONE, f16::from_f32(-2.0)]);
    let brains = raw.input("BF16").unwrap().to_slice::<bf16>().unwrap();
    assert_eq!(brains[..], [bf16::ONE, bf16::from_f32(-2.0)]);
}

#[test]
fn a_request_is_written_byte_for_byte_as_it_was_read() {
    for name in ["typed.bin", "raw.bin"] {
        let wire = golden(name);
        let message = ModelInferRequest::decode(wire.as_slice()).unwrap();
        let (model, request, form) = decode_request(message, &limits()).unwrap();
        let written = encode_request(model, request, form).encode_to_vec();
        assert!(written == wire, "{name} is written as something else");
    }
}

#[test]
fn parameters_of_every_kind_are_read_defaults_included() {
    let (request, _) = request("parameters.bin");
    let expected = [
        ("bool", ParameterValue::Bool(false)),
        ("double", ParameterValue::Double(0.5)),
        ("string", ParameterValue::String(String::new())),
        ("timeout", ParameterValue::Int64(-1)),
        ("uint64", ParameterValue::Uint64(u64::MAX)),
    ];
    let found: Vec<_> = request.parameters.iter().collect();
    assert_eq!(
        found,
        expected.each_ref().map(|(name, value)| (*name, value))
    );
    assert_eq!(request.inputs[0].element_count(), 0);
}

#[test]
fn a_response_is_read_and_written_back() {
    let wire = golden("response.bin");
    let message = generated::ModelInferResponse::decode(wire.as_slice()).unwrap();
    let (response, form) = decode_response(message, &limits()).unwrap();
    assert_eq!(form, ContentsForm::Raw);
    let output = response.output("y").unwrap();
    assert_eq!(output.to_slice::<f16>().unwrap()[..], [f16::ONE]);
    assert_eq!(encode_response(response, form).encode_to_vec(), wire);
}
