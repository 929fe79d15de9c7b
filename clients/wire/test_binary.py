"""The binary tensor data extension, byte by byte."""

import json
import struct

import pytest

from http_wire import assert_error, call, post_json, tensor

FLOATS = (1.0, -2.5, 3.25, 0.1)
RAW = struct.pack("<4f", *FLOATS)
PATH = "/v2/models/vector_fp32/infer"
PAIR_PATH = "/v2/models/pair_int32/infer"
INTS = struct.pack("<4i", 1, 2, 3, 4)


def binary_input(datatype="FP32", shape=(4,), size=16, name="IN", **extra):
    return {"name": name, "datatype": datatype, "shape": list(shape), "parameters": {"binary_data_size": size}} | extra


def post(server, path, document, tail=b"", headers=None, length=None):
    head = document if isinstance(document, bytes) else json.dumps(document).encode()
    named = {"Inference-Header-Content-Length": str(len(head) if length is None else length)}
    return call(server, "POST", path, head + tail, named | (headers or {}))


def parts(reply):
    """(document, tail) of an answer in the binary form."""
    assert reply.status == 200, reply.body
    assert reply.headers["Content-Type"] == "application/octet-stream"
    length = int(reply.headers["Inference-Header-Content-Length"])
    return json.loads(reply.body[:length]), reply.body[length:]


@pytest.mark.parametrize("media", [None, "application/octet-stream", "application/json", "application/json; charset=utf-8"])
def test_a_binary_input_is_read_under_every_media_type_clients_send(server, media):
    headers = {"Content-Type": media} if media else {}
    reply = post(server, PATH, {"inputs": [binary_input()]}, RAW, headers)
    assert reply.status == 200, reply.body
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json()["outputs"][0]["data"] == list(struct.unpack("<4f", RAW))[:3] + [0.1]


def test_a_binary_output_is_announced_and_appended(server):
    document = {"inputs": [binary_input()], "outputs": [{"name": "OUT", "parameters": {"binary_data": True}}], "id": "b"}
    head, tail = parts(post(server, PATH, document, RAW))
    assert head["id"] == "b" and tail == RAW
    assert head["outputs"] == [{"name": "OUT", "datatype": "FP32", "shape": [4], "parameters": {"binary_data_size": 16}}]


def test_a_json_request_may_ask_for_binary_output(server):
    document = {"inputs": [tensor("FP32", [4], list(FLOATS))], "parameters": {"binary_data_output": True}}
    assert parts(post_json(server, PATH, document))[1] == RAW


@pytest.mark.parametrize("request_level", [None, True, False])
@pytest.mark.parametrize("output_level", [None, True, False])
def test_binary_data_of_an_output_outweighs_binary_data_output_of_the_request(server, request_level, output_level):
    document = {"inputs": [tensor("FP32", [4], list(FLOATS))], "outputs": [{"name": "OUT"}]}
    if request_level is not None:
        document["parameters"] = {"binary_data_output": request_level}
    if output_level is not None:
        document["outputs"][0]["parameters"] = {"binary_data": output_level}
    reply = post_json(server, PATH, document)
    binary = output_level if output_level is not None else bool(request_level)
    assert reply.status == 200
    assert ("Inference-Header-Content-Length" in reply.headers) == binary


def test_binary_tensors_follow_in_the_order_of_the_json(server):
    document = {
        "inputs": [binary_input("INT32", name="B"), binary_input("INT32", name="A")],
        "outputs": [{"name": n, "parameters": {"binary_data": True}} for n in ("DIFF", "SUM")],
    }
    head, tail = parts(post(server, PAIR_PATH, document, struct.pack("<4i", 10, 20, 30, 40) + INTS))
    assert [o["name"] for o in head["outputs"]] == ["DIFF", "SUM"]
    assert struct.unpack("<8i", tail) == (-9, -18, -27, -36, 11, 22, 33, 44)


def test_binary_and_json_tensors_mix_in_one_request_and_one_answer(server):
    document = {
        "inputs": [tensor("INT32", [4], [10, 20, 30, 40], "A"), binary_input("INT32", name="B")],
        "outputs": [{"name": "SUM"}, {"name": "DIFF", "parameters": {"binary_data": True}}],
    }
    head, tail = parts(post(server, PAIR_PATH, document, INTS))
    assert head["outputs"][0]["data"] == [11, 22, 33, 44] and "data" not in head["outputs"][1]
    assert struct.unpack("<4i", tail) == (9, 18, 27, 36)


@pytest.mark.parametrize(
    "datatype, raw, values",
    [
        ("BOOL", b"\x01\x00", [True, False]), ("INT8", b"\xff\x01", [-1, 1]), ("UINT8", b"\xff\x01", [255, 1]),
        ("INT16", b"\xff\xff\x01\x00", [-1, 1]), ("UINT64", b"\xff" * 8 + b"\x01" + b"\0" * 7, [2**64 - 1, 1]),
        ("FP16", b"\x00\x3e\x00\xbc", [1.5, -1.0]), ("BF16", b"\xc0\x3f\x80\xbf", [1.5, -1.0]),
        ("FP64", struct.pack("<2d", 0.1, -1e300), [0.1, -1e300]),
        ("BYTES", b"\x02\0\0\0ab\0\0\0\0", ["ab", ""]),
    ],
)
def test_a_datatype_in_binary_equals_its_json(server, datatype, raw, values):
    path = f"/v2/models/vector_{datatype.lower()}/infer"
    inputs = [binary_input(datatype, (2,), len(raw))]
    assert post(server, path, {"inputs": inputs}, raw).json()["outputs"][0]["data"] == values
    document = {"inputs": [tensor(datatype, [2], values)], "parameters": {"binary_data_output": True}}
    assert parts(post_json(server, path, document))[1] == raw


