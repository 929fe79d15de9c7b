"""What a handler may return, and what is refused."""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any

import numpy as np
import pytest

import oip
from oip import RequestInput, Datatype, InferenceResponse, ModelHandler, ResponseOutput
from oip.testing import client


class Returns(ModelHandler):
    """Returns what it was made with."""

    def __init__(self, result: Any) -> None:
        self.result = result

    def infer(self, payload, model_name, model_version=None):
        return self.result(payload) if callable(self.result) else self.result


def returned(result: Any, request: Any = None) -> InferenceResponse:
    with client(Returns(result)) as asked:
        return asked.infer("m", {"x": np.zeros(1, np.float32)} if request is None else request)


def output(datatype: str, data: Any, shape: list[int] | None = None) -> InferenceResponse:
    return InferenceResponse(outputs=[ResponseOutput("y", shape or [len(data)], datatype, data=data)])


DTYPES = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32,
    "UINT64": np.uint64, "INT8": np.int8, "INT16": np.int16, "INT32": np.int32,
    "INT64": np.int64, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
}


@pytest.mark.parametrize("datatype", DTYPES)
def test_arrays_come_back_with_dtype_and_shape(datatype: str) -> None:
    array = np.array([[0, 1, 1], [1, 0, 0]], dtype=DTYPES[datatype])
    answer = returned(lambda payload: {"y": payload.inputs[0].numpy()}, {"x": array})
    assert answer.output("y").datatype == datatype
    assert answer.output("y").numpy().dtype == array.dtype
    assert np.array_equal(answer.output("y").numpy(), array)


@pytest.mark.parametrize("datatype", DTYPES)
def test_lists_are_read_as_the_declared_datatype(datatype: str) -> None:
    answer = returned(output(datatype, [0, 1] if datatype != "BOOL" else [False, True]))
    assert answer.outputs[0].data.root == [0, 1]
    assert answer.outputs[0].numpy().dtype == DTYPES[datatype]


def test_arrays_that_lie_otherwise_in_memory_are_copied_right() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    for given in (array.T, array[:, ::2], array[::-1], np.asfortranarray(array), array.astype(">f4")):
        answer = returned({"y": given})
        assert np.array_equal(answer.output("y").numpy(), given)


def test_a_large_array_is_sent_as_it_lies_and_let_go_of_afterwards() -> None:
    array = np.ones(1_000_000, dtype=np.float32)
    gone = weakref.ref(array)
    answer = returned({"y": array})
    view = answer.output("y").numpy()
    assert np.shares_memory(view, array)
    assert not view.flags.writeable
    del array, view, answer
    for _ in range(100):
        gc.collect()
        if gone() is None:
            break
    # The pool that lets go of it ended with the client, so it goes at once.
    assert gone() is None


def test_an_input_is_a_read_only_view_without_a_copy() -> None:
    given = np.ones(100_000, dtype=np.float32)
    seen = []

    def look(payload: Any) -> Any:
        view = payload.inputs[0].numpy()
        seen.append(np.shares_memory(view, given))
        with pytest.raises(ValueError):
            view[0] = 2
        return {"y": [1]}

    returned(look, {"x": given})
    assert seen == [True]


@pytest.mark.parametrize("binary", [False, True])
def test_over_the_network_an_input_is_a_view_of_the_buffer_it_was_read_into(
    serve: Any, binary: bool
) -> None:
    seen = []

    class Looks(ModelHandler):
        def infer(self, payload, model_name, model_version=None):
            one, two = payload.inputs[0].numpy(), payload.inputs[0].numpy()
            seen.append((np.shares_memory(one, two), one.flags.owndata, one.flags.writeable))
            return {"y": [float(one.sum())]}

    ask = serve(Looks())
    array = np.ones(50_000, np.float32)
    if binary:
        head = {"name": "x", "datatype": "FP32", "shape": [50_000], "parameters": {"binary_data_size": 200_000}}
        text = json.dumps({"inputs": [head]}).encode()
        headers = {"Inference-Header-Content-Length": str(len(text))}
        status, body = ask("/v2/models/m/infer", text + array.tobytes(), headers)
    else:
        tensor = {"name": "x", "datatype": "FP32", "shape": [50_000], "data": array.tolist()}
        status, body = ask.infer("m", tensor)
    assert status == 200 and body["outputs"][0]["data"] == [50_000.0]
    assert seen == [(True, False, False)]


