"""What a request may say and what its answer repeats: id, parameters, outputs, fit to the model."""

import json

import pytest

from http_wire import assert_error, infer, post_json, tensor

ONE = [tensor("FP32", [2], [1, 2])]
PAIR = [tensor("INT32", [4], [1, 2, 3, 4], "A"), tensor("INT32", [4], [10, 20, 30, 40], "B")]
SUM, DIFF = [11, 22, 33, 44], [-9, -18, -27, -36]


@pytest.mark.parametrize("indent", [None, 0, 2, "\t"])
@pytest.mark.parametrize("count", [2, 40, 1000])
def test_a_request_is_read_however_it_is_laid_out(server, indent, count):
    data = [n / 8 for n in range(count)]
    body = json.dumps({"inputs": [tensor("FP32", [count], data)]}, indent=indent)
    answer = post_json(server, "/v2/models/vector_fp32/infer", body)
    assert answer.json()["outputs"][0]["data"] == data


def has_null(value):
    if isinstance(value, dict):
        return any(has_null(v) for v in value.values())
    if isinstance(value, list):
        return any(has_null(v) for v in value)
    return value is None


@pytest.mark.parametrize("ident", ["42", "", "with \"quotes\" and \\", "Grüße \U0001f980", "x" * 1000])
def test_an_id_comes_back_as_sent(server, ident):
    assert infer(server, "vector_fp32", {"id": ident, "inputs": ONE}).json()["id"] == ident


@pytest.mark.parametrize("ident", [1, True, ["a"], {"a": 1}])
def test_an_id_that_is_no_string_is_refused(server, ident):
    assert_error(infer(server, "vector_fp32", {"id": ident, "inputs": ONE}), 400, "id")


def test_members_without_a_value_are_left_out(server):
    document = infer(server, "vector_fp32", {"inputs": ONE}).json()
    assert document == {
        "model_name": "vector_fp32", "model_version": "1",
        "outputs": [{"name": "OUT", "datatype": "FP32", "shape": [2], "data": [1, 2]}],
    }


@pytest.mark.parametrize("path", ["/v2", "/v2/models/vector_fp32", "/v2/models/pair_int32", "/v2/models/vector_fp32/config"])
def test_no_document_holds_null(server, path):
    status, document = server.get(path)
    assert status == 200 and not has_null(document), document


@pytest.mark.parametrize(
    "outputs, names",
    [(None, ["SUM", "DIFF"]), ([], ["SUM", "DIFF"]), (["SUM"], ["SUM"]), (["DIFF"], ["DIFF"]), (["DIFF", "SUM"], ["DIFF", "SUM"])],
)
def test_outputs_select_and_order(server, outputs, names):
    document = {"inputs": PAIR} | ({} if outputs is None else {"outputs": [{"name": n} for n in outputs]})
    answered = infer(server, "pair_int32", document).json()["outputs"]
    assert [(o["name"], o["data"]) for o in answered] == [(n, {"SUM": SUM, "DIFF": DIFF}[n]) for n in names]


def test_the_order_of_inputs_does_not_matter(server):
    assert infer(server, "pair_int32", {"inputs": PAIR[::-1]}).json()["outputs"][1]["data"] == DIFF


@pytest.mark.parametrize("outputs", [["SUM", "SUM"], ["NOPE"], ["SUM", "NOPE"], ["sum"], [""]])
def test_an_output_that_is_unknown_or_asked_for_twice_is_refused(server, outputs):
    reply = infer(server, "pair_int32", {"inputs": PAIR, "outputs": [{"name": n} for n in outputs]})
    assert_error(reply, 400, outputs[-1])


@pytest.mark.parametrize("outputs", [[{}], ["SUM"], [1], {"name": "SUM"}, "SUM", [{"name": 1}], [{"name": None}]])
def test_outputs_of_another_form_are_refused(server, outputs):
    assert_error(infer(server, "pair_int32", {"inputs": PAIR, "outputs": outputs}), 400)


@pytest.mark.parametrize(
    "model, inputs, needles",
    [
        ("pair_int32", PAIR[:1], ["B"]),
        ("pair_int32", PAIR + [tensor("INT32", [4], [0] * 4, "C")], ["C"]),
        ("pair_int32", PAIR + PAIR[:1], ["A"]),
        ("pair_int32", [PAIR[0], tensor("INT64", [4], [0] * 4, "B")], ["B", "INT32", "INT64"]),
        ("pair_int32", [PAIR[0], tensor("INT32", [5], [0] * 5, "B")], ["B", "4", "5"]),
        ("pair_int32", [PAIR[0], tensor("INT32", [2, 2], [0] * 4, "B")], ["B", "2"]),
        ("vector_fp32", [tensor("FP32", [1, 2], [1, 2])], ["IN", "1", "2"]),
        ("fixed_fp32", [tensor("FP32", [3, 2], [0] * 6)], ["IN", "[2,3]", "[3,2]"]),
        ("single_fp32", [tensor("FP32", [1], [0])], ["IN"]),
        ("vector_fp32", [tensor("FP64", [1], [0])], ["IN", "FP32", "FP64"]),
        ("vector_fp32", [tensor("FP32", [1], [0], "in")], ["in"]),
        ("vector_fp32", [tensor("FP32", [1], [0], "")], []),
    ],
)
def test_what_does_not_fit_the_model_is_refused_with_declared_and_found(server, model, inputs, needles):
    reply = infer(server, model, {"inputs": inputs})
    sentence = assert_error(reply, 400).replace(" ", "")
    for needle in needles:
        assert needle.lower() in sentence.lower(), sentence


