"""The client of the `kserve` package: REST with JSON and binary tensors, gRPC with typed and raw contents."""

import asyncio
import json

import grpc
import httpx
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

import onnx_models

SAMPLES = {
    "BOOL": np.array([[True, False]]),
    **{f"INT{b}": np.array([[-(2 ** (b - 1)), 2 ** (b - 1) - 1]], f"int{b}") for b in (8, 16, 32, 64)},
    **{f"UINT{b}": np.array([[0, 2**b - 1]], f"uint{b}") for b in (8, 16, 32, 64)},
    "FP16": np.array([[1.5, -65504]], np.float16),
    "FP32": np.array([[0.1, -3.4e38]], np.float32),
    "FP64": np.array([[0.1, -1.7e308]], np.float64),
    "BYTES": np.array([["Grüße".encode(), b""]], np.object_),
}


class Rest:
    def __init__(self, server):
        self.base = f"http://{server.rest}"
        self.client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))

    async def infer(self, request, **kwargs):
        return await self.client.infer(self.base, request, model_name=request.model_name, **kwargs)

    async def ask(self, name, *args):
        return await getattr(self.client, name)(self.base, *args)


class Grpc:
    def __init__(self, server):
        self.client = InferenceGRPCClient(server.grpc, retries=0)

    async def infer(self, request, **kwargs):
        return await self.client.infer(request, **kwargs)

    async def ask(self, name, *args):
        return await getattr(self.client, name)(*args)


DOORS = {"rest": Rest, "grpc": Grpc}


def run(kind, server, action):
    """Runs `await action(door)` with a client of its own."""

    async def main():
        door = DOORS[kind](server)
        try:
            return await action(door)
        finally:
            await door.client.close()

    return asyncio.run(main())


def request_of(model, arrays, binary=True, **kwargs):
    inputs = []
    for name, (datatype, array) in arrays.items():
        tensor = InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array, binary_data=binary)
        inputs.append(tensor)
    return InferRequest(model, inputs, **kwargs)


def same(left, right):
    if left.dtype == np.object_:
        left, right = ([v if isinstance(v, bytes) else v.encode() for v in a.ravel()] for a in (left, right))
        return left == right
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


@pytest.mark.parametrize("kind", DOORS)
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "plain"])
@pytest.mark.parametrize("datatype", SAMPLES)
def test_a_datatype_comes_back_unchanged(server, kind, datatype, binary):
    if datatype == "FP16" and not binary:
        pytest.skip("the client has no plain form of FP16")
    array = SAMPLES[datatype]
    parameters = {"binary_data_output": True} if binary and kind == "rest" else None
    request = request_of(f"identity_{datatype.lower()}", {"INPUT0": (datatype, array)}, binary, parameters=parameters)
    response = run(kind, server, lambda door: door.infer(request))
    output = response.outputs[0]
    assert (output.name, output.datatype, list(output.shape)) == ("OUTPUT0", datatype, list(array.shape))
    assert same(output.as_numpy(), array)


@pytest.mark.parametrize("kind", DOORS)
def test_the_id_and_the_version_come_back(server, kind):
    request = request_of("versions", {"IN": ("FP32", np.array([0.5], np.float32))}, request_id="abc")
    response = run(kind, server, lambda door: door.infer(request))
    assert (response.id, response.model_name) == ("abc", "versions")
    if kind == "grpc":  # the REST client drops the version that it was told
        assert response.model_version == "10"
    assert response.outputs[0].as_numpy()[0] == 10.5


def test_a_dictionary_is_sent_as_json(server):
    document = {"inputs": [{"name": "IN", "datatype": "FP32", "shape": [2], "data": [1, 2]}]}

    async def action(door):
        return await door.client.infer(door.base, document, model_name="vector_fp32")

    assert list(run("rest", server, action).outputs[0].as_numpy()) == [1, 2]


@pytest.mark.parametrize("binary", [True, False])
def test_requested_outputs_select_and_choose_their_form(server, binary):
    values = np.array([[5] * 16], np.int32)
    request = request_of(
        "add_sub", {"INPUT0": ("INT32", values), "INPUT1": ("INT32", values)},
        request_outputs=[RequestedOutput("OUTPUT1", {"binary_data": binary})],
    )
    response = run("rest", server, lambda door: door.infer(request))
    assert [o.name for o in response.outputs] == ["OUTPUT1"]
    assert same(response.outputs[0].as_numpy(), values - values)


@pytest.mark.parametrize("kind", DOORS)
def test_health_and_readiness_are_told(server, start, repository, kind):
    onnx_models.put(repository, "m", onnx_models.add(1))
    fresh = start(repository)
    assert run(kind, fresh, lambda door: door.ask("is_server_ready")) is True
    assert run(kind, fresh, lambda door: door.ask("is_server_live")) is True
    assert run(kind, fresh, lambda door: door.ask("is_model_ready", "m")) is True
    assert run(kind, fresh, lambda door: door.ask("is_model_ready", "nope")) is False


def test_the_sentence_of_a_rest_error_reaches_the_caller(server):
    request = request_of("add_sub", {"INPUT0": ("INT32", np.zeros((1, 16), np.int32))})
    with pytest.raises(httpx.HTTPStatusError, match="INPUT1.*400") as caught:
        run("rest", server, lambda door: door.infer(request))
    assert caught.value.response.status_code == 400


@pytest.mark.parametrize(
    "model, status, code",
    [("nope", 404, grpc.StatusCode.NOT_FOUND), ("add_sub", 400, grpc.StatusCode.INVALID_ARGUMENT)],
)
def test_an_error_has_its_code_on_both_doors(server, model, status, code):
    request = request_of(model, {"X": ("INT32", np.zeros((1, 16), np.int32))})
    with pytest.raises(httpx.HTTPStatusError) as rest:
        run("rest", server, lambda door: door.infer(request))
    with pytest.raises(grpc.RpcError) as remote:
        run("grpc", server, lambda door: door.infer(request))
    assert (rest.value.response.status_code, remote.value.code()) == (status, code)


def test_a_timeout_is_deadline_exceeded(server):
    request = request_of("busy", {"x": ("FP32", np.zeros((1024, 1024), np.float32))})
    with pytest.raises(grpc.RpcError) as caught:
        run("grpc", server, lambda door: door.infer(request, timeout=0.05))
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("folder", ["iris", "digits", "recommender"])
@pytest.mark.parametrize("kind", DOORS)
def test_an_example_model_gives_the_answer_beside_it(server, examples, folder, kind):
    model = next(p for p in examples if p.name == folder)
    sent = json.loads((model / "sample-request.json").read_text())
    expected = json.loads((model / "sample-response.json").read_text())
    kinds = {"FP32": np.float32, "INT64": np.int64}
    arrays = {
        i["name"]: (i["datatype"], np.array(i["data"], kinds[i["datatype"]]).reshape(i["shape"])) for i in sent["inputs"]
    }
    response = run(kind, server, lambda door: door.infer(request_of(folder, arrays)))
    for output in expected["outputs"]:
        answered = response.get_output_by_name(output["name"]).as_numpy()
        assert list(answered.shape) == output["shape"]
        assert np.allclose(answered.ravel(), np.array(output["data"]).ravel(), rtol=1e-4, atol=1e-5)
