use bytes::Bytes;
use half::{bf16, f16};
use proptest::prelude::*;
use prost::Message;

use super::generated::model_infer_request::InferInputTensor;
use super::generated::{InferParameter, InferTensorContents, ModelInferRequest};
use super::*;
use crate::{
    Datatype, DecodeError, DecodeLimits, Element, InferRequest, InferResponse, ModelRef,
    ParameterValue, Tensor,
};

fn limits() -> DecodeLimits {
    DecodeLimits::default()
}

fn typed(datatype: &str, shape: &[i64], contents: InferTensorContents) -> ModelInferRequest {
    let input = InferInputTensor {
        name: "x".into(),
        datatype: datatype.into(),
        shape: shape.to_vec(),
        contents: Some(contents),
        ..InferInputTensor::default()
    };
    ModelInferRequest {
        model_name: "m".into(),
        inputs: vec![input],
        ..ModelInferRequest::default()
    }
}

fn raw(datatype: &str, shape: &[i64], bytes: &'static [u8]) -> ModelInferRequest {
    let mut message = typed(datatype, shape, InferTensorContents::default());
    message.raw_input_contents = vec![Bytes::from_static(bytes)];
    message
}

fn floats(values: &[f32]) -> InferTensorContents {
    InferTensorContents {
        fp32_contents: values.to_vec(),
        ..InferTensorContents::default()
    }
}

fn ints(values: &[i32]) -> InferTensorContents {
    InferTensorContents {
        int_contents: values.to_vec(),
        ..InferTensorContents::default()
    }
}

#[track_caller]
fn refused(message: ModelInferRequest, sentence: &str) {
    let error = decode_request(message, &limits()).unwrap_err();
    assert_eq!(error.to_string(), sentence);
}

#[test]
fn raw_contents_are_slices_of_the_received_message() {
    let sent = ModelInferRequest {
        raw_input_contents: vec![Bytes::from(vec![7; 4096])],
        ..typed("UINT8", &[4096], InferTensorContents::default())
    };
    let wire = Bytes::from(sent.encode_to_vec());
    let received = ModelInferRequest::decode(wire.clone()).unwrap();
    let (_, request, form) = decode_request(received, &limits()).unwrap();
    assert_eq!(form, ContentsForm::Raw);
    let data = request.inputs[0].data();
    assert_eq!(data.len(), 4096);
    assert!(wire.as_ptr_range().contains(&data.as_ptr()));
}

#[test]
fn typed_floats_become_the_buffer_without_a_copy() {
    let contents = floats(&[1.0, -0.0]);
    let address = contents.fp32_contents.as_ptr().cast::<u8>();
    let (_, request, form) = decode_request(typed("FP32", &[2], contents), &limits()).unwrap();
    assert_eq!(form, ContentsForm::Typed);
    assert_eq!(request.inputs[0].data().as_ptr(), address);
}

#[test]
fn elements_in_another_datatypes_field_are_refused_with_both_fields() {
    refused(
        typed("FP32", &[1], ints(&[1])),
        "input 'x': the elements of FP32 stand in fp32_contents, but there are some in \
         int_contents",
    );
    let mut both = floats(&[1.0]);
    both.int64_contents = vec![1];
    refused(
        typed("FP32", &[1], both),
        "input 'x': the elements of FP32 stand in fp32_contents, but there are some in \
         int64_contents",
    );
}

#[test]
fn a_narrow_integer_out_of_range_is_refused_with_its_index_and_the_range() {
    let contents = InferTensorContents {
        uint_contents: vec![255, 300],
        ..InferTensorContents::default()
    };
    refused(
        typed("UINT8", &[2], contents),
        "input 'x': element at index 1 is 300, but a UINT8 lies between 0 and 255",
    );
    refused(
        typed("INT8", &[1], ints(&[-129])),
        "input 'x': element at index 0 is -129, but an INT8 lies between -128 and 127",
    );
}

#[test]
fn a_wrong_number_of_typed_elements_is_refused_with_both_numbers() {
    refused(
        typed("FP32", &[2, 2], floats(&[1.0, 2.0, 3.0])),
        "input 'x': shape [2,2] takes 4 elements, but got 3",
    );
    refused(
        typed("FP32", &[2], floats(&[])),
        "input 'x': FP32 of shape [2] takes 2 elements, but there are none, neither in \
         fp32_contents nor raw",
    );
    refused(
        typed("FP32", &[i64::MAX, i64::MAX], floats(&[])),
        "input 'x': shape [9223372036854775807,9223372036854775807] has more elements than can \
         be addressed",
    );
}

