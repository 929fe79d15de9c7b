"""The handlers that the Python original documents, with their import lines changed alone."""

from __future__ import annotations

from typing import Any, Optional

import pytest

from oip import (
    AissembleOIPFastAPI,
    AissembleOIPKServe,
    DataplaneHandler,
    Datatype,
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    ModelHandler,
    ModelMetadataResponse,
    Parameters,
    ResponseOutput,
    TensorData,
)

from conftest import fp32


class MyHandler(ModelHandler):
    def __init__(self):
        super().__init__()

    def infer(
        self,
        payload: InferenceRequest,
        model_name: str,
        model_version: Optional[str] = None,
    ) -> InferenceResponse:
        return InferenceResponse(
            model_name=model_name, model_version=model_version, id="id", outputs=[]
        )

    def model_metadata(
        self,
        model_name: str,
        model_version: Optional[str] = None,
    ) -> ModelMetadataResponse:
        return ModelMetadataResponse(
            name=model_name,
            versions=[model_version] if model_version else None,
            platform="python",
            inputs=[MetadataTensor(name="input", datatype=Datatype.FP32, shape=[1])],
            outputs=[MetadataTensor(name="output", datatype=Datatype.FP32, shape=[1])],
        )

    def model_load(self, model_name: str) -> bool:
        return True


class Lists(ModelHandler):
    """Works on plain lists, as handlers of the original do."""

    def infer(self, payload, model_name, model_version=None):
        first = payload.inputs[0]
        assert [x for x in first.data] == first.data.root
        assert first.data[0] == first.data.root[0] and len(first.data) == len(first.data.root)
        wanted = None if payload.outputs is None else [output.name for output in payload.outputs]
        response = InferenceResponse(
            model_name=model_name,
            outputs=[
                ResponseOutput(
                    name="y",
                    shape=first.shape,
                    datatype=first.datatype,
                    data=TensorData(first.data.root),
                    parameters={"wanted": str(wanted), "nested": isinstance(first.data[0], list)},
                )
            ],
        )
        response.parameters = {"seen": payload.parameters.content_type} if payload.parameters else None
        return response


def test_the_readme_handler_answers_over_rest(serve: Any) -> None:
    ask = serve(MyHandler())
    status, body = ask.infer("m", fp32("input", [1.0]), id="42")
    assert (status, body) == (200, {"model_name": "m", "model_version": "1", "id": "42", "outputs": []})
    status, body = ask("/v2/models/m/versions/3")
    assert status == 200 and body["versions"] == ["3"] and body["platform"] == "python"
    assert body["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [1]}]
    assert ask("/v2/models/m/ready")[1]["ready"] is True


def test_requests_are_held_to_the_declared_metadata(serve: Any) -> None:
    ask = serve(MyHandler())
    status, body = ask.infer("m", fp32("inptu", [1.0]))
    assert status == 400 and "inptu" in body["error"]
    status, body = ask.infer("m", fp32("input", [1.0, 2.0]))
    assert status == 400 and "[2]" in body["error"]


def test_the_default_handler_is_not_implemented(serve: Any) -> None:
    ask = serve(AissembleOIPFastAPI().server.handler)
    assert ask.infer("m", fp32("x", [1.0]))[0] == 501
    assert ask("/v2/models/m")[0] == 501
    assert ask("/v2/health/live")[0] == 200


def test_nested_data_comes_nested_and_flat_data_flat(serve: Any) -> None:
    ask = serve(Lists())
    status, body = ask.infer("m", fp32("x", [[1, 2], [3, 4]], [2, 2]))
    assert status == 200, body
    assert body["outputs"][0]["data"] == [1.0, 2.0, 3.0, 4.0]
    assert body["outputs"][0]["parameters"]["nested"] is True
    status, body = ask.infer("m", fp32("x", [1, 2, 3, 4], [2, 2]))
    assert body["outputs"][0]["parameters"]["nested"] is False


def test_parameters_and_requested_outputs_reach_the_handler(serve: Any) -> None:
    ask = serve(Lists())
    others = {"parameters": {"content_type": "mine"}, "outputs": [{"name": "y"}]}
    status, body = ask.infer("m", fp32("x", [1]), **others)
    assert status == 200, body
    assert body["parameters"] == {"seen": "mine"}
    assert body["outputs"][0]["parameters"]["wanted"] == "['y']"


def test_text_is_text_in_json(serve: Any) -> None:
    ask = serve(Lists())
    text = {"name": "x", "datatype": "BYTES", "shape": [2], "data": ["a", "é"]}
    assert ask.infer("m", text)[1]["outputs"][0]["data"] == ["a", "é"]


def test_constructors_take_what_the_originals_take() -> None:
    response = InferenceResponse(
        model_name="m", outputs=[{"name": "y", "shape": [1], "datatype": "FP32", "data": [1.0]}]
    )
    assert response.outputs[0].datatype is Datatype.FP32
    assert response.outputs[0].datatype == "FP32" and f"{Datatype.FP32}" == "FP32"
    assert response.outputs[0].data.root == [1.0]
    parameters = Parameters(content_type="numpy", extra=1)
    assert parameters.content_type == "numpy" and parameters.extra == 1
    assert Parameters().content_type is None
    with pytest.raises(AttributeError):
        Parameters().other
    with pytest.raises(ValueError, match="unknown datatype 'FP31'"):
        ResponseOutput(name="y", shape=[1], datatype="FP31", data=[1.0])


def test_the_dataplane_handler_checks_both_ways() -> None:
    request = InferenceRequest(
        inputs=[{"name": "x", "shape": [2], "datatype": "FP32", "data": [1.0]}]
    )
    with pytest.raises(ValueError, match="'x': shape .2. takes 2 elements, but got 1"):
        DataplaneHandler(MyHandler()).infer(request, "m")


def test_the_kserve_name_serves_one_model(serve: Any) -> None:
    service = AissembleOIPKServe("iris", MyHandler())
    assert service.load() and service.ready
    assert service.server._settings["model_name"] == ["iris"]
