//! Facts about the binary form.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::json::NonFinite;
use crate::{
    DecodeError, DecodeLimits, InferRequest, InferResponse, ParameterValue, RequestedOutput, Tensor,
};

/// A body of this JSON and these bytes behind it, read as a request.
fn decode(json: &str, behind: &[u8]) -> Result<InferRequest, DecodeError> {
    let body = [json.as_bytes(), behind].concat();
    decode_request(Bytes::from(body), json.len(), &DecodeLimits::default())
}

fn refused(json: &str, behind: &[u8]) -> String {
    decode(json, behind).unwrap_err().to_string()
}

/// The JSON of an input of so many bytes.
fn input(name: &str, datatype: &str, shape: &str, size: &str) -> String {
    format!(
        r#"{{"name":"{name}","datatype":"{datatype}","shape":{shape},"parameters":{{"binary_data_size":{size}}}}}"#
    )
}

fn inputs(inputs: &[String]) -> String {
    format!(r#"{{"inputs":[{}]}}"#, inputs.join(","))
}

#[test]
fn tensors_are_slices_of_the_body_in_their_order() {
    let json = inputs(&[
        input("a", "INT16", "[2]", "4"),
        r#"{"name":"b","datatype":"FP32","shape":[1],"data":[1.5]}"#.to_owned(),
        input("c", "BYTES", "[1]", "5"),
    ]);
    let body = Bytes::from([json.as_bytes(), b"\x01\0\x02\0\x01\0\0\0x"].concat());
    let request = decode_request(body.clone(), json.len(), &DecodeLimits::default()).unwrap();
    let [a, b, c] = &request.inputs[..] else {
        panic!("three inputs")
    };
    assert_eq!(a.to_slice::<i16>().unwrap(), &[1, 2][..]);
    assert_eq!(a.data().as_ptr(), body[json.len()..].as_ptr());
    assert_eq!(b.as_slice::<f32>(), Some(&[1.5][..]));
    assert_eq!(c.strings().unwrap(), ["x"]);
    assert!(
        a.parameters().is_empty(),
        "the size is not the tensor's own"
    );
}

#[test]
fn a_header_length_of_zero_is_the_raw_request() {
    let body = Bytes::from_static(b"\x01\x02");
    let request = decode_request(body.clone(), 0, &DecodeLimits::default()).unwrap();
    assert_eq!(request.raw_input, Some(body));
    assert!(request.inputs.is_empty());
}

#[test]
fn a_header_longer_than_the_body_is_refused_with_both_lengths() {
    let body = Bytes::from_static(b"{}");
    for length in [3, usize::MAX] {
        let error = decode_request(body.clone(), length, &DecodeLimits::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "binary body: Inference-Header-Content-Length is {length}, but the body has 2 bytes"
            )
        );
    }
}

#[test]
fn a_header_shorter_than_its_json_is_malformed() {
    let json = inputs(&[input("a", "INT8", "[1]", "1")]);
    let body = Bytes::from(json.clone() + "\u{1}");
    let error = decode_request(body, json.len() - 1, &DecodeLimits::default()).unwrap_err();
    assert!(error.to_string().starts_with("malformed JSON"));
}

