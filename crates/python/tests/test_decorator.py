"""Functions as models."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import numpy as np
import pytest
from numpy.typing import NDArray

import oip
from oip import InferenceRequest, model
from oip.decorator import Spec
from oip.testing import client


@model("double", inputs=[("x", "FP32", [-1])], outputs=[("y", "FP32", [-1])])
def double(x):
    return x * 2


@model("annotated")
def annotated(
    x: Annotated[np.ndarray, Spec("FP32", [-1, 2])], scale: float = 1.0
) -> Annotated[np.ndarray, Spec("FP32", [-1, 2], "scaled")]:
    return x * np.float32(scale)


@model("shout")
async def shout(text: list[str]) -> list[str]:
    await asyncio.sleep(0)
    return [one.upper() for one in text]


@model("whole")
def whole(request: InferenceRequest):
    return {"id": [request.id or ""]}


def test_the_function_stays_a_function() -> None:
    assert double(21) == 42
    assert repr(double).startswith("<model 'double': inputs [MetadataTensor(name='x'")


def test_inputs_come_by_name_and_outputs_are_declared() -> None:
    with client(double) as asked:
        answer = asked.infer("double", {"x": np.array([1, 2], np.float32)})
        assert answer.output("y").numpy().tolist() == [2.0, 4.0]
        assert asked.metadata("double").inputs[0].shape == [-1]
        with pytest.raises(oip.errors.InvalidRequest, match="'z'"):
            asked.infer("double", {"z": np.array([1], np.float32)})


def test_annotations_declare_and_defaults_are_optional() -> None:
    with client(annotated) as asked:
        one = {"x": np.ones((1, 2), np.float32)}
        assert asked.metadata("annotated").outputs[0].name == "scaled"
        with pytest.raises(oip.errors.InvalidRequest, match="shape"):
            asked.infer("annotated", {"x": np.ones(2, np.float32)})
        assert asked.infer("annotated", one | {"scale": [3.0]}).outputs[0].numpy().tolist() == [[3, 3]]


def test_text_in_text_out_on_the_loop() -> None:
    with client(shout) as asked:
        assert asked.infer("shout", {"text": ["a", "é"]}).output("output").strings() == ["A", "É"]


def test_the_whole_request_can_be_asked_for() -> None:
    with client(whole) as asked:
        assert asked.infer("whole", {"x": [1]}, id="7").output("id").strings() == ["7"]


@model("typed")
def typed(x: NDArray[np.float32]) -> Annotated[NDArray[np.int64], Spec(shape=[-1, 1], name="n")]:
    return x.astype(np.int64).reshape(-1, 1)


def test_the_type_of_an_array_is_its_datatype() -> None:
    assert typed.inputs == [oip.MetadataTensor("x", "FP32", [-1])]
    assert typed.outputs == [oip.MetadataTensor("n", "INT64", [-1, 1])]
    with client(typed) as asked:
        assert asked.infer("typed", {"x": np.ones(2, np.float32)}).output("n").shape == [2, 1]
        with pytest.raises(oip.errors.InvalidRequest, match="FP64"):
            asked.infer("typed", {"x": np.ones(2)})


def test_an_array_without_a_datatype_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="'x' is annotated as an array without a datatype"):

        @model("vague", outputs=[("y", "FP32", [-1])])
        def vague(x: np.ndarray):
            return x


def test_further_inputs_come_by_name_where_there_is_room_for_them() -> None:
    @model("all")
    def everything(x, **others):
        return {"names": sorted(others), "sum": x + sum(others.values())}

    with client(everything) as asked:
        answer = asked.infer("all", {"x": np.ones(1), "b": np.ones(1), "a": np.ones(1)})
        assert answer.output("names").strings() == ["a", "b"]
        assert answer.output("sum").numpy().tolist() == [3.0]
    with pytest.raises(TypeError, match="handed over by name"):
        model("args")(lambda *x: x)


def test_a_content_type_says_what_an_input_without_annotation_is() -> None:
    @model("seen")
    def seen(x):
        return {"kind": [type(x).__name__]}

    text = oip.RequestInput("x", [1], "BYTES", {"content_type": "str"}, ["a"])
    with client(seen) as asked:
        assert asked.infer("seen", oip.InferenceRequest([text])).output("kind").strings() == ["list"]
        assert asked.infer("seen", {"x": ["a"]}).output("kind").strings() == ["ndarray"]


def test_a_data_frame_goes_in_and_out() -> None:
    pd = pytest.importorskip("pandas")

    def add(frame):
        return frame.assign(c=frame["a"] + frame["b"])[["c"]]

    add.__annotations__ = {"frame": pd.DataFrame, "return": pd.DataFrame}
    with client(model("add")(add)) as asked:
        assert asked.infer("add", {"a": [1, 2], "b": [3, 4]}).output("c").numpy().tolist() == [4, 6]


def test_a_client_loads_the_models_that_it_is_told_to() -> None:
    class Loads(oip.ModelHandler):
        def model_load(self, model_name):
            if model_name == "broken":
                return False
            self.factor = 2

        def infer(self, payload, model_name, model_version=None):
            return {"y": payload.inputs[0].numpy() * self.factor}

    with oip.testing.client(Loads(), model_name="m") as asked:
        assert asked.infer("m", {"x": np.ones(1)}).output("y").numpy().tolist() == [2.0]
    with pytest.raises(oip.errors.InvalidRequest, match="could not load model 'broken'"):
        client(Loads(), model_name=["m", "broken"])
    with client(Works(), model_name="m") as asked:
        assert asked.infer("m", {"x": np.ones(1)}).output("y").numpy().tolist() == [1.0]


class Works(oip.ModelHandler):
    """Loads nothing."""

    def infer(self, payload, model_name, model_version=None):
        return {"y": payload.inputs[0].numpy()}


def test_a_server_serves_several_functions_by_their_names(serve: Any) -> None:
    ask = serve([double, shout])
    assert ask("/v2/models/double")[1]["inputs"][0]["name"] == "x"
    text = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}
    assert ask.infer("shout", text)[1]["outputs"][0]["data"] == ["A"]
    assert ask.infer("other", text)[0] == 404