def test_an_empty_tensor_has_no_bytes(server):
    document = {"inputs": [binary_input(shape=(0,), size=0)], "parameters": {"binary_data_output": True}}
    head, tail = parts(post(server, PATH, document))
    assert head["outputs"][0]["shape"] == [0] and tail == b""


@pytest.mark.parametrize("pad", range(9))
def test_the_alignment_of_a_tensor_in_the_body_does_not_matter(server, pad):
    head = json.dumps({"inputs": [binary_input()]}).encode() + b" " * pad
    assert post(server, PATH, head, RAW).json()["outputs"][0]["data"] == list(FLOATS)


@pytest.mark.parametrize(
    "size, tail",
    [(16, RAW[:-1]), (16, b""), (20, RAW), (12, RAW), (12, RAW[:12]), (16, RAW + b"\0"), (16, RAW * 2), (0, RAW), (0, b""),
     (-1, RAW), (-16, RAW), (1.5, RAW), ("16", RAW), (True, RAW), (2**63, RAW), (2**64 - 1, RAW), (2**65, RAW)],
)
def test_a_size_that_does_not_fit_is_refused(server, size, tail):
    assert_error(post(server, PATH, {"inputs": [binary_input(size=size)]}, tail), 400)


def test_the_sentence_names_the_tensor_and_both_sizes(server):
    assert_error(post(server, PATH, {"inputs": [binary_input(size=12)]}, RAW[:12]), 400, "IN", "12", "16")


@pytest.mark.parametrize("length", ["-1", "abc", "", "1.5", "99999999999999999999999", "0x10", " ", "+5", "1000000", "5"])
def test_a_header_length_that_is_none_or_does_not_fit_is_refused(server, length):
    assert_error(post(server, PATH, {"inputs": [binary_input()]}, RAW, length=length), 400)


def test_a_binary_size_without_the_header_is_refused(server):
    assert_error(post_json(server, PATH, {"inputs": [binary_input()]}), 400)


def test_data_and_binary_size_together_are_refused(server):
    assert_error(post(server, PATH, {"inputs": [binary_input(data=[1, 2, 3, 4])]}, RAW), 400, "IN")


@pytest.mark.parametrize(
    "raw", [b"\x02\0\0\0ab\x01\0\0\0", b"\xff\xff\xff\xffab", b"\x02\0\0\0ab", b"\x02\0\0\0ab\x01\0\0\0cd", b"\x02\0", b"",
            b"\x01\0\0\0a\x01\0\0\0b\x01\0\0\0c"]
)
def test_broken_framing_of_bytes_is_refused(server, raw):
    document = {"inputs": [binary_input("BYTES", (2,), len(raw))]}
    assert_error(post(server, "/v2/models/vector_bytes/infer", document, raw), 400, "IN")


@pytest.mark.parametrize("byte", [2, 255])
def test_a_bool_byte_is_zero_or_one(server, byte):
    document = {"inputs": [binary_input("BOOL", (2,), 2)]}
    assert_error(post(server, "/v2/models/vector_bool/infer", document, bytes([1, byte])), 400, "IN", "1", byte)


def test_bytes_that_are_no_utf8_travel_in_binary_and_are_refused_in_json(server):
    raw = b"\x03\0\0\0\xff\x00\xfe\0\0\0\0"
    document = {"inputs": [binary_input("BYTES", (2,), len(raw))]}
    sentence = assert_error(post(server, "/v2/models/vector_bytes/infer", document, raw), 400, "binary")
    assert "base64" in sentence
    document["parameters"] = {"binary_data_output": True}
    assert parts(post(server, "/v2/models/vector_bytes/infer", document, raw))[1] == raw


def test_a_raw_body_with_header_length_zero_is_the_one_input(server):
    reply = call(server, "POST", PATH, RAW, {"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"})
    head, tail = parts(reply)
    assert tail == RAW and head["outputs"][0]["shape"] == [4]


def test_a_raw_body_of_bytes_is_one_element(server):
    path = "/v2/models/vector_bytes/infer"
    reply = call(server, "POST", path, b"any \xff bytes", {"Inference-Header-Content-Length": "0"})
    head, tail = parts(reply)
    assert head["outputs"][0]["shape"] == [1] and tail == b"\x0b\0\0\0any \xff bytes"


@pytest.mark.parametrize("path, body", [(PATH, RAW[:-1]), (PAIR_PATH, INTS), ("/v2/models/matrix_fp32/infer", RAW),
                                        ("/v2/models/fixed_fp32/infer", RAW)])
def test_a_raw_body_that_gives_no_shape_is_refused(server, path, body):
    assert_error(call(server, "POST", path, body, {"Inference-Header-Content-Length": "0"}), 400)


def test_a_compressed_binary_request_counts_the_header_before_compression(server):
    import gzip

    head = json.dumps({"inputs": [binary_input()], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Encoding": "gzip"}
    assert parts(call(server, "POST", PATH, gzip.compress(head + RAW), headers))[1] == RAW
