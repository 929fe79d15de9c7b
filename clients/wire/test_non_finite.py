"""NaN and infinities: read as NumPy writes them, answered as valid JSON."""

import math
import struct

import pytest

from http_wire import assert_error, call, post_json

TOKENS = "[NaN, Infinity, -Infinity, 1.5]"


def send(server, datatype="FP32", headers=None, data=TOKENS):
    text = f'{{"inputs":[{{"name":"IN","datatype":"{datatype}","shape":[4],"data":{data}}}]}}'
    return post_json(server, f"/v2/models/vector_{datatype.lower()}/infer", text, headers)


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "FP32", "FP64"])
def test_a_non_finite_output_is_null(server, datatype):
    reply = send(server, datatype)
    assert reply.status == 200, reply.body
    assert reply.json()["outputs"][0]["data"] == [None, None, None, 1.5]


def test_null_may_be_asked_for_by_name(server):
    assert send(server, headers={"X-OIP-Non-Finite": "null"}).json()["outputs"][0]["data"][0] is None


@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_token_writes_what_python_reads(server, datatype):
    import json

    reply = send(server, datatype, {"X-OIP-Non-Finite": "token"})
    data = json.loads(reply.body)["outputs"][0]["data"]
    assert math.isnan(data[0]) and data[1:] == [math.inf, -math.inf, 1.5]


def test_error_is_500_and_advises_binary(server):
    assert_error(send(server, headers={"X-OIP-Non-Finite": "error"}), 500, "binary")


def test_a_finite_answer_is_the_same_under_every_policy(server):
    bodies = {p: send(server, headers={"X-OIP-Non-Finite": p}, data="[1, 2, 3, 4]").body for p in ("null", "token", "error")}
    assert len(set(bodies.values())) == 1


def test_an_unknown_policy_is_refused(server):
    assert_error(send(server, headers={"X-OIP-Non-Finite": "perhaps"}), 400, "perhaps")


def test_binary_output_carries_the_bits(server):
    text = (
        f'{{"inputs":[{{"name":"IN","datatype":"FP32","shape":[4],"data":{TOKENS}}}],'
        '"parameters":{"binary_data_output":true}}'
    )
    reply = post_json(server, "/v2/models/vector_fp32/infer", text)
    header = int(reply.headers["Inference-Header-Content-Length"])
    values = struct.unpack("<4f", reply.body[header:])
    assert math.isnan(values[0]) and values[1:] == (math.inf, -math.inf, 1.5)


def test_the_bits_of_a_nan_are_kept_in_binary(server):
    raw = bytes.fromhex("0100807f") + bytes.fromhex("010080ff") + bytes.fromhex("0000c07f")
    head = b'{"inputs":[{"name":"IN","datatype":"FP32","shape":[3],"parameters":{"binary_data_size":12}}],"parameters":{"binary_data_output":true}}'
    reply = call(server, "POST", "/v2/models/vector_fp32/infer", head + raw, {"Inference-Header-Content-Length": str(len(head))})
    assert reply.body[int(reply.headers["Inference-Header-Content-Length"]):] == raw
