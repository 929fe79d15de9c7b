use half::{bf16, f16};

use super::*;
use crate::{Datatype, Error, ErrorKind, InferResponse, RequestedOutput};

fn text(response: &InferResponse) -> String {
    String::from_utf8(encode_response(response, NonFinite::Null).unwrap()).unwrap()
}

/// The elements of a tensor as they are written.
fn data(tensor: Tensor) -> String {
    let text = text(&InferResponse::new([tensor]));
    let (_, data) = text.split_once("\"data\":").unwrap();
    data.strip_suffix("}]}").unwrap().to_owned()
}

#[test]
fn a_response_is_written_in_order_and_without_what_it_lacks() {
    let mut response =
        InferResponse::new([Tensor::from_vec("y", [2, 1], vec![1_i32, -2]).unwrap()]);
    response.model_name = "m".to_owned();
    assert_eq!(
        text(&response),
        r#"{"model_name":"m","outputs":[{"name":"y","datatype":"INT32","shape":[2,1],"data":[1,-2]}]}"#
    );
    response.model_version = Some("3".to_owned());
    response.id = Some("a\"b".to_owned());
    response.parameters.insert("k", true);
    response.outputs[0]
        .parameters_mut()
        .insert("binary_data_size", 4_i64);
    response.outputs[0].parameters_mut().insert("s", "t");
    assert_eq!(
        text(&response),
        r#"{"model_name":"m","model_version":"3","id":"a\"b","parameters":{"k":true},"outputs":[{"name":"y","datatype":"INT32","shape":[2,1],"parameters":{"s":"t"},"data":[1,-2]}]}"#
    );
}

#[test]
fn a_request_is_written_in_order() {
    let mut request =
        InferRequest::new([Tensor::from_vec("x", [], vec![1.5_f32]).unwrap()]).id("7");
    request.outputs.push(RequestedOutput::new("o"));
    assert_eq!(
        String::from_utf8(encode_request(&request).unwrap()).unwrap(),
        r#"{"id":"7","inputs":[{"name":"x","datatype":"FP32","shape":[],"data":[1.5]}],"outputs":[{"name":"o"}]}"#
    );
}

#[test]
fn floats_are_written_in_the_fewest_digits() {
    let floats = vec![
        0.0_f32,
        -0.0,
        1.0,
        -1.5,
        0.1,
        0.3,
        1e-4,
        1.234_567_9e-4,
        1e-5,
        123_456_790.0,
        1e9,
        1e10,
        3.402_823_5e38,
        1e-45,
        16_777_216.0,
        100.0,
        1_234_567.9,
        0.5,
    ];
    assert_eq!(
        data(Tensor::from_vec("y", [floats.len() as u64], floats).unwrap()),
        "[0.0,-0.0,1.0,-1.5,0.1,0.3,0.0001,0.00012345679,1e-5,123456790.0,1000000000.0,10000000000.0,3.4028235e38,\
         1e-45,16777216.0,100.0,1234567.9,0.5]"
    );
    let floats = vec![0.1_f64, 1e300, 5e-324, 1.0, 123_456_789.123];
    assert_eq!(
        data(Tensor::from_vec("y", [5], floats).unwrap()),
        "[0.1,1e+300,5e-324,1.0,123456789.123]"
    );
    let halves = vec![
        f16::from_f32(0.1),
        f16::MAX,
        f16::from_bits(1),
        f16::from_f32(1.0),
    ];
    assert_eq!(
        data(Tensor::from_vec("y", [4], halves).unwrap()),
        "[0.099975586,65504.0,5.9604645e-8,1.0]"
    );
    let brains = vec![
        bf16::from_f32(0.1),
        bf16::MAX,
        bf16::from_bits(1),
        bf16::from_f32(256.0),
    ];
    assert_eq!(
        data(Tensor::from_vec("y", [4], brains).unwrap()),
        "[0.100097656,3.3895314e38,9.1835e-41,256.0]"
    );
}

#[test]
fn integers_are_written_exactly() {
    let tensor = Tensor::from_vec("y", [3], vec![u64::MAX, 0, 10_000_000_000_000_000_000]).unwrap();
    assert_eq!(
        data(tensor),
        "[18446744073709551615,0,10000000000000000000]"
    );
    let tensor = Tensor::from_vec("y", [3], vec![i64::MIN, i64::MAX, -1]).unwrap();
    assert_eq!(
        data(tensor),
        "[-9223372036854775808,9223372036854775807,-1]"
    );
    let tensor = Tensor::from_vec("y", [2], vec![true, false]).unwrap();
    assert_eq!(data(tensor), "[true,false]");
}

/// The texts of 1 to 40 elements, each the longest that its datatype has.
fn few_and_many<T: crate::elements::Element>(longest: T) {
    let text = data(Tensor::from_vec("y", [1], vec![longest]).unwrap());
    let one = text.trim_matches(['[', ']']);
    for count in 1..=40 {
        let tensor = Tensor::from_vec("y", [count], vec![longest; count as usize]).unwrap();
        let expected = vec![one; count as usize].join(",");
        assert_eq!(data(tensor), format!("[{expected}]"), "{count}");
    }
}

#[test]
fn few_elements_are_written_as_they_are_among_many() {
    few_and_many(false);
    few_and_many(u8::MAX);
    few_and_many(i16::MIN);
    few_and_many(u64::MAX);
    few_and_many(i64::MIN);
    few_and_many(f16::from_f32(-6.1e-5));
    few_and_many(bf16::from_f32(-1.2e-38));
    few_and_many(-1.234_567_8e-38_f32);
    few_and_many(-1.234_567_8_f32);
    few_and_many(f32::NAN);
    few_and_many(-2.225_073_858_507_201_4e-308_f64);
}

#[test]
fn strings_are_escaped_where_json_demands_it() {
    let tensor = Tensor::from_strings("y", [2], ["é\u{1f600}/\"\\\n\u{1}\u{7f}", ""]).unwrap();
    assert_eq!(
        data(tensor),
        "[\"é\u{1f600}/\\\"\\\\\\n\\u0001\u{7f}\",\"\"]"
    );
}

#[test]
fn a_float_that_is_not_finite_is_null_a_token_or_an_error() {
    let tensor = Tensor::from_vec("y", [3], vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
    let response = InferResponse::new([tensor.unwrap()]);
    assert!(text(&response).contains("[null,null,null]"));
    let token = encode_response(&response, "token".parse().unwrap()).unwrap();
    assert!(
        String::from_utf8(token)
            .unwrap()
            .contains("[NaN,Infinity,-Infinity]")
    );
    let error = Error::from(encode_response(&response, NonFinite::Error).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::HandlerFailed);
    assert_eq!(
        error.message(),
        "tensor 'y': FP32 element at index 0 is NaN, which JSON cannot carry; ask for binary data"
    );
    assert!("nil".parse::<NonFinite>().is_err());
}

#[test]
fn bytes_that_are_not_utf8_are_refused_with_advice() {
    let tensor = Tensor::from_strings("y", [2], [&b"a"[..], b"\xff"]).unwrap();
    let error = encode_response(&InferResponse::new([tensor]), NonFinite::Null).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor 'y': BYTES element at index 1 is not UTF-8 text and cannot be written as JSON; \
         ask for binary data or for the content type base64"
    );
    assert_eq!(Error::from(error).kind(), ErrorKind::DoesNotFit);
}

#[test]
fn an_empty_tensor_is_an_empty_list() {
    assert_eq!(
        data(Tensor::new("y", Datatype::Bytes, [0], vec![]).unwrap()),
        "[]"
    );
}
