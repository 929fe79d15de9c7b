//! What the fuzz targets of this crate do, with what their runs and we have put into
//! `fuzz/corpus`.

#[path = "../../../fuzz/checks/corpus.rs"]
mod corpus;

#[path = "../../../fuzz/checks/binary_request.rs"]
mod binary_request;
#[path = "../../../fuzz/checks/json_request.rs"]
mod json_request;
#[path = "../../../fuzz/checks/proto_request.rs"]
mod proto_request;

use corpus::replay;

#[test]
fn the_corpus_of_json_requests_is_read_written_and_read_the_same() {
    let whole = [
        "every_datatype",
        "nested",
        "small",
        "sorted_members",
        "triton_client",
    ];
    replay("json_request", json_request::check, &whole);
}

#[test]
fn the_corpus_of_binary_requests_is_read_written_and_read_the_same() {
    replay("binary_request", binary_request::check, &["bool", "mixed"]);
}

#[test]
fn the_corpus_of_proto_requests_is_read_written_and_read_the_same() {
    let whole = ["parameters.bin", "raw.bin", "typed.bin"];
    replay("proto_request", proto_request::check, &whole);
}