def test_floats_are_rounded_to_the_declared_datatype_and_no_further() -> None:
    assert returned(output("FP32", np.array([0.1, 2.0]))).outputs[0].numpy().dtype == np.float32
    with pytest.raises(oip.errors.HandlerFailed, match="values beyond FP32"):
        returned(output("FP32", np.array([1e300])))


@pytest.mark.parametrize(
    ("datatype", "data", "shape", "message"),
    [
        ("UINT8", [300], None, "element at index 0 is 300, which is beyond UINT8"),
        ("UINT8", np.array([300]), None, "values beyond UINT8"),
        ("INT32", [1, 1.5], None, "element at index 1 is 1.5 .float., but INT32 is declared"),
        ("INT32", np.array([1.5]), None, "array of float64, but INT32 is declared"),
        ("FP32", ["a"], None, "element at index 0 is 'a' .str., but FP32 is declared"),
        ("FP32", [1e39], None, "beyond FP32"),
        ("BYTES", [1], None, "element at index 0 is 1 .int., but BYTES is declared"),
        ("FP32", [1.0], [2], "shape .2. takes 2 elements, but got 1"),
        ("FP32", [[1.0, 2.0], [3.0]], [2, 2], "a list of 1 at depth 1, 2 are due"),
        ("FP32", [[1.0, 2.0]], [2, 1], "a list of 1 at depth 0, 2 are due"),
        ("FP32", np.zeros(3, np.float32), [2], "12 bytes"),
        ("FP32", None, [1], "data is a NoneType"),
    ],
)
def test_a_wrong_output_is_the_handlers_fault(
    datatype: str, data: Any, shape: list[int] | None, message: str
) -> None:
    with pytest.raises(oip.errors.HandlerFailed, match=message) as raised:
        returned(output(datatype, data, shape))
    assert "output 'y'" in str(raised.value)


def test_bf16_is_a_view_of_ml_dtypes() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.array([1.5, -2.0], dtype=ml_dtypes.bfloat16)
    answer = returned(lambda payload: {"y": payload.inputs[0].numpy()}, {"x": array})
    assert answer.output("y").datatype is Datatype.BF16
    assert answer.output("y").numpy().dtype == ml_dtypes.bfloat16
    assert answer.output("y").data.root == [1.5, -2.0]


def test_text_and_bytes_are_bytes_on_the_wire() -> None:
    answer = returned({"y": ["a", "é"], "z": [b"\xff", b""], "w": np.array(["x"], dtype=object)})
    assert answer.output("y").strings() == ["a", "é"]
    assert answer.output("z").numpy().tolist() == [b"\xff", b""]
    assert answer.output("w").data.root == [b"x"]


def test_anything_with_dlpack_or_the_buffer_protocol_is_taken() -> None:
    class Foreign:
        def __init__(self, array: np.ndarray) -> None:
            self.array = array

        def __dlpack__(self, **kwargs: Any) -> Any:
            return self.array.__dlpack__(**kwargs)

        def __dlpack_device__(self) -> Any:
            return self.array.__dlpack_device__()

    answer = returned({"y": Foreign(np.array([1.0, 2.0])), "z": memoryview(np.array([1, 2]))})
    assert answer.output("y").numpy().tolist() == [1.0, 2.0]
    large = np.ones(100_000)
    assert np.shares_memory(returned({"y": Foreign(large)}).output("y").numpy(), large)
    assert answer.output("z").datatype is Datatype.INT64