#[test]
fn half_and_brain_floats_have_no_typed_form() {
    for datatype in ["FP16", "BF16"] {
        refused(
            typed(datatype, &[1], InferTensorContents::default()),
            &format!("input 'x': {datatype} has no typed contents; send it raw"),
        );
        refused(
            typed(datatype, &[1], floats(&[1.0])),
            &format!(
                "input 'x': {datatype} has no typed contents; send it raw (there are some in \
                 fp32_contents)"
            ),
        );
    }
}

#[test]
fn a_tensor_that_is_typed_and_raw_is_refused() {
    let mut message = typed("FP32", &[1], floats(&[1.0]));
    message.raw_input_contents = vec![Bytes::from_static(&[0; 4])];
    refused(
        message,
        "input 'x': its elements are given twice, in contents and raw; one of them must be empty",
    );
}

#[test]
fn there_is_one_raw_entry_for_each_input() {
    let mut message = raw("UINT8", &[1], b"a");
    message.raw_input_contents.push(Bytes::from_static(b"b"));
    refused(
        message,
        "request: there are 1 inputs, but raw_input_contents has 2 entries",
    );
}

#[test]
fn raw_contents_are_held_to_datatype_and_shape() {
    refused(
        raw("FP32", &[2], &[0; 7]),
        "input 'x': FP32 of shape [2] takes 8 bytes (2 elements), but got 7 bytes",
    );
    refused(
        raw("BOOL", &[2], &[1, 2]),
        "input 'x': element at index 1 is 2, but a BOOL is 0 or 1",
    );
    refused(
        raw("BYTES", &[1], &[9, 0, 0, 0, 1]),
        "input 'x': BYTES element at index 0 (offset 0) needs 13 bytes, but 5 are left",
    );
}

#[test]
fn shapes_and_datatypes_that_are_none_are_refused() {
    refused(
        typed("FP32", &[2, -1], floats(&[])),
        "input 'x': dimension 1 of the shape is -1, but none may be negative",
    );
    let error = decode_request(typed("FLOAT", &[1], floats(&[1.0])), &limits()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("input 'x': unknown datatype 'FLOAT'")
    );
    let error = decode_request(typed("FP32", &[1; 1025], floats(&[1.0])), &limits()).unwrap_err();
    assert_eq!(error.to_string(), "input 'x': more than 1024 dimensions");
}

#[test]
fn a_request_without_inputs_or_without_a_model_is_refused() {
    refused(
        ModelInferRequest {
            inputs: Vec::new(),
            ..raw("UINT8", &[1], b"a")
        },
        "request: 'inputs' is empty",
    );
    refused(
        ModelInferRequest {
            model_name: String::new(),
            ..raw("UINT8", &[1], b"a")
        },
        "request: the name of the model is empty",
    );
}

#[test]
fn a_parameter_without_a_value_is_refused_by_its_name() {
    let mut message = raw("UINT8", &[1], b"a");
    let nothing = InferParameter {
        parameter_choice: None,
    };
    message.parameters.insert("priority".into(), nothing);
    refused(message, "request: the parameter 'priority' has no value");
}

#[test]
fn an_answer_with_a_half_float_is_raw_as_a_whole() {
    let outputs = [
        Tensor::from_vec("a", [1], vec![1.0_f32]).unwrap(),
        Tensor::from_vec("b", [1], vec![f16::ONE]).unwrap(),
    ];
    let message = encode_response(InferResponse::new(outputs), ContentsForm::Typed);
    assert_eq!(message.raw_output_contents.len(), 2);
    assert!(
        message
            .outputs
            .iter()
            .all(|output| output.contents.is_none())
    );
}

#[test]
fn typed_byte_strings_of_an_answer_are_slices_of_its_buffer() {
    let output = Tensor::from_strings("a", [2], ["", "text"]).unwrap();
    let range = output.data().as_ptr_range();
    let message = encode_response(InferResponse::new([output.clone()]), ContentsForm::Typed);
    let contents = message.outputs[0].contents.as_ref().unwrap();
    assert_eq!(contents.bytes_contents, ["", "text"]);
    assert!(range.contains(&contents.bytes_contents[1].as_ptr()));
}

#[test]
fn metadata_reads_back_and_a_configuration_keeps_its_datatypes() {
    let tensors = Datatype::ALL.map(|datatype| crate::TensorMetadata::new("x", datatype, [-1, 2]));
    let metadata = crate::ModelMetadata {
        name: "m".into(),
        versions: vec!["1".into(), "2".into()],
        platform: "onnx_onnxv1".into(),
        inputs: tensors.to_vec(),
        outputs: Vec::new(),
    };
    let message = encode_model_metadata(metadata.clone());
    assert_eq!(decode_model_metadata(message).unwrap(), metadata);
    let config = encode_model_config(crate::ModelConfig {
        inputs: tensors.to_vec(),
        ..crate::ModelConfig::default()
    });
    let mut types: Vec<i32> = config
        .config
        .unwrap()
        .input
        .iter()
        .map(|i| i.data_type)
        .collect();
    types.sort_unstable();
    types.dedup();
    assert_eq!(types.len(), Datatype::ALL.len());
}

