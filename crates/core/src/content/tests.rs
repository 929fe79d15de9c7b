use oip_protocol::{ErrorKind, RequestedOutput};

use super::*;

fn text(name: &str, content: &str, content_type: Option<&str>) -> Tensor {
    let tensor = Tensor::from_strings(name, [1], [content]).unwrap();
    let parameters = content_type.map(|value| (CONTENT_TYPE, value));
    tensor.with_parameters(parameters.into_iter().collect())
}

fn codecs() -> ContentCodecs {
    ContentCodecs::default()
}

#[test]
fn base64_carries_any_bytes_through_text() {
    let request = InferRequest::new([text("x", "/wA=", Some("base64"))]);
    let decoded = codecs().decode_request(request).unwrap();
    let bytes: Vec<_> = decoded.inputs[0].byte_strings().unwrap().collect();
    assert_eq!(bytes, [&[0xff, 0x00][..]]);
    let response = InferResponse::new([decoded.inputs[0].clone()]);
    let encoded = codecs()
        .encode_response(response, &Asked::default())
        .unwrap();
    assert_eq!(encoded.outputs[0].strings().unwrap(), ["/wA="]);
}

#[test]
fn what_is_not_base64_is_refused_with_input_and_index() {
    let request = InferRequest::new([text("x", "***", Some("base64"))]);
    let error = codecs().decode_request(request).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert!(
        error
            .message()
            .starts_with("input 'x': element at index 0 is not base64")
    );
}

#[test]
fn an_input_without_a_content_type_takes_the_requests() {
    let mut request = InferRequest::new([text("x", "YQ==", None), text("y", "YQ==", Some("str"))]);
    request.parameters.insert(CONTENT_TYPE, "base64");
    let decoded = codecs().decode_request(request).unwrap();
    assert_eq!(decoded.inputs[0].strings().unwrap(), ["a"]);
    assert_eq!(decoded.inputs[1].strings().unwrap(), ["YQ=="]);
}

#[test]
fn a_codec_for_text_refuses_numbers_and_does_not_convert_them() {
    let number = Tensor::from_vec("x", [1], vec![1.0_f32]).unwrap();
    let number = number.with_parameters([(CONTENT_TYPE, "str")].into_iter().collect());
    let error = codecs()
        .decode_request(InferRequest::new([number]))
        .unwrap_err();
    assert_eq!(
        error.message(),
        "input 'x': it is FP32, but the content type is for BYTES"
    );
}

#[test]
fn the_handlers_choice_comes_before_the_requested_outputs_before_the_requests() {
    let mut request = InferRequest::default().output("b");
    request.parameters.insert(CONTENT_TYPE, "str");
    request.outputs[0].parameters.insert(CONTENT_TYPE, "base64");
    request.outputs.push(RequestedOutput::new("c"));
    let asked = codecs().asked(&request).unwrap();
    let response = InferResponse::new([
        text("a", "x", Some("base64")),
        text("b", "x", None),
        text("c", "x", None),
    ]);
    let response = codecs().encode_response(response, &asked).unwrap();
    let types: Vec<_> = response
        .outputs
        .iter()
        .map(|output| {
            output
                .parameters()
                .get(CONTENT_TYPE)
                .unwrap()
                .as_str()
                .unwrap()
        })
        .collect();
    assert_eq!(types, ["base64", "base64", "str"]);
    assert_eq!(response.outputs[1].strings().unwrap(), ["eA=="]);
}

#[test]
fn an_unknown_content_type_is_passed_on_and_one_that_is_no_string_refused() {
    let request = InferRequest::new([text("x", "a", Some("datetime"))]);
    assert_eq!(codecs().decode_request(request.clone()).unwrap(), request);
    let mut request = request;
    request.parameters.insert(CONTENT_TYPE, 7_i64);
    let error = codecs().decode_request(request).unwrap_err();
    assert!(error.message().contains("parameter 'content_type' is 7"));
}

#[test]
fn a_users_codec_is_found_before_those_that_come_with_the_server() {
    struct Shout;
    impl ContentCodec for Shout {
        fn names(&self) -> &'static [&'static str] {
            &["str"]
        }
        fn decode(&self, _: Tensor) -> Result<Tensor, ContentError> {
            Err(ContentError("no".into()))
        }
        fn encode(&self, tensor: Tensor) -> Result<Tensor, ContentError> {
            Ok(tensor)
        }
    }
    let mut codecs = codecs();
    codecs.add(Shout);
    let request = InferRequest::new([text("x", "a", Some("str"))]);
    assert_eq!(
        codecs.decode_request(request).unwrap_err().message(),
        "input 'x': no"
    );
}