#[test]
fn sizes_beyond_the_body_and_bytes_left_over_are_refused_with_figures() {
    let json = inputs(&[
        input("a", "INT8", "[1]", "1"),
        input("b", "INT8", "[3]", "3"),
    ]);
    assert_eq!(
        refused(&json, &[0; 3]),
        "binary body: input 'b' has binary_data_size 3, but 2 bytes are left of the body"
    );
    assert!(refused(&json, &[0; 5]).contains("1 bytes are left behind the last tensor"));
    let json = inputs(&[input("a", "INT8", "[1]", "18446744073709551615")]);
    assert!(refused(&json, &[0; 5]).contains("binary_data_size 18446744073709551615, but 5"));
    let json = inputs(&[r#"{"name":"b","datatype":"INT8","shape":[1],"data":[1]}"#.to_owned()]);
    assert!(refused(&json, &[0; 5]).contains("5 bytes are left"));
}

#[test]
fn a_size_that_is_not_the_shapes_is_refused() {
    let json = inputs(&[input("a", "FP32", "[2]", "7")]);
    assert_eq!(
        refused(&json, &[0; 7]),
        "input 'a': FP32 of shape [2] takes 8 bytes (2 elements), but got 7 bytes"
    );
    let json = inputs(&[input("a", "BOOL", "[2]", "2")]);
    assert!(refused(&json, &[1, 2]).contains("element at index 1 is 2, but a BOOL is 0 or 1"));
    let json = inputs(&[input("a", "BYTES", "[1]", "5")]);
    assert!(refused(&json, b"\x02\0\0\0x").contains("needs 6 bytes, but 5 are left"));
}

#[test]
fn a_size_must_be_a_non_negative_integer_and_stand_without_data() {
    for size in ["-1", "1.0", "\"1\"", "true", "1e30"] {
        let json = inputs(&[input("a", "INT8", "[1]", size)]);
        assert!(
            refused(&json, &[0]).contains("'binary_data_size' must be a non-negative integer"),
            "{size}"
        );
    }
    let both = r#"{"name":"a","datatype":"INT8","shape":[1],"parameters":{"binary_data_size":1},"data":[1]}"#;
    assert!(refused(&inputs(&[both.to_owned()]), &[0]).contains("are both there"));
    let neither = r#"{"name":"a","datatype":"INT8","shape":[1]}"#;
    assert_eq!(
        refused(&inputs(&[neither.to_owned()]), &[]),
        "input 'a': 'data' is missing"
    );
}

#[test]
fn an_answer_has_only_the_wanted_outputs_behind_the_json() {
    let outputs = [
        Tensor::from_vec("a", [1], vec![1_i32]).unwrap(),
        Tensor::from_vec("b", [2], vec![f32::NAN, 0.5]).unwrap(),
    ];
    let mut response = InferResponse::new(outputs);
    response.model_name = "m".to_owned();
    let body = encode_response(&response, NonFinite::Error, &|name| name == "b").unwrap();
    assert_eq!(
        String::from_utf8_lossy(&body.header),
        r#"{"model_name":"m","outputs":[{"name":"a","datatype":"INT32","shape":[1],"data":[1]},{"name":"b","datatype":"FP32","shape":[2],"parameters":{"binary_data_size":8}}]}"#
    );
    assert_eq!(body.buffers.len(), 1);
    assert_eq!(
        body.buffers[0].as_ptr(),
        response.outputs[1].data().as_ptr()
    );
    assert_eq!(body.content_length(), body.header_length() + 8);
    let read = decode_response(
        body.to_bytes(),
        body.header_length(),
        &DecodeLimits::default(),
    );
    assert_eq!(read.unwrap().outputs[1].data(), response.outputs[1].data());
}

#[test]
fn binary_data_of_an_output_wins_over_binary_data_output() {
    let request = |default: Option<bool>, outputs: &[(&str, Option<bool>)]| {
        let mut request = InferRequest::default();
        if let Some(default) = default {
            request.parameters.insert("binary_data_output", default);
        }
        for (name, binary) in outputs {
            let mut output = RequestedOutput::new(*name);
            if let Some(binary) = binary {
                output
                    .parameters
                    .insert("binary_data", ParameterValue::Bool(*binary));
            }
            request.outputs.push(output);
        }
        OutputForms::new(&request)
    };
    let forms = request(None, &[]);
    assert!(!forms.any_binary() && !forms.is_binary("a"));
    let forms = request(Some(true), &[]);
    assert!(forms.any_binary() && forms.is_binary("a"));
    let forms = request(Some(true), &[("a", Some(false)), ("b", None)]);
    assert!(forms.any_binary() && !forms.is_binary("a") && forms.is_binary("b"));
    let forms = request(Some(true), &[("a", Some(false))]);
    assert!(!forms.any_binary());
    let forms = request(Some(false), &[("a", Some(true)), ("b", None)]);
    assert!(forms.any_binary() && forms.is_binary("a") && !forms.is_binary("b"));
}

proptest! {
    #[test]
    fn mixed_requests_read_back(
        singles: Vec<u32>, strings: Vec<Vec<u8>>, flags: Vec<bool>, words: Vec<i64>, in_json: [bool; 2],
    ) {
        let singles: Vec<f32> = singles.into_iter().map(f32::from_bits).collect();
        let tensors = [
            Tensor::from_vec("a", [singles.len() as u64], singles).unwrap(),
            Tensor::from_vec("b", [flags.len() as u64, 1], flags).unwrap(),
            Tensor::from_strings("c", [strings.len() as u64], strings).unwrap(),
            Tensor::from_vec("d", [1, words.len() as u64], words).unwrap(),
        ];
        let request = InferRequest::new(tensors).id("1");
        let body = encode_request(&request, |tensor| match tensor.name() {
            "b" => !in_json[0],
            "d" => !in_json[1],
            _ => true,
        }).unwrap();
        let read = decode_request(body.to_bytes(), body.header_length(), &DecodeLimits::default());
        prop_assert_eq!(read.unwrap(), request);
    }

    #[test]
    fn arbitrary_bytes_never_panic(body: Vec<u8>, length in 0..100_usize) {
        let body = Bytes::from(body);
        let _ = decode_request(body.clone(), length, &DecodeLimits::default());
        let _ = decode_response(body, length, &DecodeLimits::default());
    }
}
