"""Elements and shapes in JSON, row by row: what is read and what is refused."""

import json
import struct

import pytest

from http_wire import assert_error, infer, post_json, tensor

INTEGERS = {
    "INT8": (-(2**7), 2**7 - 1), "INT16": (-(2**15), 2**15 - 1), "INT32": (-(2**31), 2**31 - 1),
    "INT64": (-(2**63), 2**63 - 1), "UINT8": (0, 2**8 - 1), "UINT16": (0, 2**16 - 1),
    "UINT32": (0, 2**32 - 1), "UINT64": (0, 2**64 - 1),
}
FLOATS = ("FP16", "BF16", "FP32", "FP64")


def fp32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def vector(server, datatype, data, shape=None):
    """Sends `data` (JSON text or a list) to the identity of this datatype."""
    text = data if isinstance(data, str) else json.dumps(data)
    shape = shape if shape is not None else [len(json.loads(text))]
    document = (
        f'{{"inputs":[{{"name":"IN","datatype":"{datatype}","shape":{json.dumps(shape)},"data":{text}}}]}}'
    )
    return post_json(server, f"/v2/models/vector_{datatype.lower()}/infer", document)


def answer(reply):
    assert reply.status == 200, reply.body
    return reply.json()["outputs"][0]["data"]


@pytest.mark.parametrize("datatype", INTEGERS)
def test_the_limits_of_an_integer_datatype_are_exact(server, datatype):
    low, high = INTEGERS[datatype]
    assert answer(vector(server, datatype, [low, 0, 1, high])) == [low, 0, 1, high]


@pytest.mark.parametrize("datatype", INTEGERS)
def test_an_integer_out_of_range_is_refused_with_index_value_and_range(server, datatype):
    low, high = INTEGERS[datatype]
    for value in (low - 1, high + 1, 10**30, -(10**30)):
        assert_error(vector(server, datatype, f"[0, {value}]", [2]), 400, "IN", "1", value, low, high)


@pytest.mark.parametrize("datatype", INTEGERS)
@pytest.mark.parametrize("text, value", [("1e2", 100), ("2.0", 2), ("10e-1", 1), ("0.0", 0), ("-0", 0), ("1.2e1", 12)])
def test_a_number_whose_value_is_integral_is_an_integer(server, datatype, text, value):
    assert answer(vector(server, datatype, f"[{text}]")) == [value]


@pytest.mark.parametrize("datatype", INTEGERS)
@pytest.mark.parametrize("text", ["1.5", "1e-1", "true", "false", '"1"', "null", "NaN", "Infinity", "1e400", "{}"])
def test_what_is_no_integer_is_refused_with_tensor_and_index(server, datatype, text):
    assert_error(vector(server, datatype, f"[0, 0, {text}]", [3]), 400, "IN", "2")


@pytest.mark.parametrize(
    "text, value", [("9007199254740993", 2**53 + 1), ("9223372036854775807", 2**63 - 1), ("-9223372036854775808", -(2**63))]
)
def test_64_bit_integers_are_exact_beyond_doubles(server, text, value):
    assert answer(vector(server, "INT64", f"[{text}]")) == [value]


@pytest.mark.parametrize(
    "datatype, sent, got",
    [
        ("FP32", "[1, 2, 3]", [1, 2, 3]), ("FP32", "[0.1]", [fp32(0.1)]), ("FP32", "[16777217]", [16777216]),
        ("FP32", "[1e-50]", [0]), ("FP32", "[3.4028235e38]", [fp32(3.4028235e38)]), ("FP32", "[-0.0]", [-0.0]),
        ("FP64", "[0.1, 1e308, 5e-324]", [0.1, 1e308, 5e-324]), ("FP64", "[9007199254740993]", [9007199254740992]),
        ("FP16", "[1.5, 65504, 0.1]", [1.5, 65504, 0.0999755859375]), ("FP16", "[2049]", [2048]),
        ("FP16", "[2051]", [2052]), ("FP16", "[65519]", [65504]), ("FP16", "[6e-8]", [2**-24]),
        ("BF16", "[1.5, 257, 0.1]", [1.5, 256, 0.10009765625]), ("BF16", "[259]", [260]),
    ],
)
def test_a_float_is_rounded_to_the_nearest_even(server, datatype, sent, got):
    answered = answer(vector(server, datatype, sent))
    narrow = fp32 if datatype in ("FP32", "BF16", "FP16") else float
    assert [narrow(v) for v in answered] == [narrow(v) for v in got]


def test_an_fp32_answer_is_written_as_the_shortest_text_that_reads_back(server):
    reply = vector(server, "FP32", "[0.1, 16777216, 1e-7]")
    assert b"0.1," in reply.body.replace(b" ", b""), reply.body


@pytest.mark.parametrize(
    "datatype, text",
    [("FP32", "1e39"), ("FP32", "-3.5e38"), ("FP64", "1e309"), ("FP16", "65520"), ("FP16", "-1e6"), ("BF16", "3.5e38")],
)
def test_a_number_that_rounds_to_infinity_is_refused(server, datatype, text):
    assert_error(vector(server, datatype, f"[0, {text}]", [2]), 400, "IN", "1")


@pytest.mark.parametrize("datatype", FLOATS)
@pytest.mark.parametrize("text", ["true", '"1.0"', '"NaN"', "null", "{}", '""'])
def test_what_is_no_number_is_refused_for_floats(server, datatype, text):
    assert_error(vector(server, datatype, f"[0, {text}]", [2]), 400, "IN", "1")