/// Writes and reads a request and a response over the wire, in a form.
fn round_trip(tensor: Tensor, form: ContentsForm) {
    let expected = match (form, tensor.datatype()) {
        (_, Datatype::Fp16 | Datatype::Bf16) => ContentsForm::Raw,
        (form, _) => form,
    };
    let parameters = [
        ("a", ParameterValue::Bool(true)),
        ("b", ParameterValue::Int64(-1)),
        ("c", ParameterValue::Uint64(u64::MAX)),
        ("d", ParameterValue::Double(0.5)),
        ("e", ParameterValue::String("text".into())),
    ];
    let tensor = tensor.with_parameters(parameters.into_iter().collect());
    let model = ModelRef::new("m").version("2");
    let request = InferRequest::new([tensor.clone()]).id("1").output("y");
    let wire = encode_request(model.clone(), request.clone(), form).encode_to_vec();
    guard::check::<ModelInferRequest>(&wire, &limits()).unwrap();
    let read = ModelInferRequest::decode(wire.as_slice()).unwrap();
    let read = decode_request(read, &limits()).unwrap();
    assert_eq!(read, (model, request, expected));

    let response = InferResponse {
        model_name: "m".into(),
        ..InferResponse::new([tensor])
    };
    let wire = encode_response(response.clone(), form).encode_to_vec();
    let read = generated::ModelInferResponse::decode(wire.as_slice()).unwrap();
    assert_eq!(
        decode_response(read, &limits()).unwrap(),
        (response, expected)
    );
}

fn vector<T: Element>(elements: Vec<T>) {
    let tensor = Tensor::from_vec("x", [elements.len() as u64], elements).unwrap();
    // An empty tensor is raw where it says so, and so are all forms here.
    round_trip(tensor.clone(), ContentsForm::Raw);
    let has_form = !matches!(T::DATATYPE, Datatype::Fp16 | Datatype::Bf16);
    if has_form || tensor.element_count() > 0 {
        round_trip(tensor, ContentsForm::Typed);
    }
}

proptest! {
    #[test]
    fn integers_and_booleans_read_back_in_both_forms(
        a: Vec<u8>, b: Vec<u16>, c: Vec<u32>, d: Vec<u64>, e: Vec<bool>,
        f: Vec<i8>, g: Vec<i16>, h: Vec<i32>, i: Vec<i64>,
    ) {
        vector(a);
        vector(b);
        vector(c);
        vector(d);
        vector(e);
        vector(f);
        vector(g);
        vector(h);
        vector(i);
    }

    #[test]
    fn floats_read_back_to_the_bit_in_both_forms(
        a: Vec<u16>, b: Vec<u32>, c: Vec<u64>,
    ) {
        vector(a.iter().map(|bits| f16::from_bits(*bits)).collect());
        vector(a.iter().map(|bits| bf16::from_bits(*bits)).collect());
        vector(b.iter().map(|bits| f32::from_bits(*bits)).collect());
        vector(c.iter().map(|bits| f64::from_bits(*bits)).collect());
    }

    #[test]
    fn byte_strings_read_back_in_both_forms(strings: Vec<Vec<u8>>) {
        let tensor = Tensor::from_strings("x", [strings.len() as u64], &strings).unwrap();
        round_trip(tensor.clone(), ContentsForm::Raw);
        round_trip(tensor, ContentsForm::Typed);
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_read_and_never_a_panic(bytes: Vec<u8>) {
        if let Ok(message) = ModelInferRequest::decode(bytes.as_slice()) {
            let _ = decode_request(message, &limits());
        }
    }

    #[test]
    fn a_message_with_a_few_bytes_changed_is_no_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        form: bool,
    ) {
        let form = if form { ContentsForm::Raw } else { ContentsForm::Typed };
        let inputs = [
            Tensor::from_strings("s", [2], ["a", "bc"]).unwrap(),
            Tensor::from_vec("i", [1, 3], vec![1_i8, 2, 3]).unwrap(),
        ];
        let request = InferRequest::new(inputs).id("1").output("y");
        let mut wire = encode_request(ModelRef::new("m"), request, form).encode_to_vec();
        for (index, byte) in changes {
            let index = index.index(wire.len());
            wire[index] = byte;
        }
        let guarded = guard::check::<ModelInferRequest>(&wire, &limits());
        let too_many = matches!(guarded, Err(DecodeError::TooMany { .. }));
        prop_assert!(!too_many);
        if let Ok(message) = ModelInferRequest::decode(wire.as_slice()) {
            let _ = decode_request(message, &limits());
        }
    }
}

mod golden;
