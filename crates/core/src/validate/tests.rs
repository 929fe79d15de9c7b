use oip_protocol::{
    Bytes, Datatype, ErrorKind, InferRequest, InferResponse, ModelMetadata, Tensor, TensorMetadata,
};

use super::*;

fn metadata() -> ModelMetadata {
    ModelMetadata {
        name: "m".into(),
        inputs: vec![TensorMetadata::new("x", Datatype::Fp32, [-1, 2])],
        outputs: vec![
            TensorMetadata::new("y", Datatype::Int64, [-1]),
            TensorMetadata::new("z", Datatype::Fp32, [-1]),
        ],
        ..ModelMetadata::default()
    }
}

fn floats(name: &str, dims: [u64; 2]) -> Tensor {
    let count = usize::try_from(dims[0] * dims[1]).unwrap();
    Tensor::from_vec(name, dims, vec![0.0_f32; count]).unwrap()
}

fn refusal(request: InferRequest) -> String {
    let error = check_request(Some(&metadata()), request).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DoesNotFit);
    error.message().to_owned()
}

#[test]
fn a_fitting_request_passes() {
    let request = InferRequest::new([floats("x", [3, 2])]).output("z");
    assert!(check_request(Some(&metadata()), request).is_ok());
}

#[test]
fn a_mismatch_names_the_tensor_what_is_declared_and_what_was_found() {
    let ints = Tensor::from_vec("x", [1, 2], vec![1_i32, 2]).unwrap();
    let cases = [
        (
            InferRequest::new([floats("w", [1, 2])]),
            "input 'w' is not one of the model; it declares 'x'",
        ),
        (InferRequest::new([]), "input 'x' (FP32 [-1,2]) is missing"),
        (
            InferRequest::new([floats("x", [1, 2]), floats("x", [1, 2])]),
            "input 'x' is given twice",
        ),
        (
            InferRequest::new([ints]),
            "input 'x': the model declares FP32, but got INT32",
        ),
        (
            InferRequest::new([floats("x", [1, 3])]),
            "input 'x': the model declares shape [-1,2] (2 dimensions, -1 is any size), but got [1,3]",
        ),
        (
            InferRequest::new([floats("x", [1, 2])]).output("q"),
            "output 'q' is not one of the model; it declares 'y', 'z'",
        ),
        (
            InferRequest::new([floats("x", [1, 2])])
                .output("y")
                .output("y"),
            "output 'y' is given twice",
        ),
    ];
    for (request, message) in cases {
        assert_eq!(refusal(request), message);
    }
}

#[test]
fn without_metadata_only_what_holds_for_every_model_is_checked() {
    let request = InferRequest::new([floats("anything", [1, 3])]);
    assert!(check_request(None, request).is_ok());
    let request = InferRequest::new([floats("x", [1, 2]), floats("x", [1, 2])]);
    assert!(check_request(None, request).is_err());
}

#[test]
fn a_raw_body_fills_the_open_dimension() {
    let request = InferRequest {
        raw_input: Some(Bytes::from(vec![0; 24])),
        ..InferRequest::default()
    };
    let request = check_request(Some(&metadata()), request).unwrap();
    assert_eq!(request.inputs[0].shape().dims(), [3, 2]);
    let request = InferRequest {
        raw_input: Some(Bytes::from(vec![0; 25])),
        ..InferRequest::default()
    };
    assert!(refusal(request).contains("has 25 bytes, which is not a multiple of the 8"));
}

#[test]
fn a_raw_body_of_text_is_one_element() {
    let mut metadata = metadata();
    metadata.inputs = vec![TensorMetadata::new("t", Datatype::Bytes, [1])];
    let request = InferRequest {
        raw_input: Some(Bytes::from_static(b"hello")),
        ..InferRequest::default()
    };
    let request = check_request(Some(&metadata), request).unwrap();
    assert_eq!(request.inputs[0].strings().unwrap(), ["hello"]);
}

#[test]
fn an_answer_that_is_not_as_declared_is_the_handlers_failure_and_the_caller_reads_no_cause() {
    let request = InferRequest::default();
    let response = InferResponse::new([floats("y", [1, 1])]);
    let error = check_response(Some(&metadata()), &request, &response).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HandlerFailed);
    assert!(!error.message().contains("INT64"));
    assert!(
        error
            .cause()
            .unwrap()
            .contains("the model declares INT64, but got FP32")
    );
}

#[test]
fn a_declared_output_may_be_left_out_unless_it_was_asked_for() {
    let output = Tensor::from_vec("y", [1], vec![1_i64]).unwrap();
    let response = InferResponse::new([output]);
    let all = InferRequest::default();
    assert!(check_response(Some(&metadata()), &all, &response).is_ok());
    let named = InferRequest::default().output("z");
    let error = check_response(Some(&metadata()), &named, &response).unwrap_err();
    assert!(
        error
            .cause()
            .unwrap()
            .contains("output 'z' (asked for by name) is missing")
    );
}

#[test]
fn duplicates_are_found_among_few_and_among_many() {
    let few = ["a", "b", "a"];
    assert_eq!(first_duplicate(few.into_iter()), Some("a"));
    let many: Vec<String> = (0..100).map(|n| (n % 99).to_string()).collect();
    assert_eq!(first_duplicate(many.iter().map(String::as_str)), Some("0"));
    assert_eq!(first_duplicate(["a", "b"].into_iter()), None);
}
