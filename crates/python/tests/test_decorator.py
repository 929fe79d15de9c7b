"""Functions as models."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import numpy as np
import pytest

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


def test_a_server_serves_several_functions_by_their_names(serve: Any) -> None:
    ask = serve([double, shout])
    assert ask("/v2/models/double")[1]["inputs"][0]["name"] == "x"
    text = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}
    assert ask.infer("shout", text)[1]["outputs"][0]["data"] == ["A"]
    assert ask.infer("other", text)[0] == 404
