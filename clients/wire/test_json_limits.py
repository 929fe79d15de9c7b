"""Documents made to hurt: deep, wide, repeated. Refused quickly, without memory."""

import time

import pytest

from http_wire import assert_error, infer, post_json, tensor

PATH = "/v2/models/vector_fp32/infer"
GOOD = '{"name":"IN","datatype":"FP32","shape":[1],"data":[1]}'


def with_data(data, shape="[1]"):
    return f'{{"inputs":[{{"name":"IN","datatype":"FP32","shape":{shape},"data":{data}}}]}}'


@pytest.mark.parametrize(
    "text",
    [
        "[" * 65, "[" * 100_000, '{"a":' * 100_000, '{"parameters":' * 70,
        with_data("[" * 70 + "1" + "]" * 70), with_data("[" * 100_000),
        '{"unknown":' + "[" * 70 + "]" * 70 + f',"inputs":[{GOOD}]}}',
        '{"inputs":[{"data":' + "[" * 5000,
    ],
    ids=range(8),
)
def test_a_document_deeper_than_64_levels_is_refused_at_once(server, text):
    began = time.monotonic()
    assert_error(post_json(server, PATH, text), 400)
    assert time.monotonic() - began < 2


def test_deep_data_before_its_shape_is_refused_too(server):
    text = '{"inputs":[{"name":"IN","data":[[[1]]],"datatype":"FP32","shape":[1]}]}'
    assert_error(post_json(server, PATH, text), 400, "IN")


def test_unknown_members_are_passed_over(server):
    text = f'{{"x":[[{{"y":[null,true,1e5,"s"]}}]],"inputs":[{GOOD[:-1]},"z":{{"a":[1]}}}}],"more":null}}'
    assert post_json(server, PATH, text).json()["outputs"][0]["data"] == [1]


@pytest.mark.parametrize("order", ["data shape datatype name", "data name shape datatype", "shape data datatype name", "datatype data name shape"])
def test_the_members_of_a_tensor_come_in_any_order(server, order):
    member = {"data": "[1,2]", "shape": "[2]", "datatype": '"FP32"', "name": '"IN"'}
    body = ",".join(f'"{k}":{member[k]}' for k in order.split())
    reply = post_json(server, PATH, f'{{"outputs":[{{"name":"OUT"}}],"inputs":[{{{body}}}],"id":"a"}}')
    assert reply.json()["outputs"][0]["data"] == [1, 2]


OUTPUTS = ",".join(f'{{"name":"O{i}"}}' for i in range(1025))
PARAMETERS = ",".join(f'"p{i}":1' for i in range(1025))


@pytest.mark.parametrize(
    "text",
    [
        f'{{"inputs":[{",".join([GOOD] * 1025)}]}}',
        f'{{"inputs":[{GOOD}],"outputs":[{OUTPUTS}]}}',
        f'{{"inputs":[{GOOD}],"parameters":{{{PARAMETERS}}}}}',
    ],
    ids=["inputs", "outputs", "parameters"],
)
def test_more_than_1024_tensors_or_parameters_are_refused(server, text):
    assert_error(post_json(server, PATH, text), 400)


@pytest.mark.parametrize("member, needle", [("name", "name"), ("datatype", "datatype"), ("shape", "shape"), ("data", "data")])
def test_the_missing_member_is_named(server, member, needle):
    document = {k: v for k, v in tensor("FP32", [1], [1]).items() if k != member}
    assert_error(infer(server, "vector_fp32", {"inputs": [document]}), 400, needle)


@pytest.mark.parametrize("datatype", ["FP8", "fp32", "FLOAT", "STRING", "", "INT128", 1, None, ["FP32"]])
def test_an_unknown_datatype_is_refused(server, datatype):
    document = {"name": "IN", "datatype": datatype, "shape": [1], "data": [1]}
    assert_error(infer(server, "vector_fp32", {"inputs": [document]}), 400)


def test_a_megabyte_of_one_string_is_refused_as_a_number_quickly(server):
    began = time.monotonic()
    assert_error(post_json(server, PATH, with_data('["' + "a" * (8 << 20) + '"]')), 400, "IN")
    assert time.monotonic() - began < 5


def test_an_error_does_not_repeat_a_callers_megabytes(server):
    reply = post_json(server, PATH, with_data('["' + "a" * (1 << 20) + '"]'))
    assert len(reply.body) < 4096
    reply = infer(server, "vector_fp32", {"inputs": [tensor("FP32", [1], [1], name="N" * 100_000)]})
    assert reply.status == 400 and len(reply.body) < 8192


def test_a_number_of_a_million_digits_is_read_or_refused_quickly(server):
    began = time.monotonic()
    reply = post_json(server, PATH, with_data("[0." + "1" * 1_000_000 + "]"))
    assert reply.status in (200, 400)
    assert time.monotonic() - began < 5