@pytest.mark.parametrize("parameters", [{}, {"a": "s", "b": 1, "c": 1.5, "d": True, "e": -1, "f": 2**63 - 1}])
@pytest.mark.parametrize("place", ["request", "input", "output"])
def test_scalar_parameters_are_accepted_everywhere(server, parameters, place):
    document = {"inputs": [dict(ONE[0])], "outputs": [{"name": "OUT"}]}
    holder = {"request": document, "input": document["inputs"][0], "output": document["outputs"][0]}[place]
    holder["parameters"] = parameters
    assert infer(server, "vector_fp32", document).status == 200


@pytest.mark.parametrize("value", [{"x": 1}, [1], [[]]])
@pytest.mark.parametrize("place", ["request", "input", "output"])
def test_a_parameter_that_is_no_scalar_is_refused(server, value, place):
    document = {"inputs": [dict(ONE[0])], "outputs": [{"name": "OUT"}]}
    holder = {"request": document, "input": document["inputs"][0], "output": document["outputs"][0]}[place]
    holder["parameters"] = {"deep": value}
    assert_error(infer(server, "vector_fp32", document), 400, "deep")


def test_base64_content_type_carries_bytes_that_are_no_text(server):
    document = {
        "inputs": [tensor("BYTES", [2], ["/wA=", "YQ=="]) | {"parameters": {"content_type": "base64"}}],
        "outputs": [{"name": "OUT", "parameters": {"content_type": "base64"}}],
    }
    reply = infer(server, "vector_bytes", document)
    assert reply.status == 200, reply.body
    output = reply.json()["outputs"][0]
    assert (output["datatype"], output["shape"], output["data"]) == ("BYTES", [2], ["/wA=", "YQ=="])


@pytest.mark.parametrize("content_type", ["np", "numpy", "unheard-of"])
def test_a_content_type_never_changes_datatype_or_shape(server, content_type):
    document = {
        "parameters": {"content_type": content_type},
        "inputs": [tensor("INT32", [2, 2], [1, 2, 3, 4]) | {"parameters": {"content_type": content_type}}],
    }
    reply = infer(server, "matrix_int32", document)
    assert reply.status == 200, reply.body
    output = reply.json()["outputs"][0]
    numbers = [int(n) for n in json.dumps(output["data"]).replace("[", "").replace("]", "").split(",")]
    assert (output["datatype"], output["shape"], numbers) == ("INT32", [2, 2], [1, 2, 3, 4])


def test_every_example_model_answers_its_sample_request(server, examples):
    assert len(examples) >= 3
    for folder in examples:
        request = (folder / "sample-request.json").read_bytes()
        expected = json.loads((folder / "sample-response.json").read_bytes())
        reply = post_json(server, f"/v2/models/{folder.name}/infer", request)
        assert reply.status == 200, (folder.name, reply.body)
        got = {o["name"]: o for o in reply.json()["outputs"]}
        for output in expected["outputs"]:
            found = got[output["name"]]
            assert (found["datatype"], found["shape"]) == (output["datatype"], output["shape"])
            if output["datatype"].startswith("FP"):
                assert found["data"] == pytest.approx(output["data"], rel=1e-4, abs=1e-5)
            else:
                assert found["data"] == output["data"]


def test_statistics_count_what_was_answered(server):
    def count():
        return server.get("/v2/models/matrix_uint8/stats")[1]["model_stats"][0]["inference_stats"]

    before = count()
    for data in ([1, 2], [1, 2], [300, 2]):
        infer(server, "matrix_uint8", {"inputs": [tensor("UINT8", [1, 2], data)]})
    after = count()
    assert int(after["success"]["count"]) - int(before["success"]["count"]) == 2
    assert int(after["success"]["ns"]) > int(before["success"]["ns"])


def test_model_configuration_names_platform_backend_and_tensors(server):
    config = server.get("/v2/models/pair_int32/config")[1]
    assert (config["name"], config["platform"]) == ("pair_int32", "onnx_onnxv1")
    assert config["backend"]
    assert [i["name"] for i in config["input"]] == ["A", "B"]
    assert config["input"][0]["data_type"] == "TYPE_INT32"