@pytest.mark.parametrize("text", ["01", "1.", ".5", "+1", "1e", "0x10", "1_000", "--1", "nan", "Inf", "-", "1.e5"])
def test_what_json_does_not_know_as_a_number_is_refused(server, text):
    assert_error(vector(server, "FP32", f"[{text}]", [1]), 400)


def test_bool_is_true_and_false_only(server):
    assert answer(vector(server, "BOOL", [True, False])) == [True, False]
    for text in ("0", "1", '"true"', "null", "1.0"):
        assert_error(vector(server, "BOOL", f"[true, {text}]", [2]), 400, "IN", "1")


@pytest.mark.parametrize("data", [["a", "", "Grüße", "\u0000", '"\\/\b\n', "\U0001f980", "x" * 100_000]])
def test_bytes_are_json_strings(server, data):
    assert answer(vector(server, "BYTES", data)) == data


@pytest.mark.parametrize("text", ["1", "true", "null", "1.5", "{}"])
def test_what_is_no_string_is_refused_for_bytes(server, text):
    assert_error(vector(server, "BYTES", f'["a", {text}]', [2]), 400, "IN", "1")


@pytest.mark.parametrize("text", [r'["\udcff"]', r'["\ud800x"]', r'["\x"]', '["a\nb"]', r'["\u12"]', '["a', '["\t"]'])
def test_a_broken_string_is_refused(server, text):
    assert_error(vector(server, "BYTES", text, [1]), 400)


@pytest.mark.parametrize("shape", ["[-1]", "[-2]", "[1.0]", "[1.5]", '["1"]', "[true]", "[null]", "[[1]]", "1", "null", '"1"', "{}",
                                   "[1e0]", "[18446744073709551616]", "[99999999999999999999999]"])
def test_a_dimension_is_an_integer_that_is_not_negative(server, shape):
    document = f'{{"inputs":[{{"name":"IN","datatype":"FP32","shape":{shape},"data":[1]}}]}}'
    assert_error(post_json(server, "/v2/models/vector_fp32/infer", document), 400)


@pytest.mark.parametrize(
    "shape", [[2**32, 2**32], [2**63, 2], [2**62, 2**62, 2**62], [2**40], [2**63 - 1], [2**31, 2**31, 4]]
)
@pytest.mark.parametrize("data", [[], [1.0]])
def test_a_huge_shape_is_refused_without_memory(server, shape, data):
    before = server.resident_mib()
    reply = infer(server, "vector_fp32", {"inputs": [tensor("FP32", shape, data)]})
    assert_error(reply, 400)
    assert server.resident_mib() - before < 64


@pytest.mark.parametrize(
    "model, shape, data, flat",
    [
        ("matrix_fp32", [2, 3], [1, 2, 3, 4, 5, 6], None), ("matrix_fp32", [2, 3], [[1, 2, 3], [4, 5, 6]], None),
        ("matrix_fp32", [1, 1], [[1]], None), ("matrix_fp32", [1, 1], [1], None), ("matrix_fp32", [3, 1], [[1], [2], [3]], None),
        ("matrix_fp32", [0, 2], [], None), ("matrix_fp32", [2, 0], [[], []], None), ("matrix_fp32", [2, 0], [], None),
        ("vector_fp32", [0], [], None), ("single_fp32", [], 1.5, [1.5]), ("single_fp32", [], [1.5], None),
        ("fixed_fp32", [2, 3], [1, 2, 3, 4, 5, 6], None),
    ],
)
def test_data_is_flat_or_nested_as_the_shape_and_answered_flat(server, model, shape, data, flat):
    reply = infer(server, model, {"inputs": [tensor("FP32", shape, data)]})
    output = reply.json()["outputs"][0] if reply.status == 200 else reply.body
    expected = flat if flat is not None else [x for row in data for x in (row if isinstance(row, list) else [row])]
    assert output == {"name": "OUT", "datatype": "FP32", "shape": shape, "data": expected}


@pytest.mark.parametrize(
    "model, shape, data",
    [
        ("matrix_fp32", [2, 3], [[1, 2], [3, 4], [5, 6]]), ("matrix_fp32", [2, 2], [[1, 2], [3]]),
        ("matrix_fp32", [2, 2], [[1, 2, 3], [4]]), ("matrix_fp32", [2, 2], [1, [2, 3], 4]), ("matrix_fp32", [2, 2], [[1, 2], 3, 4]),
        ("matrix_fp32", [2, 2], [[[1], [2]], [[3], [4]]]), ("vector_fp32", [4], [[1, 2], [3, 4]]), ("vector_fp32", [1], [[1]]),
        ("vector_fp32", [3], [1, 2]), ("vector_fp32", [2], [1, 2, 3]), ("vector_fp32", [0], [1]), ("vector_fp32", [1], []),
        ("vector_fp32", [1], 1), ("vector_fp32", [2], "ab"), ("vector_fp32", [2], {}), ("vector_fp32", [1], None),
        ("single_fp32", [], []), ("single_fp32", [], [1, 2]), ("single_fp32", [], [[1]]), ("matrix_fp32", [0, 2], [[]]),
        ("matrix_fp32", [2, 2], [[1, 2], [3, 4], []]), ("matrix_fp32", [2, 2], [1, 2, 3]),
    ],
)
def test_data_of_another_form_than_the_shape_is_refused(server, model, shape, data):
    assert_error(infer(server, model, {"inputs": [tensor("FP32", shape, data)]}), 400, "IN")


def test_a_ragged_list_is_refused_with_declared_and_found(server):
    reply = infer(server, "matrix_fp32", {"inputs": [tensor("FP32", [2, 2], [[1, 2], [3]])]})
    assert_error(reply, 400, "IN", "2", "1")
