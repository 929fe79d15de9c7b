//! Protobuf messages of the protocol, wire-compatible with the specification and with Triton.

/// The messages of `proto/`, package `inference`. A `bytes` field is a
/// [`Bytes`](bytes::Bytes): decoded from one, it is a slice of it, not a copy.
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[rustfmt::skip]
pub mod generated;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message;

    use super::generated::ModelInferRequest;

    #[test]
    fn raw_contents_are_slices_of_the_received_message() {
        let sent = ModelInferRequest {
            raw_input_contents: vec![Bytes::from(vec![7; 4096]), Bytes::from(vec![9; 100])],
            ..Default::default()
        };
        let wire = Bytes::from(sent.encode_to_vec());
        let received = ModelInferRequest::decode(wire.clone()).unwrap();
        assert_eq!(received, sent);
        for raw in &received.raw_input_contents {
            assert!(wire.as_ptr_range().contains(&raw.as_ptr()));
        }
    }
}