def test_lists_that_were_looked_at_and_changed_are_sent_as_changed() -> None:
    def change(payload: Any) -> Any:
        data = payload.inputs[0].data
        data.root[0] = 7.0
        return InferenceResponse(outputs=[ResponseOutput("y", [1], "FP32", data=data)])

    assert returned(change).outputs[0].data.root == [7.0]


def test_an_answer_that_is_none_is_a_failure_and_says_what_is_due() -> None:
    with pytest.raises(oip.errors.HandlerFailed, match="infer returned NoneType"):
        returned(lambda payload: None)


def test_numpy_takes_tensor_data_as_it_would_take_the_lists() -> None:
    def look(payload: Any) -> Any:
        data = payload.inputs[0].data
        assert np.array(data).tolist() == data.root
        assert np.asarray(data, dtype=np.int64).dtype == np.int64
        return {"y": np.array(data)}

    assert returned(look, {"x": np.array([1.0, 2.0], np.float32)}).outputs[0].data.root == [1.0, 2.0]


def test_messages_are_readable() -> None:
    tensor = ResponseOutput("y", data=np.arange(100, dtype=np.int32))
    assert repr(tensor).startswith("ResponseOutput(name='y', shape=[100], datatype=INT32, data=")
    seen: list[str] = []
    returned(lambda payload: seen.append(repr(payload)) or {"y": [1]}, {"x": np.arange(9)})
    assert seen == [
        "InferenceRequest(inputs=[RequestInput(name='x', shape=[9], datatype=INT64, "
        "data=TensorData([0, 1, 2, 3, 4, 5, ...], 9 elements))])"
    ]
    assert tensor.model_dump()["shape"] == [100]


def test_what_is_long_is_cut_short_and_stands_in_one_line() -> None:
    text = RequestInput("x", [2], "BYTES", {"note": "z" * 9000}, [b"a" * 1_000_000, "b" * 1_000_000])
    rows = RequestInput("x", [1000, 100], "FP32", data=np.zeros((1000, 100), np.float32))
    nested = RequestInput("x", [20, 20], "FP32", data=[[1.0] * 20] * 20)
    for shown in (repr(text), repr(rows), repr(nested)):
        assert len(shown) < 600 and "\n" not in shown, shown
    assert "of 1000000" in repr(text) and "20 elements" in repr(nested)
    many = oip.InferenceRequest([text, rows] * 500)
    assert len(repr(many)) < 3000 and repr(many).endswith("...], 1000 elements)")


def test_numbers_and_rows_of_numpy_in_lists_need_no_declaration() -> None:
    for given, datatype, shape in (
        ([np.float32(1), np.float32(2)], "FP32", [2]),
        ([[np.int8(1)], [np.int8(2)]], "INT8", [2, 1]),
        ([np.bool_(True)], "BOOL", [1]),
        ([np.array([1, 2]), np.array([3, 4])], "INT64", [2, 2]),
        ([np.str_("a")], "BYTES", [1]),
    ):
        output = returned(lambda payload, given=given: {"y": given}).outputs[0]
        assert (output.datatype, output.shape) == (datatype, shape)


@pytest.mark.parametrize(
    ("given", "read"), [(np.int64(3), 3), (np.float32(0.5), 0.5), (np.bool_(True), True), (np.array(7), 7)]
)
def test_scalars_of_numpy_are_parameters(given: Any, read: Any) -> None:
    response = output("FP32", [1.0])
    response.parameters = {"n": given}
    answered = returned(response).parameters
    assert answered is not None and answered["n"] == read and type(answered["n"]) is type(read)


@pytest.mark.parametrize("given", [np.ones(1), np.longdouble(1), [1]])
def test_what_is_no_parameter_is_refused_by_its_name(given: Any) -> None:
    response = output("FP32", [1.0])
    response.parameters = {"n": given}
    with pytest.raises(oip.errors.HandlerFailed, match="parameter 'n' is a"):
        returned(response)
