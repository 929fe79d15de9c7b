//! A protobuf message of any bytes: no panic, and what is read is written and read back the same,
//! in both forms.

use oip_protocol::proto::generated::{ModelInferRequest, ModelInferResponse};
use oip_protocol::proto::{self, ContentsForm, guard};
use oip_protocol::{Bytes, DecodeLimits};
use prost::Message;

/// Whether it is a request.
pub(crate) fn check(input: &[u8]) -> bool {
    let limits = DecodeLimits::default();
    let body = Bytes::copy_from_slice(input);
    if let (Ok(()), Ok(message)) = (
        guard::check::<ModelInferResponse>(input, &limits),
        ModelInferResponse::decode(body.clone()),
    ) {
        let _ = proto::decode_response(message, &limits);
    }
    if guard::check::<ModelInferRequest>(input, &limits).is_err() {
        return false;
    }
    let Ok(message) = ModelInferRequest::decode(body) else {
        return false;
    };
    let Ok((model, request, _)) = proto::decode_request(message, &limits) else {
        return false;
    };
    for form in [ContentsForm::Raw, ContentsForm::Typed] {
        let message = proto::encode_request(model.clone(), request.clone(), form);
        let read = proto::decode_request(message, &limits).expect("what we write, we read");
        assert_eq!(read.0, model);
        // NaN is not equal to itself: the buffers are compared, not the parameters.
        assert_eq!(read.1.inputs.len(), request.inputs.len());
        for (read, sent) in read.1.inputs.iter().zip(&request.inputs) {
            assert_eq!((read.shape(), read.data()), (sent.shape(), sent.data()));
        }
    }
    true
}
