use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

use super::super::generated::InferTensorContents;
use super::super::generated::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use super::*;

fn look(message: &ModelInferRequest) -> Result<(), DecodeError> {
    check::<ModelInferRequest>(&message.encode_to_vec(), &DecodeLimits::default())
}

#[track_caller]
fn refused(message: &ModelInferRequest, sentence: &str) {
    assert_eq!(look(message).unwrap_err().to_string(), sentence);
}

fn with_input(input: InferInputTensor) -> ModelInferRequest {
    ModelInferRequest {
        inputs: vec![InferInputTensor::default(), input],
        ..ModelInferRequest::default()
    }
}

fn with_contents(contents: InferTensorContents) -> ModelInferRequest {
    with_input(InferInputTensor {
        contents: Some(contents),
        ..InferInputTensor::default()
    })
}

#[test]
fn as_many_tensors_as_the_limit_pass_and_one_more_does_not() {
    let mut message = ModelInferRequest {
        inputs: vec![InferInputTensor::default(); 1024],
        outputs: vec![InferRequestedOutputTensor::default(); 1024],
        raw_input_contents: vec![Bytes::new(); 1024],
        ..ModelInferRequest::default()
    };
    look(&message).unwrap();
    message.raw_input_contents.push(Bytes::new());
    refused(
        &message,
        "ModelInferRequest: more than 1024 raw_input_contents",
    );
    message.outputs.push(InferRequestedOutputTensor::default());
    refused(&message, "ModelInferRequest: more than 1024 outputs");
}

#[test]
fn eight_megabytes_of_empty_inputs_are_refused() {
    let wire = [0x2a, 0x00].repeat(4 << 20);
    let error = check::<ModelInferRequest>(&wire, &DecodeLimits::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "ModelInferRequest: more than 1024 inputs"
    );
}

#[test]
fn parameters_are_counted_on_each_object_and_in_the_message() {
    let parameters = |count: usize| {
        let pairs = (0..count).map(|index| (index.to_string(), Default::default()));
        pairs.collect()
    };
    let input = |count| InferInputTensor {
        parameters: parameters(count),
        ..InferInputTensor::default()
    };
    look(&with_input(input(1024))).unwrap();
    refused(
        &with_input(input(1025)),
        "ModelInferRequest.inputs[1]: more than 1024 parameters",
    );
    let many = ModelInferRequest {
        inputs: vec![input(1024); 17],
        ..ModelInferRequest::default()
    };
    refused(
        &many,
        "ModelInferRequest.inputs[16]: more than 16384 parameters in one message",
    );
}

#[test]
fn dimensions_are_counted_packed_and_one_by_one() {
    let input = |rank| InferInputTensor {
        shape: vec![300; rank],
        ..InferInputTensor::default()
    };
    look(&with_input(input(1024))).unwrap();
    refused(
        &with_input(input(1025)),
        "ModelInferRequest.inputs[1]: more than 1024 dimensions",
    );
    // The same in the form of one tag each.
    let shape = [0x18, 0x01].repeat(1025);
    let mut wire = vec![0x2a];
    prost::encoding::encode_varint(shape.len() as u64, &mut wire);
    wire.extend(shape);
    assert!(check::<ModelInferRequest>(&wire, &DecodeLimits::default()).is_err());
}

#[test]
fn typed_byte_strings_are_counted_in_the_whole_message() {
    let contents = |count| InferTensorContents {
        bytes_contents: vec![Bytes::new(); count],
        ..InferTensorContents::default()
    };
    look(&with_contents(contents(1 << 20))).unwrap();
    refused(
        &with_contents(contents((1 << 20) + 1)),
        "ModelInferRequest.inputs[1].contents: more than 1048576 BYTES elements in typed \
         contents (send them raw)",
    );
}

#[test]
fn typed_elements_are_counted_in_the_whole_message() {
    let limits = DecodeLimits {
        typed_elements: 10,
        ..DecodeLimits::default()
    };
    let look = |contents| {
        let wire = with_contents(contents).encode_to_vec();
        check::<ModelInferRequest>(&wire, &limits)
    };
    let bools = |count| InferTensorContents {
        bool_contents: vec![true; count],
        ..InferTensorContents::default()
    };
    let floats = |count| InferTensorContents {
        fp64_contents: vec![1.0; count],
        ..InferTensorContents::default()
    };
    assert!(look(bools(10)).is_ok() && look(floats(10)).is_ok());
    assert!(look(bools(11)).is_err() && look(floats(11)).is_err());
}

#[test]
fn bytes_that_are_no_protobuf_are_refused_with_the_field() {
    for (wire, sentence) in [
        (
            &[0x2a, 0x02, 0x2a, 0x09][..],
            "ModelInferRequest.inputs[0]: malformed protobuf: a field is longer than its message",
        ),
        (
            &[0x08][..],
            "ModelInferRequest: malformed protobuf: a number is cut short",
        ),
        (
            &[0x0b][..],
            "ModelInferRequest: malformed protobuf: a field has a wire type that is not read",
        ),
        (
            &[0xff; 11][..],
            "ModelInferRequest: malformed protobuf: a number takes more than 64 bits",
        ),
    ] {
        let error = check::<ModelInferRequest>(wire, &DecodeLimits::default()).unwrap_err();
        assert_eq!(error.to_string(), sentence);
    }
}

#[test]
fn settings_and_parameters_of_other_calls_are_counted_too() {
    let wire = [0x0a, 0x00].repeat(1025);
    let limits = DecodeLimits::default();
    assert!(check::<TraceSettingRequest>(&wire, &limits).is_err());
    assert!(check::<LogSettingsRequest>(&wire, &limits).is_err());
    let wire = [0x1a, 0x00].repeat(1025);
    assert!(check::<RepositoryModelLoadRequest>(&wire, &limits).is_err());
    assert!(check::<RepositoryModelUnloadRequest>(&wire, &limits).is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_what_decodes_passes(bytes: Vec<u8>) {
        let guarded = check::<ModelInferRequest>(&bytes, &DecodeLimits::default());
        if ModelInferRequest::decode(bytes.as_slice()).is_ok() {
            // Groups apart, which the decoder passes over.
            let group = bytes.iter().any(|byte| matches!(byte & 7, 3 | 4));
            prop_assert!(guarded.is_ok() || group);
        }
    }

    #[test]
    fn what_does_not_pass_for_its_form_does_not_decode(
        fields in prop::collection::vec((1_u8..9, prop::collection::vec(any::<u8>(), 0..12)), 0..20)
    ) {
        let mut wire = Vec::new();
        for (tag, payload) in fields {
            wire.extend([tag << 3 | 2, payload.len() as u8]);
            wire.extend(payload);
        }
        let guarded = check::<ModelInferRequest>(&wire, &DecodeLimits::default());
        let too_many = matches!(guarded, Err(DecodeError::TooMany { .. }));
        prop_assert!(!too_many);
    }
}
