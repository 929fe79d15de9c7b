"""What else the Python original has: its services, adapters, codecs, and the ways its handlers are
written."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oip
from oip import (
    AissembleOIPFastAPI,
    AissembleOIPgRPC,
    AuthzforceAdapter,
    DataplaneHandler,
    DefaultAdapter,
    ModelHandler,
    InferenceRequest,
    RequestInput,
    ResponseOutput,
    TensorData,
    codecs,
    types,
)
from oip.testing import client

import settings_text
from conftest import fp32

KSERVE = """
from oip import AissembleOIPKServe, ModelHandler

class MyHandler(ModelHandler):
    def model_load(self, model_name):
        return True

    def infer(self, payload, model_name, model_version=None):
        return {"y": [5]}

if __name__ == "__main__":
    oip_kserve = AissembleOIPKServe(name="model-name", model_handler=MyHandler())
    oip_kserve.load()
    oip_kserve.start_server()
    print("ended", flush=True)
"""
BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}'


def test_the_kserve_readme_serves_without_a_loop(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(KSERVE)
    environment = {"KSERVE_HTTP_PORT": "0", "KSERVE_GRPC_PORT": "0", "AUTH_ENABLED": "false"}
    process = subprocess.Popen(
        [sys.executable, "main.py"], cwd=tmp_path, env={**os.environ, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"REST (http://\S+?),? ", line):
                break
        else:
            pytest.fail("the server ended")
        url = f"{found[1]}/v2/models/model-name/infer"
        for _ in range(100):
            try:
                with urllib.request.urlopen(url, BODY, timeout=10) as answer:
                    assert b'"data":[5]' in answer.read()
                break
            except OSError:
                pass
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=20)
        assert process.returncode == 0 and "ended" in rest
    finally:
        process.kill()


class Both(DataplaneHandler, ModelHandler):
    def infer(self, payload, model_name, model_version=None):
        return {"y": [1]}


class Dataplane(DataplaneHandler):
    def __init__(self) -> None:
        pass

    def infer(self, payload, model_name, model_version=None):
        return {"y": [1]}


class Duck:
    def infer(self, payload, model_name, model_version=None):
        return {"y": [1]}


@pytest.mark.parametrize("kind", [Both, Dataplane, Duck])
def test_whatever_can_infer_is_served(serve: Any, kind: Any) -> None:
    ask = serve(kind())
    assert ask.infer("m", fp32("x", [1]))[0] == 200
    assert ask("/v2/models/m/ready")[0] == 200
    assert ask("/v2/models/m") [0] == 501
    assert ask("/v2/repository/models/m/load", {})[0] == 501


def test_an_object_without_unload_has_nothing_to_let_go_of(serve: Any) -> None:
    assert serve(Duck())("/v2/repository/models/m/unload", {})[0] == 200
    assert serve(Both())("/v2/repository/models/m/unload", {})[0] == 501


def test_the_originals_adapters_are_settings() -> None:
    assert AissembleOIPFastAPI(Duck(), AuthzforceAdapter()).server._settings == {"pdp": ["xacml"]}
    assert AissembleOIPFastAPI(Duck(), DefaultAdapter()).server._settings == {}

    class Mine(DefaultAdapter):
        pass

    with pytest.raises(TypeError, match="adapter of your own"):
        AissembleOIPFastAPI(Duck(), Mine())


def test_a_service_stops_when_it_is_told_to() -> None:
    async def run() -> None:
        service = AissembleOIPgRPC(Duck(), rest_port=0, grpc_port=0, auth_enabled=False)
        assert service.create_server() is service.server
        serving = asyncio.create_task(service.start_server())
        while service.server.rest_address is None:
            await asyncio.sleep(0.01)
        await asyncio.wait_for(service.stop(), 10)
        await asyncio.wait_for(serving, 10)
        assert service.server.rest_address is None

    asyncio.run(run())


def test_a_service_shows_its_settings_by_the_originals_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTAPI_PORT", "9000")
    monkeypatch.setenv("AUTH_SECRET", "0123456789abcdef0123456789abcdef")
    config = AissembleOIPFastAPI(Duck(), grpc_port=7).config
    assert (config.fastapi_port, config.rest_port, config.grpc_port) == (9000, 9000, 7)
    assert config.auth_enabled is True and config.auth_secret == "***"
    with pytest.raises(AttributeError, match="'nothing' is not a setting"):
        config.nothing


def test_every_setting_is_typed_and_nothing_else() -> None:
    written = Path(oip.__file__).with_name("_settings.py").read_text()
    assert written == settings_text.text(), "run tests/settings_text.py"


def test_codecs_shape_vectors_as_the_original_does() -> None:
    numbers = codecs.NumpyArrayCodec.encode_output("y", np.array([1.0, 2.0, 3.0]))
    assert (numbers.shape, numbers.datatype) == ([1, 3], "FP64")
    text = codecs.StringCodec.encode_output("y", ["a", "b"])
    assert (text.shape, text.datatype) == ([2, 1], "BYTES")
    numbers.validate_oip()
    text.validate_oip()


def test_whole_requests_have_codecs() -> None:
    array = np.array([[1, 2]], np.int32)
    request = codecs.NumpyArrayRequestCodec.encode_request(array)
    assert (request.inputs[0].name, request.parameters.content_type) == ("input-0", "numpy")
    assert codecs.decode_inference_request(request).tolist() == [[1, 2]]
    response = codecs.StringRequestCodec.encode_response("m", ["a", "é"])
    assert codecs.StringRequestCodec.decode_response(response) == ["a", "é"]
    assert codecs.find_request_codec("str") is codecs.StringRequestCodec
    assert codecs.find_input_codec(payload=array) is codecs.NumpyArrayCodec

    @codecs.register_request_codec
    class Sum(codecs.RequestCodec):
        ContentType = "sum"

        @classmethod
        def decode_request(cls, request):
            return sum(float(tensor.numpy().sum()) for tensor in request.inputs)

    request.parameters = {"content_type": "sum"}
    request.parameters = oip.Parameters(content_type="sum")
    assert codecs.decode_inference_request(request) == 3.0
    with pytest.raises(ValueError, match="one output is due"):
        codecs.StringRequestCodec.decode_response(oip.InferenceResponse())


def test_what_has_no_content_type_is_its_data() -> None:
    tensor = ResponseOutput("y", [1], "FP32", None, [1.0])
    assert codecs.get_decoded_or_raw(tensor) is tensor.data


def test_what_a_caller_calls_a_parameter_breaks_no_handler() -> None:
    names = ["get", "model_dump", "_entries", "self", "__deepcopy__", "__reduce__", "tenant"]
    seen = []

    class Reads(ModelHandler):
        def infer(self, payload, model_name, model_version=None):
            given = pickle.loads(pickle.dumps(copy.deepcopy(payload.parameters)))
            assert given == payload.parameters and given.model_dump()["content_type"] is None
            seen.append([given.get(name) for name in names])
            return {"y": [given.tenant, given["get"]]}

    with client(Reads()) as asked:
        sent = {name: number for number, name in enumerate(names)}
        answer = asked.infer("m", {"x": np.ones(1)}, parameters=sent)
    assert answer.outputs[0].data.root == [6, 0] and seen == [list(range(7))]


def test_parameters_are_attributes_and_entries() -> None:
    given = oip.Parameters(content_type="np", rows=2)
    given.late = True
    given["content_type"] = "str"
    assert (given.content_type, given.rows, given["late"], len(given)) == ("str", 2, True, 3)
    del given.late, given["rows"], given.content_type
    assert given.content_type is None and "late" not in given and "rows" not in dir(given)
    with pytest.raises(AttributeError, match="no parameter 'rows'"):
        given.rows
    assert oip.Parameters(get=1, **{"self": 2}) == oip.Parameters(**{"get": 1, "self": 2})


def test_data_can_be_set_and_checked(serve: Any) -> None:
    class Sets(ModelHandler):
        def infer(self, payload, model_name, model_version=None):
            x = payload.inputs[0]
            x.data.root = [value + 1 for value in x.data.root]
            assert x.numpy().tolist() == x.data.root and len(x.data) == 2
            x.data.validate_oip([2], "FP32")
            return [ResponseOutput("y", x.shape, x.datatype, None, x.data)]

    answer = serve(Sets()).infer("m", fp32("x", [1, 2]))
    assert answer[1]["outputs"][0]["data"] == [2, 3]
    data = TensorData([[1, 2], [3, 4]])
    data.validate_oip([2, 2], "INT8")
    with pytest.raises(ValueError, match="nested lists do not fit"):
        data.validate_oip([2, 3], "INT8")
    with pytest.raises(TypeError):
        data.validate_oip([2, 2], "BYTES")


def test_messages_are_copied_and_read_as_pydantics() -> None:
    tensor = RequestInput("x", [2], "FP32", {"scale": 2}, [1.0, 2.0])
    request = InferenceRequest([tensor], id="a")
    other = request.model_copy(update={"id": "b"})
    assert (request.id, other.id) == ("a", "b") and other.inputs is request.inputs
    deep = request.model_copy(deep=True)
    assert deep == request and deep.inputs[0] is not tensor
    assert InferenceRequest.model_validate_json(request.model_dump_json(indent=2)) == request
    dumped = request.model_dump(mode="json", exclude_none=True)
    assert dumped["inputs"][0]["datatype"] == "FP32" and type(dumped["inputs"][0]["datatype"]) is str
    unknown: Any = {"unknown": 1}
    made = ResponseOutput("y", [1], "FP32", data=[1.0], **unknown)
    assert made.model_dump() == {**made.model_dump(), "name": "y"} and not hasattr(made, "unknown")
    read = types.ModelMetadataResponse.model_validate({"name": "m", "unknown": 1})
    assert read.name == "m"


def test_the_checks_of_the_original_are_functions() -> None:
    assert types.flatten([[1, [2]], 3]) == [1, 2, 3] and types.flatten(4) == [4]
    assert types.get_actual_shape(TensorData([[1, 2, 3]])) == [1, 3]
    types.validate_shape([2, 2], [[1, 2], [3, 4]])
    types.validate_shape([4], [[1, 2], [3, 4]][0] + [3, 4])
    types.validate_shape([-1, 2], [[1, 2]])
    for shape, data in (
        ([3], [1, 2]), ([2, 2], [[1, 2, 3], [4]]), ([-1, 3], [[1, 2]]), ([4, 1], [[1, 2], [3, 4]]),
    ):
        with pytest.raises(ValueError):
            types.validate_shape(shape, data)
    types.validate_datatype("BOOL", [True])
    with pytest.raises(TypeError, match="index 1"):
        types.validate_datatype("INT32", [1, "a"])


def test_codecs_of_ones_own_are_registered_as_with_the_original() -> None:
    class Upper(codecs.StringCodec):
        ContentType = "upper"

    codecs.codec_registry.register_input_codec("upper", Upper)
    assert codecs.find_input_codec("upper") is Upper
    assert codecs.codec_registry.input_codecs["np"] is codecs.NumpyArrayCodec
    own = codecs.CodecRegistry({"upper": Upper})
    assert own.find_input_codec(payload=["a"]) is Upper and own.find_request_codec("np") is None
