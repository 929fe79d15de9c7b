"""Functions as models."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Optional

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


@model("names")
def names(
    x: NDArray[np.float32], k: int = 5, label: str | None = None
) -> Annotated[NDArray[np.float32], Spec(shape=[-1], name="y")]:
    return x * np.float32(k) if label is None else x


def test_an_input_with_a_default_may_be_left_out_though_it_is_declared() -> None:
    one = {"x": np.ones(1, np.float32)}
    with client(names) as asked:
        assert [tensor.name for tensor in asked.metadata("names").inputs] == ["x", "k", "label"]
        assert asked.infer("names", one).output("y").numpy().tolist() == [5.0]
        three = {"k": np.array([3], np.int64)}
        assert asked.infer("names", one | three).output("y").numpy().tolist() == [3.0]
        assert asked.infer("names", one | three | {"label": ["a"]}).output("y").numpy().tolist() == [1.0]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, r"input 'x' \(FP32 \[-1\]\) is missing"),
        ({"x": np.ones(1)}, "input 'x': the model declares FP32, but got FP64"),
        ({"x": np.ones((1, 1), np.float32)}, "the model declares shape .-1., but got .1, 1."),
        ({"x": np.ones(1, np.float32), "k": np.ones(2, np.int64)}, "input 'k': the model declares shape"),
        ({"x": np.ones(1, np.float32), "z": ["a"]}, "'z' is not one of the model; it declares 'x', 'k', 'label'"),
    ],
)
def test_a_model_with_inputs_that_may_be_left_out_is_checked_all_the_same(
    inputs: dict[str, Any], message: str
) -> None:
    with client(names) as asked, pytest.raises(oip.errors.InvalidRequest, match=message):
        asked.infer("names", inputs or {"k": np.ones(1, np.int64)})


def test_its_answers_and_the_outputs_that_are_asked_for_are_checked_too() -> None:
    @model("wrong")
    def wrong(x: list[float], k: int = 1) -> NDArray[np.float32]:
        return np.ones((k, 1), np.float32)

    with client(wrong) as asked:
        with pytest.raises(oip.errors.HandlerFailed, match="declares shape .-1., but got .1, 1."):
            asked.infer("wrong", {"x": [1.0]})
        with pytest.raises(oip.errors.InvalidRequest, match="output 'z' is not one of the model"):
            asked.infer("wrong", {"x": [1.0]}, outputs=["z"])


def test_what_may_be_none_comes_as_what_it_is() -> None:
    @model("kinds")
    def kinds(x: list[str] | None = None, y: Annotated[Optional[int], "a note"] = None):
        return {"kinds": [type(x).__name__, type(y).__name__]}

    with client(kinds) as asked:
        for inputs, seen in (
            ({"x": ["a"]}, ["list", "NoneType"]),
            ({"y": [1]}, ["NoneType", "int"]),
        ):
            assert asked.infer("kinds", inputs).output("kinds").strings() == seen


def test_a_function_may_return_a_whole_response() -> None:
    @model("whole")
    def answer(x):
        outputs = [oip.ResponseOutput("y", data=x * 2)]
        return oip.InferenceResponse(outputs=outputs, parameters={"n": np.int64(3)})

    with client(answer) as asked:
        got = asked.infer("whole", {"x": np.ones(1)})
    assert got.output("y").numpy().tolist() == [2.0]
    assert got.parameters is not None and got.parameters["n"] == 3


def test_a_parameter_that_is_none_of_the_declared_inputs_is_told_at_once() -> None:
    with pytest.raises(TypeError, match="'x' is none of the declared inputs .'a'."):

        @model("z", inputs=[("a", "FP32", [-1])])
        def other(x):
            return x

    @model("fine", inputs=[("a", "FP32", [-1])])
    def fine(a, request: InferenceRequest, who: oip.Context, extra=1):
        return a


def test_annotations_that_are_not_there_when_the_program_runs_are_told_in_a_sentence() -> None:
    def late(x):
        return x

    late.__annotations__ = {"x": "nowhere.ndarray"}
    with pytest.raises(TypeError, match="model 'late': .*'nowhere' is not defined: .*TYPE_CHECKING"):
        model("late")(late)


def test_a_client_knows_the_models_that_the_server_would() -> None:
    with client(double) as asked, pytest.raises(oip.errors.NotFound, match="model 'other' is not found"):
        asked.infer("other", {"x": np.ones(1, np.float32)})
    with client(Works(), model_name="m") as asked, pytest.raises(oip.errors.NotFound):
        asked.metadata("other")


def test_each_of_several_models_says_itself_whether_it_is_held_to_what_it_declares(serve: Any) -> None:
    class Loose(oip.ModelHandler):
        model_names = ["loose"]
        checks_metadata = False

        def model_metadata(self, model_name, model_version=None):
            return double.model_metadata(model_name)

        def infer(self, payload, model_name, model_version=None):
            return {"z": [1.0]}

    ask = serve([double, Loose()])
    assert ask.infer("loose", {"name": "a", "datatype": "FP64", "shape": [1], "data": [1]})[0] == 200
    assert ask.infer("double", {"name": "a", "datatype": "FP64", "shape": [1], "data": [1]})[0] == 400


def test_an_input_with_a_default_makes_no_output_due_that_nobody_asked_for() -> None:
    @model(
        "half",
        inputs=[("x", "FP32", [-1])],
        outputs=[("y", "FP32", [-1]), ("z", "FP32", [-1])],
    )
    def half(x: Any = None) -> dict[str, Any]:
        return {"y": x}

    with client(half) as asked:
        answer = asked.infer("half", {"x": np.float32([1])})
        assert [output.name for output in answer.outputs] == ["y"]
